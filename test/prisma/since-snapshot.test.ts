/** An originator is read from its latest snapshot on by one statement, and with what is pending in the transaction. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  event,
  NAMESPACE_URL,
  PrismaAggregateRecorder,
  PrismaApplicationRecorder,
  PrismaDatastore,
  uuid5,
} from '../../src/index.js'
import { type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf, oneOfEach, type TestDatabase } from '../support/databases.js'
import { openDatabase } from './open-database.js'

class Counter extends Aggregate {
  static readonly snapshots = { every: 3 }
  total = 0
  @event('Counted', 'by') count(by: number): void {
    this.total += by
  }
}

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let adapter: FaultyAdapter
  let datastore: PrismaDatastore
  let events: PrismaApplicationRecorder
  let snapshots: PrismaAggregateRecorder
  let tables = 0
  beforeAll(async () => {
    database = await kind.createDatabase()
    adapter = faultyAdapter(database.adapter())
    datastore = new PrismaDatastore({ adapter })
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })
  beforeEach(async () => {
    tables += 1
    events = new PrismaApplicationRecorder(datastore, { eventsTable: `events_${tables}` })
    snapshots = new PrismaAggregateRecorder(datastore, { eventsTable: `snapshots_${tables}`, kind: 'snapshots' })
    for (const recorder of [events, snapshots]) await recorder.createTable()
  })

  const [id, other] = [uuid5(NAMESPACE_URL, '/1'), uuid5(NAMESPACE_URL, '/2')]
  const read = async (originatorId = id, from = snapshots) => {
    const found = await events.selectSinceSnapshot(from, originatorId, { limit: 10 })
    return found && [found.snapshot?.originatorVersion, ...found.events.map((each) => each.originatorVersion)]
  }
  const reading = async (work: () => Promise<unknown>): Promise<string[]> => {
    adapter.record()
    await work()
    adapter.stop()
    return adapter.statements.filter((sql) => /^(WITH snapshot|SELECT)/.test(sql))
  }

  it('takes one statement, also in a transaction', async () => {
    await events.insertEvents([1, 2, 3].map((version) => storedEvent(id, version)))
    await snapshots.insertEvents([storedEvent(id, 2)])
    expect(await reading(async () => expect(await read()).toEqual([2, 3]))).toHaveLength(1)
    const inTransaction = async (): Promise<unknown> =>
      await datastore.transaction(async () => expect(await read()).toEqual([2, 3]))
    expect(await reading(inTransaction)).toHaveLength(1)
  })

  it('writes what is pending of the originator first, in either table', async () => {
    await datastore.transaction(async () => {
      await events.appendEvents([storedEvent(id, 1), storedEvent(id, 2)])
      expect(await read()).toEqual([undefined, 1, 2])
      await snapshots.appendEvents([storedEvent(id, 1)])
      expect(await read()).toEqual([1, 2])
    })
  })

  it('does not read at once what is pending without autoflush', async () => {
    await datastore.transaction(
      async () => {
        await events.appendEvents([storedEvent(id, 1)])
        expect(await read()).toBe(undefined)
        expect(await read(other)).toEqual([undefined])
        await snapshots.appendEvents([storedEvent(other, 1)])
        expect(await read(other)).toBe(undefined)
      },
      { autoflush: false },
    )
    expect(await read()).toEqual([undefined, 1])
    expect(await read(other)).toEqual([1])
  })

  it('does not read at once from two datastores, nor ids of two types', async () => {
    const options = { eventsTable: 'other_snapshots', kind: 'snapshots' } as const
    const elsewhere = new PrismaDatastore({ adapter: database.adapter() })
    expect(await read(id, new PrismaAggregateRecorder(elsewhere, options))).toBe(undefined)
    expect(await read(id, new PrismaAggregateRecorder(datastore, { ...options, originatorIdType: 'text' }))).toBe(
      undefined,
    )
    await elsewhere.close()
  })

  it.each([true, false])(
    'gives an application what is pending in its transaction, with autoflush %s',
    async (autoflush) => {
      const application = new Application({ name: `Flush${autoflush}`, datastore, env: { CREATE_TABLE: 'yes' } })
      const totalAt = async (version?: number): Promise<number> =>
        (await application.repository.get(Counter, counter.id, version === undefined ? {} : { version })).total
      const counter = new Counter()
      counter.count(1)
      await application.save(counter)
      await datastore.transaction(
        async () => {
          for (const by of [10, 100, 1_000]) counter.count(by)
          await application.save(counter)
          expect([await totalAt(), await totalAt(4), await totalAt(2)]).toEqual([1_111, 111, 1])
          counter.count(10_000)
          await application.save(counter)
          expect(await totalAt()).toBe(11_111)
        },
        { autoflush },
      )
      expect(await totalAt()).toBe(11_111)
    },
  )
})

/** How many rows the current transaction has read; SQLite does not count them. */
const rowsRead = {
  postgresql: 'SELECT sum(seq_tup_read + idx_tup_fetch) AS n FROM pg_stat_xact_user_tables',
  mysql:
    "SELECT sum(variable_value) AS n FROM information_schema.session_status WHERE variable_name LIKE 'Handler_read%'",
}

describe.each(databasesOf('postgresql', 'mysql'))('on the server of $name', (kind) => {
  it('no events before the snapshot are looked at', async () => {
    const provider = kind.provider === 'mysql' ? 'mysql' : 'postgresql'
    const open = await openDatabase(kind)
    const events = new PrismaApplicationRecorder(open.datastore)
    const snapshots = new PrismaAggregateRecorder(open.datastore, { kind: 'snapshots' })
    const id = uuid5(NAMESPACE_URL, '/1')
    await events.insertEvents(Array.from({ length: 3_000 }, (_, index) => storedEvent(id, index + 1)))
    await snapshots.insertEvents(Array.from({ length: 30 }, (_, index) => storedEvent(id, (index + 1) * 100 - 10)))
    const found = await open.datastore.transaction(async (tx) => {
      const count = async (): Promise<number> => {
        const [row] = await tx.client.$queryRawUnsafe<Array<{ readonly n: unknown }>>(rowsRead[provider])
        return Number(row?.n)
      }
      // What the counting itself reads, the last time.
      const [first, second] = [await count(), await count()]
      const rows: number[] = []
      for (const range of [{ limit: 2_000 }, { lte: 1_550, limit: 2_000 }]) {
        const before = await count()
        await events.selectSinceSnapshot(snapshots, id, range)
        rows.push((await count()) - before - (second - first))
      }
      return rows
    })
    await open.close()
    for (const rows of found) expect(rows).toBeGreaterThan(9)
    for (const rows of found) expect(rows).toBeLessThan(500)
  })
})
