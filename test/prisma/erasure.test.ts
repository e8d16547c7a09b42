/** Personal data in a database: none of them is left in it once their person was forgotten, and nobody else's is lost. */
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, Application, defineDecider, Erased, event } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

class Person extends Aggregate {
  static readonly topic = 'Person'
  static readonly snapshots = { every: 2 }
  static readonly personal = { Named: { name: true }, Wrote: { text: 'to' } } as const
  name: string | Erased = ''
  readonly texts: unknown[] = []
  @event('Named', 'name', 'role') called(name: string, _role: string): void {
    this.name = name
  }
  @event('Wrote', 'to', 'text') write(_to: readonly string[], text: string): void {
    this.texts.push(text)
  }
}

const threads = defineDecider({
  name: 'Thread',
  snapshots: { every: 3 },
  personal: { Said: { text: 'by' } },
  initialState: () => ({ lines: [] as ReadonlyArray<readonly [by: string, text: string | Erased]> }),
  evolve: {
    Said: ({ lines }, { by, text }: { by: string; text: string | Erased }) => ({
      lines: [...lines, [by, text] as const],
    }),
  },
  decide: { say: (_state, by: string, text: string) => [{ type: 'Said', data: { by, text } }] },
})

const undo = new Error('undo')

function textOf(value: unknown): string {
  if (value instanceof ArrayBuffer) return textOf(new Uint8Array(value))
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)
}

describe.each(oneOfEach)('personal data on $name', (kind) => {
  let open: OpenDatabase
  let shop: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    shop = new Application({ name: 'Shop', datastore: open.datastore, cache: true, env: { CREATE_TABLE: 'yes' } })
    await shop.ready()
  })
  afterAll(async () => {
    await open.close()
  })

  /** Everything in the application's tables as text: bytes too, and what base64 stands for. */
  async function dump(): Promise<string> {
    const texts: string[] = []
    for (const table of ['shop_events', 'shop_snapshots', 'shop_tracking', 'shop_keys']) {
      const rows = await open.database.query(`SELECT * FROM ${open.quoted(table)}`)
      for (const row of rows) texts.push(...Object.values(row).map(textOf))
    }
    const text = texts.join('\n')
    const decoded = [...text.matchAll(/[A-Za-z0-9+/]{16,}={0,2}/g)].map(([run]) => textOf(Buffer.from(run, 'base64')))
    return [text, ...decoded].join('\n')
  }

  async function twoPersons(): Promise<{ ann: Person; bob: Person; secrets: string[] }> {
    const marks = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
    const [annsName = '', bobsName = '', text = ''] = marks.map((mark) => `plain ${mark} text`)
    const ann = new Person()
    const bob = new Person()
    ann.called(annsName, 'buyer')
    bob.called(bobsName, 'seller')
    bob.write([ann.id, bob.id], text)
    await shop.save(ann, bob)
    return { ann, bob, secrets: [annsName, text, bobsName] }
  }

  it('are nowhere in it as plain text, and erased with the key', async () => {
    const { ann, bob, secrets } = await twoPersons()
    const [annsName, text, bobsName] = secrets
    const before = await dump()
    for (const secret of secrets) expect(before).not.toContain(secret)
    expect(before).toContain('"role":"buyer"')
    expect((await shop.repository.get(Person, ann.id)).name).toBe(annsName)
    expect((await shop.repository.get(Person, bob.id)).texts).toEqual([text])
    expect(await open.database.query(`SELECT originator_version FROM ${open.quoted('shop_snapshots')}`)).toHaveLength(2)

    expect(await shop.forget(ann.id)).toBe(true)
    expect((await shop.repository.get(Person, ann.id)).name).toEqual(new Erased(ann.id))
    const other = await shop.repository.get(Person, bob.id)
    expect([other.name, other.texts]).toEqual([bobsName, [new Erased(...[ann.id, bob.id].toSorted())]])
    const rows = await open.database.query(`SELECT subject FROM ${open.quoted('shop_keys')}`)
    const subjects = rows.map(({ subject }) =>
      subject instanceof Uint8Array ? Buffer.from(subject).toString() : subject,
    )
    expect(subjects).toEqual([bob.id])
  })

  it('are forgotten in the transaction around it, or not at all', async () => {
    const { ann, secrets } = await twoPersons()
    const forgetting = open.datastore.transaction(async () => {
      await shop.forget(ann.id)
      expect((await shop.repository.get(Person, ann.id)).name).toEqual(new Erased(ann.id))
      throw undo
    })
    await expect(forgetting).rejects.toBe(undo)
    expect((await shop.repository.get(Person, ann.id)).name).toBe(secrets[0])
    await open.datastore.transaction(async () => await shop.forget(ann.id))
    expect((await shop.repository.get(Person, ann.id)).name).toEqual(new Erased(ann.id))
  })

  it('are of an aggregate whose id is written in another way than the database does', async () => {
    for (const spelled of [crypto.randomUUID().toUpperCase(), crypto.randomUUID().replaceAll('-', '')]) {
      class Odd extends Person {
        static override readonly topic = 'Person'
        static createId(): string {
          return spelled
        }
      }
      const odd = new Odd()
      odd.called('Ann', 'buyer')
      await shop.save(odd)
      const read = await shop.repository.get(Odd, odd.id)
      expect(read.name).toBe('Ann')
      expect(await shop.forget(read.id)).toBe(true)
      expect((await shop.repository.get(Odd, odd.id)).name).toBeInstanceOf(Erased)
    }
  })

  it('do not come back by a snapshot in the transaction in which they are forgotten', async () => {
    const { ann } = await twoPersons()
    await open.datastore.transaction(async () => {
      const held = await shop.repository.get(Person, ann.id)
      await shop.forget(ann.id)
      held.write([crypto.randomUUID()], 'to somebody')
      held.write([crypto.randomUUID()], 'to somebody')
      await shop.save(held)
    })
    const read = await shop.repository.get(Person, ann.id)
    expect([read.version, read.name, read.texts]).toEqual([4, new Erased(ann.id), ['to somebody', 'to somebody']])
  })

  it('keep the order of saves that overlap in a transaction', async () => {
    const person = new Person()
    await open.datastore.transaction(async () => {
      person.called('Ann', 'buyer')
      const first = shop.save(person)
      person.write([crypto.randomUUID()], 'text')
      await Promise.all([first, shop.save(person)])
    })
    const log = await shop.recorder.selectNotifications(null, 1_000)
    const versions = log.filter(({ originatorId }) => originatorId === person.id).map((each) => each.originatorVersion)
    expect(versions).toEqual([1, 2, 3])
  })

  it('leave no key behind when the save of their first event comes to nothing', async () => {
    const person = new Person()
    person.called('nobody', 'guest')
    const saving = open.datastore.transaction(async () => {
      await shop.save(person)
      throw undo
    })
    await expect(saving).rejects.toBe(undo)
    expect(await shop.forget(person.id)).toBe(false)
  })

  it('of deciders are what was said or erased, while their persons are forgotten and go on', async () => {
    const thread = crypto.randomUUID()
    const persons = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
    const said = new Map<string, string>()
    const talks = persons.map(async (by) => {
      for (let line = 1; line <= 6; line += 1) {
        const text = `${by} says the secret ${line}`
        said.set(text, by)
        await open.datastore.transaction(async () => await shop.execute(threads, thread, 'say', by, text), {
          retries: 50,
        })
        if (line % 2 === 0) await shop.forget(by)
        const { state } = await shop.repository.get(threads, thread)
        for (const [speaker, found] of state.lines) {
          if (found instanceof Erased) expect(found.subjects).toEqual([speaker])
          else expect(said.get(found)).toBe(speaker)
        }
      }
    })
    await Promise.all(talks)
    for (const by of persons) await shop.forget(by)
    const { version, state } = await shop.repository.get(threads, thread)
    expect([version, state.lines.length]).toEqual([18, 18])
    expect(state.lines.every(([by, text]) => text instanceof Erased && text.subjects[0] === by)).toBe(true)
    expect(await dump()).not.toContain('says the secret')
    expect(inspect(shop.repository.cache, { depth: null })).not.toContain('says the secret')
  })

  it('of one person are saved by many at the same time', async () => {
    const subject = crypto.randomUUID()
    const writers = Array.from({ length: 8 }, () => new Person())
    await Promise.all(
      writers.map(async (writer) => {
        writer.write([subject], `to ${subject}`)
        await open.datastore.transaction(async () => await shop.save(writer), { retries: 20 })
      }),
    )
    for (const { id } of writers) {
      expect((await shop.repository.get(Person, id)).texts).toEqual([`to ${subject}`])
    }
    await shop.forget(subject)
    for (const { id } of writers) {
      expect((await shop.repository.get(Person, id)).texts).toEqual([new Erased(subject)])
    }
  })
})
