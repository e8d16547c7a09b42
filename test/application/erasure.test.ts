/** Personal data: encrypted with a key of each person, and gone with it, wherever they were kept. */
import { inspect } from 'node:util'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { Application } from '../../src/application/application.js'
import { Aggregate } from '../../src/domain/aggregate.js'
import { defineDecider } from '../../src/domain/decider.js'
import { event } from '../../src/domain/event-decorator.js'
import { defineEvent, typed } from '../../src/domain/event-definition.js'
import { Erased, isErased } from '../../src/domain/personal-data.js'
import { readEvent } from '../../src/domain/read-event.js'
import { AESCipher } from '../../src/persistence/cipher.js'
import { ZlibCompressor } from '../../src/persistence/compressor.js'

const Registered = defineEvent(
  'Registered',
  typed<{ name: string; address: { town: string } | null; plan: string }>(),
  {
    personal: { name: true, address: true },
  },
)

@event(Registered)
class Customer extends Aggregate {
  static readonly snapshots = { every: 2 }
  static readonly personal = { Met: { note: 'others' } } as const
  readonly name: string | Erased
  readonly town: string | Erased | undefined
  readonly plan: string
  readonly notes: unknown[] = []
  constructor(data: { name: string | Erased; address: { town: string } | Erased | null; plan: string }) {
    super()
    this.name = data.name
    this.town = isErased(data.address) ? data.address : data.address?.town
    this.plan = data.plan
  }
  @event('Met', 'others', 'note') meet(_others: readonly string[], note: string): void {
    this.notes.push(note)
  }
}

const secrets = { ann: 'Ann Archer of Aberdeen', bob: 'Bob Baker', note: 'they spoke of Carthage' }

async function withStories(shop: Application): Promise<{ ann: Customer; bob: Customer }> {
  const ann = new Customer({ name: secrets.ann, address: { town: secrets.ann }, plan: 'gold' })
  const bob = new Customer({ name: secrets.bob, address: null, plan: 'tin' })
  bob.meet([ann.id, bob.id], secrets.note)
  await shop.save(ann, bob)
  return { ann, bob }
}

async function storedText(shop: Application): Promise<string> {
  const notifications = await shop.recorder.selectNotifications(null, 100)
  return notifications.map(({ state }) => Buffer.from(state).toString()).join('\n')
}

describe('personal data', () => {
  it('are read as they were written, and stored encrypted', async () => {
    const shop = new Application({ name: 'Shop' })
    const { ann, bob } = await withStories(shop)
    const text = await storedText(shop)
    for (const secret of Object.values(secrets)) expect(text).not.toContain(secret)
    expect(text).toContain('"plan":"gold"')
    const copy = await shop.repository.get(Customer, ann.id)
    expect(copy.equals(ann)).toBe(true)
    expect((await shop.repository.get(Customer, bob.id)).notes).toEqual([secrets.note])
    const [first] = await (await shop.eventStore()).get(ann.id)
    expect(first?.data).toEqual({ name: secrets.ann, address: { town: secrets.ann }, plan: 'gold' })
    expect(first?.personal).toEqual({ name: [ann.id], address: [ann.id] })
  })

  it('are placeholders after their person was forgotten, in events, states and subscriptions', async () => {
    const shop = new Application({ name: 'Shop', cache: true })
    const { ann, bob } = await withStories(shop)
    await shop.repository.get(Customer, ann.id)
    await shop.repository.get(Customer, bob.id)
    expect(await shop.forget(ann.id)).toBe(true)
    expect(await shop.forget(ann.id)).toBe(false)
    const erased = await shop.repository.get(Customer, ann.id)
    expect(erased.name).toBeInstanceOf(Erased)
    expect(erased).toMatchObject({ town: erased.name, plan: 'gold' })
    expect(`${String(erased.name)} ${JSON.stringify(erased.name)}`).toBe('[erased] "[erased]"')
    expect(isErased(erased.name) && erased.name.subjects).toEqual([ann.id])
    const other = await shop.repository.get(Customer, bob.id)
    expect(other.name).toBe(secrets.bob)
    expect(other.notes).toEqual([new Erased(...[ann.id, bob.id].toSorted())])
    const delivered: unknown[] = []
    for await (const { event: each } of shop.subscribe()) {
      delivered.push(each.data)
      if (delivered.length === 3) break
    }
    expect(delivered).toEqual([
      { name: new Erased(ann.id), address: new Erased(ann.id), plan: 'gold' },
      { name: secrets.bob, address: null, plan: 'tin' },
      { others: [ann.id, bob.id], note: new Erased(...[ann.id, bob.id].toSorted()) },
    ])
    expect(inspect(shop.repository.cache, { depth: null })).not.toContain(secrets.ann)
  })

  it('stay erased when the person comes back, whose new data can be read', async () => {
    const shop = new Application({ name: 'Shop' })
    const { ann } = await withStories(shop)
    await shop.forget(ann.id)
    const erased = await shop.repository.get(Customer, ann.id)
    erased.meet([ann.id], 'again')
    await shop.save(erased)
    const back = await shop.repository.get(Customer, ann.id)
    expect([back.name, back.notes]).toEqual([new Erased(ann.id), ['again']])
  })

  it('are not in the cache, whatever may be read from it', async () => {
    for (const fastForward of [true, false]) {
      const shop = new Application({ name: 'Shop', cache: { fastForward } })
      const { ann } = await withStories(shop)
      await shop.repository.get(Customer, ann.id)
      expect(shop.repository.cache?.entries.size).toBe(0)
      await shop.forget(ann.id)
      await shop.repository.get(Customer, ann.id)
      expect(shop.repository.cache?.entries.size).toBe(1)
      const again = await shop.repository.get(Customer, ann.id)
      again.meet([ann.id], secrets.note)
      await shop.save(again)
      expect((await shop.repository.get(Customer, ann.id)).notes).toEqual([secrets.note])
      expect(inspect(shop.repository.cache, { depth: null })).not.toContain(secrets.note)
    }
  })

  it('make their snapshots unreadable with the key of any of them, and the events tell the rest', async () => {
    const shop = new Application({ name: 'Shop' })
    const { ann, bob } = await withStories(shop)
    await shop.takeSnapshot(Customer, bob.id)
    expect((await shop.repository.get(Customer, bob.id)).notes).toEqual([secrets.note])
    await shop.forget(ann.id)
    const rebuilt = await shop.repository.get(Customer, bob.id)
    const both = new Erased(...[ann.id, bob.id].toSorted())
    expect([rebuilt.name, rebuilt.notes]).toEqual([secrets.bob, [both]])
    await shop.takeSnapshot(Customer, bob.id)
    expect((await shop.repository.get(Customer, bob.id)).notes).toEqual([both])
  })

  it('are encrypted with what encrypts everything else as well', async () => {
    const shop = new Application({
      name: 'Shop',
      cipher: new AESCipher(AESCipher.createKey()),
      compressor: new ZlibCompressor(),
    })
    const { ann, bob } = await withStories(shop)
    expect((await shop.repository.get(Customer, ann.id)).town).toBe(secrets.ann)
    await shop.forget(bob.id)
    expect((await shop.repository.get(Customer, bob.id)).notes).toEqual([new Erased(...[ann.id, bob.id].toSorted())])
  })

  it('are typed as what they may have become', async () => {
    const members = defineDecider([Registered], {
      name: 'Member',
      initialState: (): { name: string | Erased } => ({ name: '' }),
      evolve: {
        Registered: (_state, data) => {
          expectTypeOf(data.name).toEqualTypeOf<string | Erased>()
          expectTypeOf(data.plan).toEqualTypeOf<string>()
          return { name: data.name }
        },
      },
      decide: { register: (_state, name: string) => [Registered({ name, address: null, plan: 'gold' })] },
    })
    class Strict extends Aggregate {
      // @ts-expect-error the name may be erased
      @event(Registered, 'name') register(_name: string): void {}
    }
    expect(new Strict().version).toBe(1)
    const club = new Application({ name: 'Club', snapshots: true })
    const id = crypto.randomUUID()
    await club.execute(members, id, 'register', secrets.ann)
    await club.takeSnapshot(members, id)
    expect((await club.repository.get(members, id)).state.name).toBe(secrets.ann)
    await club.forget(id)
    expect((await club.repository.get(members, id)).state.name).toEqual(new Erased(id))
    const [stored] = await (await club.eventStore()).get(id)
    if (stored === undefined) throw new Error('there is an event')
    expect(readEvent(members, Registered, stored)?.data.name).toEqual(new Erased(id))
  })

  it('are refused where it cannot be told whose they are', async () => {
    const shop = new Application({ name: 'Shop' })
    const { bob } = await withStories(shop)
    expect(() => bob.meet([], 'to nobody')).toThrow(
      "Cannot tell whose data 'note' of Customer.Met is: 'others' must be",
    )
    expect(() => bob.meet([''], 'to nobody')).toThrow(TypeError)
    expect(() => bob.meet(['a'.repeat(256)], 'to nobody')).toThrow(TypeError)
    expect(bob.notes).toEqual([secrets.note])
    for (const name of ['a\0', '\ud83d', 'a'.repeat(256)]) await expect(shop.forget(name)).rejects.toThrow(TypeError)
    expect(await shop.forget('😀 1')).toBe(false)
    await expect(shop.forget('')).rejects.toThrow('A person must be named by a text')
  })

  it('do not come back by a snapshot of an aggregate that was read before', async () => {
    const shop = new Application({ name: 'Shop' })
    const ann = new Customer({ name: secrets.ann, address: null, plan: 'gold' })
    await shop.save(ann)
    const held = await shop.repository.get(Customer, ann.id)
    await shop.forget(ann.id)
    // Version 2 is due for a snapshot, and the aggregate still knows the name.
    held.meet([crypto.randomUUID()], 'about somebody else')
    await shop.save(held)
    expect(held.name).toBe(secrets.ann)
    const read = await shop.repository.get(Customer, ann.id)
    expect([read.name, read.notes]).toEqual([new Erased(ann.id), ['about somebody else']])
    await shop.takeSnapshot(Customer, ann.id)
    expect((await shop.repository.get(Customer, ann.id)).name).toEqual(new Erased(ann.id))
  })

  it('keep the order of saves that overlap', async () => {
    const shop = new Application({ name: 'Shop' })
    const { ann } = await withStories(shop)
    ann.meet([ann.id], 'first')
    const first = shop.save(ann)
    ann.meet([ann.id], 'second')
    const second = shop.save(ann, null)
    await Promise.all([first, second])
    const log = await shop.recorder.selectNotifications(null, 100)
    const versions = log.filter(({ originatorId }) => originatorId === ann.id).map((each) => each.originatorVersion)
    expect(versions).toEqual([1, 2, 3])
  })

  it('are marked by the definition and by the class together, where the event has such fields', async () => {
    const Joined = defineEvent('Joined', typed<{ name: string; note: string }>(), { personal: { name: true } })
    class Member extends Aggregate {
      static readonly definitions = [Joined]
      static readonly personal = { Joined: { note: true } } as const
      static readonly events = { Joined(): void {} }
    }
    const shop = new Application({ name: 'Shop' })
    await shop.save(Member.create(Joined, { name: secrets.ann, note: secrets.note }))
    const text = await storedText(shop)
    expect(text).not.toContain(secrets.ann)
    expect(text).not.toContain(secrets.note)

    class Mistyped extends Aggregate {
      static readonly personal = { Met: { nmae: true } } as const
      @event('Met', 'name') meet(_name: string): void {}
    }
    expect(() => new Mistyped()).toThrow("Mistyped.personal.Met names 'nmae', which is no field of the event")
    const odd = { name: 'Odd', initialState: () => 0, evolve: { Joined: (state: number) => state }, decide: {} }
    expect(() => defineDecider({ ...odd, personal: { Jioned: { name: true } } })).toThrow(
      "personal of the decider Odd names 'Jioned', which evolve does not have",
    )
    expect(() => defineDecider({ ...odd, personal: { Joined: { name: 7 as never } } })).toThrow(TypeError)
  })

  it('cannot name their person by something that is personal itself', () => {
    const schema = typed<{ email: string; text: string }>()
    expect(() => defineEvent('Sent', schema, { personal: { email: true, text: 'email' } })).toThrow(
      "names 'email', which is personal itself",
    )
    expect(() => defineEvent('Sent', schema, { personal: { email: 'email' } })).toThrow(TypeError)
  })

  it('are upcast as placeholders, with their marks', async () => {
    class First extends Aggregate {
      static readonly topic = 'Person'
      static readonly personal = { Named: { name: true } } as const
      @event('Named', 'name') called(_name: string): void {}
    }
    class Renamed extends Aggregate {
      static readonly topic = 'Person'
      static readonly personal = { Named: { fullName: true } } as const
      static readonly upcasts = { Named: [({ name }: { name: string }) => ({ fullName: name })] }
      fullName: unknown
      @event('Named', 'fullName') called(fullName: string): void {
        this.fullName = fullName
      }
    }
    class Careless extends Renamed {
      static override readonly topic = 'Person'
      static override readonly upcasts = {
        Named: [({ name }: { name: string }) => ({ fullName: name.split(' ') as never })],
      }
    }
    const shop = new Application({ name: 'Shop' })
    const person = new First()
    person.called(secrets.ann)
    await shop.save(person)
    const [, stored] = await (await shop.eventStore()).get(person.id)
    if (stored === undefined) throw new Error('there are two events')
    const Named = defineEvent('Named')
    class Read extends Renamed {
      static override readonly topic = 'Person'
      static readonly definitions = [Named]
    }
    const read = readEvent(Read, Named, stored)
    expect(read).toMatchObject({ data: { fullName: secrets.ann }, personal: { fullName: [person.id] } })
    expect((await shop.repository.get(Renamed, person.id)).fullName).toBe(secrets.ann)
    await shop.forget(person.id)
    expect((await shop.repository.get(Renamed, person.id)).fullName).toEqual(new Erased(person.id))
    await expect(shop.repository.get(Careless, person.id)).rejects.toThrow(
      /^Cannot upcast Person.Named, version 2 of .*, whose name is erased: an upcast has to pass placeholders/,
    )
  })

  it('are told apart from others however a database writes the id of their person', async () => {
    const shop = new Application({ name: 'Shop' })
    const { ann } = await withStories(shop)
    expect(await shop.forget(ann.id.toUpperCase().replaceAll('-', ''))).toBe(true)
    expect((await shop.repository.get(Customer, ann.id)).name).toEqual(new Erased(ann.id))
  })

  it('cannot be moved to another place of the store', async () => {
    const shop = new Application({ name: 'Shop' })
    const { ann } = await withStories(shop)
    const store = await shop.eventStore()
    const [stored] = await shop.recorder.selectEvents(ann.id)
    if (stored === undefined) throw new Error('there is an event')
    const moved = { ...stored, originatorVersion: 2 }
    await expect(store.toDomainEvents([moved])).rejects.toThrow('they were changed, or moved from another place')
  })
})
