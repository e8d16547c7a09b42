/** The counts of a datastore agree with each other and with what is stored, under a mixed load on every database. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  CommitUnknownError,
  ConcurrencyError,
  type DatastoreStats,
  PrismaApplicationRecorder,
  PrismaDatastore,
  TransactionTimeoutError,
} from '../../src/index.js'
import { faultyAdapter } from '../../src/testing/faulty-adapter.js'
import { storedEvent, storedEvents } from '../../src/testing/test-framework.js'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { databasesOf, oneOfEach } from '../support/databases.js'

const none: DatastoreStats = {
  begun: 0,
  committed: 0,
  rolledBack: 0,
  commitUnknown: 0,
  open: 0,
  waiting: 0,
  retries: 0,
  conflicts: 0,
  escapes: 0,
  timeouts: 0,
  overloads: 0,
  flushes: 0,
  flushedEvents: 0,
  unsettled: 0,
  unsettledMs: 0,
}

/** What is more in the second than in the first. */
function difference(before: DatastoreStats, after: DatastoreStats): DatastoreStats {
  // The names of the one are those of the other.
  const names = Object.keys(none) as Array<keyof DatastoreStats>
  return Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as unknown as DatastoreStats
}

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  let before: DatastoreStats
  beforeAll(async () => {
    open = await openDatabase(database)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  beforeEach(async () => {
    await open.clear()
    before = open.datastore.stats
  })
  afterAll(async () => {
    await open.close()
  })

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  const since = (): DatastoreStats => difference(before, open.datastore.stats)

  it('starts with nothing', () => {
    expect(before).toEqual(none)
  })

  it('counts a commit with its flush, and a rollback', async () => {
    await open.datastore.transaction(async () => {
      await newOwner('Fido')
      await recorder.appendEvents(storedEvents(crypto.randomUUID(), 3))
      expect(since()).toEqual({ ...none, begun: 1, open: 1 })
    })
    const failing = open.datastore.transaction(async () => {
      await newOwner('Rex')
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(since()).toEqual({ ...none, begun: 2, committed: 1, rolledBack: 1, flushes: 1, flushedEvents: 3 })
  })

  it('counts no transaction that sends nothing', async () => {
    await open.datastore.transaction(async () => {})
    await open.datastore.begin().rollback()
    expect(since()).toEqual(none)
  })

  it('counts conflicts inside and outside of a transaction, and retries', async () => {
    const id = crypto.randomUUID()
    await recorder.insertEvents([storedEvent(id, 1)])
    before = open.datastore.stats
    await expect(recorder.insertEvents([storedEvent(id, 1)])).rejects.toBeInstanceOf(ConcurrencyError)
    await expect(
      open.datastore.transaction(async () => await recorder.insertEvents([storedEvent(id, 1)])),
    ).rejects.toBeInstanceOf(ConcurrencyError)
    const stubborn = open.datastore.transaction(async () => await recorder.appendEvents([storedEvent(id, 1)]), {
      retries: 2,
    })
    await expect(stubborn).rejects.toBeInstanceOf(ConcurrencyError)
    expect(since()).toMatchObject({ retries: 2, conflicts: 5, flushes: 0, flushedEvents: 0, open: 0 })
  })

  it('counts what passes by a transaction', async () => {
    const escaping = open.datastore.transaction(async () => await open.base.owner.count())
    await expect(escaping).rejects.toThrow('does not join')
    expect(since()).toMatchObject({ escapes: 1 })
  })

  it('counts a deadline that has passed', async () => {
    const late = open.datastore.transaction(
      async (tx) => {
        await newOwner('Fido')
        await once(tx.signal, 'abort')
      },
      { deadlineMs: 2_000 },
    )
    await expect(late).rejects.toBeInstanceOf(TransactionTimeoutError)
    expect(since()).toEqual({ ...none, begun: 1, rolledBack: 1, timeouts: 1 })
  })

  it('tells how many wait for a connection', { timeout: 60_000 }, async () => {
    const gate = newGate()
    const transactions = Array.from({ length: 14 }, async (_, n) => {
      await open.datastore.transaction(
        async () => {
          await newOwner(`dog ${n}`)
          await gate.opened
        },
        { deadlineMs: 60_000 },
      )
    })
    // Every pool of the tests is smaller, and SQLite has one writer.
    await vi.waitFor(
      () => {
        const { open: opened, waiting } = open.datastore.stats
        expect(opened).toBeGreaterThan(0)
        expect(waiting).toBe(14 - opened)
      },
      { timeout: 30_000 },
    )
    expect(open.datastore.stats.waiting).toBeGreaterThan(0)
    gate.open()
    await Promise.all(transactions)
    expect(since()).toEqual({ ...none, begun: 14, committed: 14 })
  })

  it('agrees with what is stored after a mixed load', { timeout: 60_000 }, async () => {
    const hot = crypto.randomUUID()
    const failures = new Map<string, unknown>()
    const failuresOf = (kind: typeof ConcurrencyError | typeof TransactionTimeoutError): number =>
      [...failures.values()].filter((error) => error instanceof kind).length
    let events = 0
    const endings = ['commit', 'throw', 'conflict', 'nested', 'deadline', 'unused'] as const
    const run = async (n: number): Promise<void> => {
      const ending = endings[n % endings.length]
      const options = ending === 'deadline' ? { deadlineMs: 300 } : { deadlineMs: 20_000 }
      await open.datastore.transaction(async () => {
        if (ending === 'unused') return
        await newOwner(`dog ${n}`)
        await recorder.appendEvents(storedEvents(crypto.randomUUID(), 2))
        if (ending === 'throw') throw new Error('no')
        if (ending === 'conflict') await recorder.appendEvents([storedEvent(hot, 1)])
        if (ending === 'nested') {
          await open.datastore.transaction(async () => await newOwner(`part ${n}`), { propagation: 'nested' })
        }
        if (ending === 'deadline') await delay(500)
      }, options)
      if (ending !== 'unused') events += ending === 'conflict' ? 3 : 2
    }
    const all = Array.from({ length: 90 }, async (_, n) => {
      await run(n).catch((error: unknown) => failures.set(`dog ${n}`, error))
      // Whatever else happens meanwhile.
      const { begun, committed, rolledBack, commitUnknown, open: opened } = open.datastore.stats
      expect(begun).toBe(committed + rolledBack + commitUnknown + opened)
    })
    await Promise.all(all)
    const stored = (await open.dogs()).filter((dog) => dog.startsWith('dog'))
    expect(stored.filter((dog) => failures.has(dog))).toEqual([])
    const { begun, committed, rolledBack, conflicts, ...rest } = since()
    expect(committed).toBe(stored.length)
    // An unused one is not begun; one that has waited until its deadline is not, either.
    expect(begun).toBeLessThanOrEqual(75)
    expect(begun).toBe(committed + rolledBack)
    expect(failuresOf(ConcurrencyError)).toBeGreaterThan(0)
    expect(conflicts).toBe(failuresOf(ConcurrencyError))
    // A nested scope flushes what is pending outside of it first.
    const [row] = await open.database.query('SELECT count(*) AS n FROM stored_events')
    expect([Number(row?.['n']), rest.open, rest.waiting]).toEqual([events, 0, 0])
    expect(rest.flushedEvents).toBeGreaterThanOrEqual(events)
    expect(failuresOf(TransactionTimeoutError)).toBeGreaterThan(0)
    expect(rest.timeouts).toBe(failuresOf(TransactionTimeoutError))
  })
})

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  it('counts a commit whose answer is lost, after which the datastore closes at once', async () => {
    const database = await kind.createDatabase()
    const faults = faultyAdapter(database.adapter())
    const datastore = new PrismaDatastore<TestClient>({
      adapter: faults,
      client: (adapter) => database.newClient(adapter) as TestClient,
    })
    const store = async (dog: string): Promise<void> =>
      await datastore.transaction(async (tx) => {
        tx.afterRollback(() => expect.unreachable('nobody knows whether it is rolled back'))
        await datastore.client.owner.create({ data: { name: 'Ann', dog } })
      })
    try {
      faults.record()
      await store('Fido')
      faults.failAt(faults.statements.length, 'unanswered')
      await expect(store('Rex')).rejects.toBeInstanceOf(CommitUnknownError)
      faults.stop()
      expect(datastore.stats).toMatchObject({ begun: 2, committed: 1, rolledBack: 0, commitUnknown: 1, open: 0 })
      await datastore.close({ timeoutMs: Infinity })
    } finally {
      await database.drop()
    }
  })
})
