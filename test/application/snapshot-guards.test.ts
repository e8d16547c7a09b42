/** Snapshots that could not be kept are refused at the first save of such a state; those of versions that are not stored are passed over. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  DataError,
  defineDecider,
  event,
  PrismaDatastore,
  TranscodingNotRegisteredError,
} from '../../src/index.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

class Item {
  readonly sku = 'x'
}

abstract class Bag extends Aggregate {
  readonly items: unknown[] = []
  put(_sku: string): void {}
}

class ItemBag extends Bag {
  static readonly snapshots = { every: 50 }
  @event('Put', 'sku') override put(_sku: string): void {
    this.items.push(new Item())
  }
}
class AverageBag extends Bag {
  static readonly snapshots = { every: 50 }
  average = 0
  @event('Put', 'sku') override put(_sku: string): void {
    this.average = this.items.length / 0
  }
}
class DatedBag extends Bag {
  static readonly snapshots = { every: 50 }
  @event('Put', 'sku') override put(_sku: string): void {
    this.items.push(new Date('+012025-01-01'))
  }
}
class CircularBag extends Bag {
  static readonly snapshots = {}
  @event('Put', 'sku') override put(_sku: string): void {
    this.items.push(this.items)
  }
}

describe('a state that could not be read again', () => {
  it.each<[string, typeof ItemBag | typeof AverageBag | typeof DatedBag | typeof CircularBag, string]>([
    ['an instance of a class without a transcoding', ItemBag, 'items[0] is an instance of Item'],
    ['not a number', AverageBag, 'average is NaN, and JSON has no such number'],
    ['a date after the year 9999', DatedBag, 'items[0] is the date +012025-01-01T00:00:00+00:00: a time has to be in'],
    ['what contains itself', CircularBag, 'nested deeper than 256 levels, or contains itself'],
  ])('is refused by the first save of it, and not when a snapshot is due: %s', async (_name, kind, message) => {
    const app = new Application()
    const bag: Bag = new kind()
    await app.save(bag)
    bag.put('a')
    const saving = app.save(bag)
    await expect(saving).rejects.toThrow(DataError)
    await expect(saving).rejects.toThrow(`Cannot take a snapshot of ${kind.name} ${bag.id}, version 2: `)
    await expect(saving).rejects.toThrow(message)
    expect((await app.repository.get<Bag>(kind, bag.id)).version).toBe(1)
    if (kind === ItemBag) await expect(saving).rejects.toThrow(TranscodingNotRegisteredError)
    // Without snapshots, a state is what the body makes of it.
    const without = new Application({ snapshots: false })
    const other: Bag = new kind()
    other.put('a')
    await without.save(other)
  })

  it('of a decider is refused, too', async () => {
    const averages = defineDecider({
      name: 'Average',
      snapshots: { every: 50 },
      initialState: () => ({ average: 0 }),
      evolve: { Counted: (_state, { by }: { by: number }) => ({ average: by / 0 }) },
      decide: { count: (_state, by: number) => [{ type: 'Counted', data: { by } }] },
    })
    await expect(new Application().execute(averages, 'a', 'count', 1)).rejects.toThrow('average is Infinity')
  })
})

class Counter extends Aggregate {
  static readonly topic = 'Counter'
  static readonly snapshots = { every: 5 }
  total = 0
  @event('Counted', 'by') count(by: number): void {
    this.total += by
  }
}

async function counted(app: Application, by: number, times: number): Promise<Counter> {
  const counter = new Counter()
  for (let i = 0; i < times; i += 1) counter.count(by)
  await app.save(counter)
  return counter
}

/** What a restore of an older copy of the events, and not of the snapshots, leaves. */
async function restoreTo(app: Application, id: string, version: number): Promise<void> {
  await app.recorder.deleteEvents?.(id, { gt: version, lte: 1000 })
}

async function checkPassedOver(app: Application): Promise<void> {
  const { id } = await counted(app, 1, 9)
  expect((await app.repository.get(Counter, id)).total).toBe(9)
  await restoreTo(app, id, 8)
  const restored = await app.repository.get(Counter, id)
  expect([restored.version, restored.total]).toEqual([8, 7])
  // Other events take the versions that were lost; the snapshot of the lost ones must not count for them.
  restored.count(100)
  restored.count(100)
  await app.save(restored)
  expect((await app.repository.get(Counter, id)).total).toBe(207)
  const versions = (await (await app.snapshotStore()).get(id)).map(({ originatorVersion }) => originatorVersion)
  expect(versions).toEqual([5, 10])
}

describe('a snapshot of a version that is not stored', () => {
  it('is passed over and given up in memory', async () => {
    await checkPassedOver(new Application())
  })

  describe.each(oneOfEach)('on $name', (kind) => {
    let database: TestDatabase
    let datastore: PrismaDatastore
    beforeAll(async () => {
      database = await kind.createDatabase()
      datastore = new PrismaDatastore({ adapter: database.adapter() })
    })
    afterAll(async () => {
      await datastore.close()
      await database.drop()
    })

    it('is passed over and given up', async () => {
      await checkPassedOver(new Application({ name: '', datastore }))
    })

    it('is passed over in a transaction that keeps its events for the end', async () => {
      const app = new Application({ name: '', datastore })
      await datastore.transaction(async () => await checkPassedOver(app))
    })
  })
})
