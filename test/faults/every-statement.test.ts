/** Something goes wrong at every statement in turn: all or nothing is stored, the caller is told honestly, and the next save works. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  CommitUnknownError,
  isEventSourcingError,
  NAMESPACE_URL,
  PrismaDatastore,
  PrismaProcessRecorder,
  type StoredEvent,
  TransactionTimeoutError,
  uuid5,
} from '../../src/index.js'
import { checkEveryFault, type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import type { TestClient } from '../prisma/open-database.js'
import { databases, type TestDatabase } from '../support/databases.js'

const idOf = (run: string, stream: number): string => uuid5(NAMESPACE_URL, `/faults/${run}/${stream}`)
const event = (originatorId: string, originatorVersion: number): StoredEvent => ({
  originatorId,
  originatorVersion,
  topic: 'Saved',
  state: new Uint8Array(),
})
const tables = ['stored_events', 'owners', 'notification_tracking']

/** What each piece of work stores: nothing, or all of it. */
interface Work {
  readonly name: string
  readonly all: readonly [events: number, rows: number, tracking: number]
  /** Fewer would mean that not every statement was met. */
  readonly leastStatements: number
  run(subject: Subject, run: string): Promise<void>
}

interface Subject {
  readonly datastore: PrismaDatastore<TestClient>
  readonly recorder: PrismaProcessRecorder<TestClient>
}

const works: readonly Work[] = [
  {
    name: 'a transaction with a row, events, tracking and a read',
    all: [4, 1, 1],
    leastStatements: 8,
    run: async ({ datastore, recorder }, run) => {
      await datastore.transaction(async () => {
        await datastore.client.owner.create({ data: { name: 'Ann', dog: run } })
        const tracking = { applicationName: run, notificationId: 1n }
        await recorder.insertEvents([event(idOf(run, 1), 1), event(idOf(run, 1), 2)], { tracking })
        await recorder.appendEvents([event(idOf(run, 2), 1)])
        await recorder.selectEvents(idOf(run, 2))
        await recorder.appendEvents([event(idOf(run, 3), 1)])
      })
    },
  },
  {
    name: 'events with tracking, without a transaction around them',
    all: [2, 0, 1],
    leastStatements: 4,
    run: async ({ recorder }, run) => {
      const tracking = { applicationName: run, notificationId: 1n }
      await recorder.insertEvents([event(idOf(run, 1), 1), event(idOf(run, 1), 2)], { tracking })
    },
  },
  {
    name: 'events alone, without a transaction around them',
    all: [2, 0, 0],
    leastStatements: 1,
    run: async ({ recorder }, run) => {
      await recorder.insertEvents([event(idOf(run, 1), 1), event(idOf(run, 1), 2)])
    },
  },
]

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase
  let faults: FaultyAdapter
  let subject: Subject
  let runs = 0
  /** What was stored where nobody could tell. */
  const unknownOutcomes = new Set<boolean>()
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  beforeAll(async () => {
    database = await kind.createDatabase()
    faults = faultyAdapter(database.adapter())
    const datastore = new PrismaDatastore<TestClient>({
      adapter: faults,
      client: (adapter) => database.newClient(adapter) as TestClient,
      deadlineMs: 5_000,
    })
    subject = { datastore, recorder: new PrismaProcessRecorder<TestClient>(datastore) }
    process.on('unhandledRejection', note)
  })
  afterAll(async () => {
    process.off('unhandledRejection', note)
    await subject.datastore.close()
    await database.drop()
  })

  const newRun = (): string => {
    runs += 1
    return `run ${runs}`
  }
  const count = async (sql: string): Promise<number> => Number((await database.query(sql))[0]?.['n'])
  const stored = async (run: string): Promise<number[]> => [
    await count(`SELECT count(*) AS n FROM stored_events WHERE originator_id = '${idOf(run, 1)}'`),
    await count(`SELECT count(*) AS n FROM owners WHERE dog = '${run}'`),
  ]
  /** Transactions that nobody works in any more, as the server sees them. */
  const leftOpen = async (): Promise<number> => {
    if (kind.provider === 'sqlite') return faults.openTransactions
    return await count(
      kind.provider === 'postgresql'
        ? `SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`
        : `SELECT count(*) AS n FROM information_schema.innodb_trx AS t JOIN information_schema.processlist AS p ` +
            `ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()`,
    )
  }
  /** More at a time than a pool has that has lost a connection to each fault. */
  const saveMany = async (): Promise<void> => {
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        const run = newRun()
        await subject.datastore.transaction(async () => {
          await subject.recorder.appendEvents([event(idOf(run, 1), 1)])
        })
      }),
    )
  }
  const row = async (run: string): Promise<void> => {
    await subject.datastore.client.owner.create({ data: { name: 'Ann', dog: run } })
    await subject.recorder.appendEvents([event(idOf(run, 1), 1)])
  }

  describe.each(works)('$name', (work) => {
    const run = async (): Promise<void> => await work.run(subject, newRun())

    it('is all or nothing with a fault at any statement', async () => {
      const { statements, changes, outcomes } = await checkEveryFault({ faults, run, tables })
      expect(changes.map(({ added }) => added)).toEqual(work.all)
      expect(statements.length).toBeGreaterThanOrEqual(work.leastStatements)
      expect(outcomes).toHaveLength(statements.length * faults.kinds.length)
      for (const { kind: fault, statement, error, isStored } of outcomes) {
        if (error === undefined) continue
        const told = `${fault}: ${statement}: ${error instanceof Error ? error.message : typeof error}`
        expect(isEventSourcingError(error) || isPrismas(error), told).toBe(true)
        if (!(error instanceof CommitUnknownError)) continue
        expect(statement, told).toMatch(/COMMIT|INSERT/)
        unknownOutcomes.add(isStored)
      }
      await saveMany()
      expect([await leftOpen(), unhandled]).toEqual([0, []])
    }, 120_000)
  })

  it('tells of no commit that nobody knows of, unless there is one: and then it was carried out, or it was not', () => {
    expect(unknownOutcomes).toEqual(new Set(kind.provider === 'sqlite' ? [] : [false, true]))
  })

  it('is all or nothing with a statement that is under way at the deadline', { timeout: 90_000 }, async () => {
    const work = async (): Promise<void> => {
      const name = newRun()
      await subject.datastore.transaction(async () => await row(name), { deadlineMs: 1_000 })
    }
    const { statements, outcomes } = await checkEveryFault({
      faults,
      run: work,
      tables,
      kinds: ['delayed'],
      delayMs: 1_300,
    })
    // What is late at COMMIT is committed.
    expect(outcomes.map(({ told }) => told)).toEqual(
      statements.map((sql) => (sql === 'COMMIT' ? 'success' : 'failure')),
    )
    for (const { error } of outcomes) if (error !== undefined) expect(error).toBeInstanceOf(TransactionTimeoutError)
    await saveMany()
    expect([await leftOpen(), unhandled]).toEqual([0, []])
  })

  // SQLite runs a statement to its end before anything else happens in the process.
  if (kind.provider === 'sqlite') return
  it('stores nothing of a statement that the server is at work on at the deadline', async () => {
    const run = newRun()
    const slow =
      kind.provider === 'postgresql'
        ? `INSERT INTO owners (name, dog) SELECT 'late', '${run}' FROM pg_sleep(0.6)`
        : `INSERT INTO owners (name, dog) SELECT 'late', '${run}' FROM (SELECT SLEEP(0.6)) AS s`
    const { datastore, recorder } = subject
    const transaction = datastore.transaction(
      async () => {
        await recorder.appendEvents([event(idOf(run, 1), 1)])
        await datastore.client.$executeRawUnsafe(slow)
      },
      { deadlineMs: 150 },
    )
    await expect(transaction).rejects.toBeInstanceOf(TransactionTimeoutError)
    await new Promise((resolve) => setTimeout(resolve, 700))
    expect(await stored(run)).toEqual([0, 0])
    await saveMany()
    expect([await leftOpen(), unhandled]).toEqual([0, []])
  })
})

// The user's own call: what Prisma makes of the driver's error.
function isPrismas(error: unknown): boolean {
  return error instanceof Error && /^(Prisma|DriverAdapter)|^Error$/.test(error.name)
}
