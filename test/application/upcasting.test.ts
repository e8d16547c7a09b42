/** A class that changes over four versions, with its events and snapshots stored by each: in memory and on every database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, type AggregateClass, Application, type ApplicationOptions, event } from '../../src/index.js'
import { InMemoryFactory } from '../../src/persistence/in-memory-factory.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import { openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const steps = [
  (data: { readonly a: string }): object => ({ aa: data.a.toUpperCase(), b: 0 }),
  (data: object): object => ({ ...data, c: [] }),
]
const stateSteps = [
  ({ a, ...rest }: { readonly a: string }): object => ({ ...rest, aa: a.toUpperCase(), b: 0 }),
  (state: object): object => ({ ...state, c: [] }),
  (state: object): object => ({ ...state, d: null }),
]

class First extends Aggregate {
  static readonly topic = 'Thing'
  static readonly snapshots = {}
  a = ''
  @event('Changed', 'a') change(a: string): void {
    this.a = a
  }
}

class Second extends Aggregate {
  static readonly topic = 'Thing'
  static readonly upcasts = { Changed: steps.slice(0, 1) }
  static readonly snapshots = { upcasts: stateSteps.slice(0, 1) }
  aa = ''
  b = 0
  @event('Changed', 'aa', 'b') change(aa: string, b: number): void {
    this.aa = aa
    this.b = b
  }
}

class Third extends Aggregate {
  static readonly topic: string = 'Thing'
  static readonly upcasts = { Changed: steps }
  static readonly snapshots: object = { upcasts: stateSteps.slice(0, 2) }
  aa = ''
  b = 0
  c: readonly number[] = []
  @event('Changed', 'aa', 'b', 'c') change(aa: string, b: number, c: readonly number[]): void {
    this.aa = aa
    this.b = b
    this.c = c
  }
}

class Fourth extends Third {
  static override readonly topic = 'Thing'
  static override readonly snapshots = { upcasts: stateSteps }
  d: number | null = null
  @event('Numbered', 'd') number(d: number): void {
    this.d = d
  }
}

/** One store for applications of several versions of a program. */
class OneStore extends InMemoryFactory {
  readonly events = new InMemoryApplicationRecorder()
  readonly snapshots = new InMemoryAggregateRecorder()
  override applicationRecorder(): InMemoryApplicationRecorder {
    return this.events
  }
  override aggregateRecorder(): InMemoryAggregateRecorder {
    return this.snapshots
  }
}

interface Store {
  readonly options: ApplicationOptions
  readonly close: () => Promise<void>
}

const stores = [
  {
    name: 'in memory',
    open: async (): Promise<Store> => ({ options: { factory: new OneStore() }, close: async () => {} }),
  },
  ...oneOfEach.map((kind) => ({
    name: `on ${kind.name}`,
    async open(): Promise<Store> {
      const opened = await openDatabase(kind)
      return { options: { datastore: opened.datastore }, close: () => opened.close() }
    },
  })),
]

describe.each(stores)('a class that changes, $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(async () => {
    await store.close()
  })

  describe.each([
    ['from its events', false],
    ['from snapshots that each version takes', true],
  ])('%s', (_source, hasSnapshots) => {
    const newApplication = (): Application => new Application({ name: '', ...store.options, snapshots: hasSnapshots })

    /** What each class makes of a stream. */
    const readBy = async (application: Application, id: string, ...classes: AggregateClass[]): Promise<object[]> =>
      await Promise.all(
        classes.map(async (aggregateClass) => Object.assign({}, await application.repository.get(aggregateClass, id))),
      )
    const snapshotBy = async (application: Application, aggregateClass: AggregateClass, id: string): Promise<void> => {
      if (hasSnapshots) await application.takeSnapshot(aggregateClass, id)
    }
    /** At which versions there are snapshots, and of which version of the class. */
    const snapshotVersions = async (application: Application, id: string): Promise<unknown[]> =>
      (await (await application.snapshotStore()).get(id)).map(({ originatorVersion, data }) => [
        originatorVersion,
        Object(data['state']).class_version,
      ])

    it('[122] [123] [124] [125] [126] [127] is read by each version as it is there', async () => {
      const application = newApplication()
      const first = new First()
      first.change('text')
      await application.save(first)
      await snapshotBy(application, First, first.id)
      expect(await readBy(application, first.id, First, Second, Third, Fourth)).toEqual([
        { a: 'text' },
        { aa: 'TEXT', b: 0 },
        { aa: 'TEXT', b: 0, c: [] },
        { aa: 'TEXT', b: 0, c: [], d: null },
      ])

      const second = await application.repository.get(Second, first.id)
      second.change('mixed Case', 1)
      await application.save(second)
      await snapshotBy(application, Second, first.id)
      // It is of version 2 now: the first step would change the case.
      expect(await readBy(application, first.id, Second, Third, Fourth)).toEqual([
        { aa: 'mixed Case', b: 1 },
        { aa: 'mixed Case', b: 1, c: [] },
        { aa: 'mixed Case', b: 1, c: [], d: null },
      ])

      const third = await application.repository.get(Third, first.id)
      third.change('third', 2, [1])
      await application.save(third)
      await snapshotBy(application, Third, first.id)
      expect(await readBy(application, first.id, Third, Fourth)).toEqual([
        { aa: 'third', b: 2, c: [1] },
        { aa: 'third', b: 2, c: [1], d: null },
      ])

      const fourth = await application.repository.get(Fourth, first.id)
      fourth.number(10)
      await application.save(fourth)
      await snapshotBy(application, Fourth, first.id)
      expect(await readBy(application, first.id, Fourth)).toEqual([{ aa: 'third', b: 2, c: [1], d: 10 }])
      const stored = await application.recorder.selectEvents(first.id)
      const versions = stored.map(({ state }) => /"class_version":(\d)/.exec(new TextDecoder().decode(state))?.[1])
      expect(versions).toEqual([undefined, undefined, '2', '3', undefined])
      if (!hasSnapshots) return
      expect(await snapshotVersions(application, first.id)).toEqual([
        [2, undefined],
        [3, 2],
        [4, 3],
        [5, 4],
      ])
    })
  })
})
