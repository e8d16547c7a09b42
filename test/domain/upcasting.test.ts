/** Events that were stored with older shapes of their data: read by classes and by deciders, alike. */
import { describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  defineDecider,
  event,
  MapperError,
  NAMESPACE_URL,
  TopicError,
  uuid5,
} from '../../src/index.js'
import { InMemoryFactory } from '../../src/persistence/in-memory-factory.js'
import { InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'

const upper = (data: { readonly a: string }): object => ({ aa: data.a.toUpperCase(), b: 0 })
const withList = (data: object): object => ({ ...data, c: [] })

/** The thing as it was deployed, one class after the other. */
class Thing1 extends Aggregate {
  static readonly topic = 'Thing'
  a = ''
  @event('Changed', 'a') change(a: string): void {
    this.a = a
  }
}
class Thing2 extends Aggregate {
  static readonly topic = 'Thing'
  static readonly upcasts = { Changed: [upper] }
  aa = ''
  b = 0
  @event('Changed', 'aa', 'b') change(aa: string, b: number): void {
    this.aa = aa
    this.b = b
  }
}
class Thing3 extends Aggregate {
  static readonly topic = 'Thing'
  static readonly upcasts = { Changed: [upper, withList] }
  aa = ''
  b = 0
  c: readonly number[] = []
  d: number | null = null
  @event('Changed', 'aa', 'b', 'c') change(aa: string, b: number, c: readonly number[]): void {
    this.aa = aa
    this.b = b
    this.c = c
  }
  @event('Numbered', 'd') number(d: number): void {
    this.d = d
  }
}

const decider = defineDecider({
  name: 'Thing',
  upcasts: { Changed: [upper, withList] },
  initialState: () => ({ aa: '', b: 0, c: [] as readonly number[] }),
  evolve: {
    Created: (state, _data: object) => state,
    Changed: (_state, data: { readonly aa: string; readonly b: number; readonly c: readonly number[] }) => data,
    Numbered: (state, _data: { readonly d: number }) => state,
  },
  decide: {
    change: (_state, aa: string) => [{ type: 'Changed', data: { aa, b: 2, c: [1] } }],
  },
})

class OneStore extends InMemoryFactory {
  readonly recorder = new InMemoryApplicationRecorder()
  override applicationRecorder(): InMemoryApplicationRecorder {
    return this.recorder
  }
}

describe('upcasting', () => {
  const factory = new OneStore()
  const things = new Application({ factory })
  const states = async (id: string): Promise<string[]> =>
    (await factory.recorder.selectEvents(id)).map(({ state }) => new TextDecoder().decode(state))

  it('stores no version for the first, and the version for a later one [122]', async () => {
    const first = new Thing1()
    first.change('text')
    await things.save(first)
    expect((await states(first.id))[1]).not.toContain('class_version')
    const second = new Thing2()
    second.change('TEXT', 1)
    await things.save(second)
    expect((await states(second.id))[1]).toMatch(/"class_version":2}$/)
    expect((await states(second.id))[0]).not.toContain('class_version')
  })

  it('runs the steps in order from the version that was stored [123, 124, 127]', async () => {
    const old = new Thing1()
    old.change('text')
    await things.save(old)
    expect(await things.repository.get(Thing2, old.id)).toMatchObject({ aa: 'TEXT', b: 0 })
    expect(await things.repository.get(Thing2, old.id)).not.toHaveProperty('a')
    expect(await things.repository.get(Thing3, old.id)).toMatchObject({ aa: 'TEXT', b: 0, c: [] })
    const newer = await things.repository.get(Thing2, old.id)
    newer.change('NEW', 1)
    await things.save(newer)
    expect(await things.repository.get(Thing2, old.id)).toMatchObject({ aa: 'NEW', b: 1 })
    expect(await things.repository.get(Thing3, old.id)).toMatchObject({ aa: 'NEW', b: 1, c: [] })
  })

  it('leaves what the aggregate has gained since to its constructor [125]', async () => {
    const old = new Thing1()
    old.change('text')
    await things.save(old)
    const thing = await things.repository.get(Thing3, old.id)
    expect(thing.d).toBeNull()
    thing.number(10)
    await things.save(thing)
    expect((await things.repository.get(Thing3, old.id)).d).toBe(10)
  })

  it('does the same for a decider over the same stream', async () => {
    const old = new Thing1()
    old.change('text')
    await things.save(old)
    expect((await things.repository.get(decider, old.id)).state).toEqual({ aa: 'TEXT', b: 0, c: [] })
    await things.execute(decider, old.id, 'change', 'B')
    expect((await states(old.id))[2]).toMatch(/"class_version":3}$/)
    expect(await things.repository.get(Thing3, old.id)).toMatchObject({ aa: 'B', b: 2, c: [1] })
  })

  it('refuses an event of a version that is still to come', async () => {
    const thing = new Thing3()
    thing.change('NEW', 1, [])
    await things.save(thing)
    await expect(things.repository.get(Thing2, thing.id)).rejects.toBeInstanceOf(TopicError)
    await expect(things.repository.get(Thing2, thing.id)).rejects.toThrow(/version 3 of that event.*knows 2/s)
  })

  it('refuses a stored version that is none', async () => {
    const id = uuid5(NAMESPACE_URL, '/odd')
    const state = new TextEncoder().encode(
      '{"timestamp":{"_type_":"datetime_iso","_data_":"2026-01-01T00:00:00.000000+00:00"},"class_version":0}',
    )
    await factory.recorder.insertEvents([{ originatorId: id, originatorVersion: 1, topic: 'Thing.Created', state }])
    await expect(things.repository.get(Thing1, id)).rejects.toBeInstanceOf(MapperError)
  })

  it('refuses steps that cannot be, when the class is first used', () => {
    class Unknown extends Aggregate {
      static readonly upcasts = { Missing: [withList] }
    }
    class NoList extends Aggregate {
      static readonly upcasts: object = { Created: withList }
    }
    expect(() => new Unknown()).toThrow(/Unknown.upcasts names 'Missing'/)
    expect(() => new NoList()).toThrow(/must be a list of functions/)
  })

  it('adds the steps of a class to those of its base', () => {
    class Wide extends Thing2 {
      static override readonly upcasts = { ...Thing2.upcasts, Created: [withList] }
      readonly made = true
    }
    const wide = new Wide()
    wide.change('A', 1)
    expect(wide.pendingEvents.map(({ classVersion }) => classVersion)).toEqual([2, 2])
    class Same extends Thing2 {}
    const same = new Same()
    same.change('A', 1)
    expect(same.pendingEvents.map(({ classVersion }) => classVersion)).toEqual([undefined, 2])
  })
})
