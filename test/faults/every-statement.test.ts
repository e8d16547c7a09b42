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
import type { TestClient } from '../prisma/open-database.js'
import { databases, type TestDatabase, type TestDatabaseKind } from '../support/databases.js'
import { type Fault, FaultyFactory } from './faulty-adapter.js'

const idOf = (run: string, stream: number): string => uuid5(NAMESPACE_URL, `/faults/${run}/${stream}`)
const event = (originatorId: string, originatorVersion: number): StoredEvent => ({
  originatorId,
  originatorVersion,
  topic: 'Saved',
  state: new Uint8Array(),
})

/** What each piece of work stores, as an observer counts it: nothing, or all of it. */
interface Work {
  readonly name: string
  readonly all: readonly [events: number, rows: number, tracking: number]
  /** Fewer would mean that not every statement was met. */
  readonly leastPoints: number
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
    leastPoints: 8,
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
    leastPoints: 4,
    run: async ({ recorder }, run) => {
      const tracking = { applicationName: run, notificationId: 1n }
      await recorder.insertEvents([event(idOf(run, 1), 1), event(idOf(run, 1), 2)], { tracking })
    },
  },
  {
    name: 'events alone, without a transaction around them',
    all: [2, 0, 0],
    leastPoints: 1,
    run: async ({ recorder }, run) => {
      await recorder.insertEvents([event(idOf(run, 1), 1), event(idOf(run, 1), 2)])
    },
  },
]

/** On SQLite there is no server that could cut a connection, and an answer always comes: the driver runs in this process. */
const faultsOf = (kind: TestDatabaseKind): readonly Fault[] =>
  kind.provider === 'sqlite'
    ? ['lost before', 'failed before', 'delayed']
    : ['lost before', 'failed before', 'lost after', 'cut before', 'cut after', 'delayed']

function cutterOf(kind: TestDatabaseKind, database: TestDatabase): ((id: number) => Promise<void>) | undefined {
  if (kind.provider === 'sqlite') return undefined
  const sql = (id: number): string =>
    kind.provider === 'postgresql' ? `SELECT pg_terminate_backend(${id})` : `KILL CONNECTION ${id}`
  return async (id) => {
    await database.query(sql(id))
    // The connection learns of it a moment later.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase
  let faulty: FaultyFactory
  let subject: Subject
  let runs = 0
  /** What was stored where nobody could tell. */
  const unknownOutcomes = new Set<boolean>()
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  beforeAll(async () => {
    database = await kind.createDatabase()
    faulty = new FaultyFactory(database.adapter(), cutterOf(kind, database))
    const datastore = new PrismaDatastore<TestClient>({
      adapter: faulty,
      client: (adapter) => database.newClient(adapter) as TestClient,
      deadlineMs: 5_000,
    })
    subject = { datastore, recorder: new PrismaProcessRecorder<TestClient>(datastore) }
    process.on('unhandledRejection', note)
    for (const work of works) await work.run(subject, newRun())
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
  const stored = async (run: string): Promise<number[]> => {
    const ids = [1, 2, 3].map((stream) => `'${idOf(run, stream)}'`).join(', ')
    return [
      await count(`SELECT count(*) AS n FROM stored_events WHERE originator_id IN (${ids})`),
      await count(`SELECT count(*) AS n FROM owners WHERE dog = '${run}'`),
      await count(`SELECT count(*) AS n FROM notification_tracking WHERE application_name = '${run}'`),
    ]
  }
  /** Transactions that nobody works in any more. */
  const leftOpen = async (): Promise<number> => {
    if (kind.provider === 'sqlite') return 0
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

  describe.each(works)('$name', (work) => {
    it.each(faultsOf(kind))('is all or nothing with a statement that is %s', async (fault) => {
      faulty.arm(undefined, -1)
      await work.run(subject, newRun())
      const { points } = faulty.disarm()
      expect(points.length).toBeGreaterThanOrEqual(work.leastPoints)
      let struck = 0
      for (const at of points.keys()) {
        const run = newRun()
        const told = `${fault} at ${at}: ${points[at]?.slice(0, 60)}`
        faulty.arm(fault, at)
        const error: unknown = await work.run(subject, run).then(
          () => undefined,
          (reason: unknown) => reason,
        )
        const passed = faulty.disarm()
        if (passed.struck !== undefined) struck += 1
        const found = await stored(run)
        if (error === undefined) expect(found, told).toEqual(work.all)
        else if (error instanceof CommitUnknownError) {
          expect([work.all, [0, 0, 0]], told).toContainEqual(found)
          unknownOutcomes.add(found[0] !== 0)
        } else expect(found, told).toEqual([0, 0, 0])
        if (error !== undefined)
          expect(
            isEventSourcingError(error) || isPrismas(error),
            `${told}: ${error instanceof Error ? error.message : typeof error}`,
          ).toBe(true)
        if (error instanceof CommitUnknownError) expect(passed.struck, told).toMatch(/COMMIT|INSERT/)
        await saveMany()
        expect(await leftOpen(), told).toBe(0)
      }
      // A connection can be cut inside of a transaction only; what is sent by itself has none of its own.
      if (!fault.startsWith('cut')) expect(struck).toBe(points.length)
      else if (work !== works[2]) expect(struck).toBeGreaterThanOrEqual(work.leastPoints - 2)
      expect(unhandled).toEqual([])
    })
  })

  it('tells of no commit that nobody knows of, unless there is one: and then it was carried out, or it was not', () => {
    expect(unknownOutcomes).toEqual(new Set(kind.provider === 'sqlite' ? [] : [false, true]))
  })

  it('ends well when its deadline passes during COMMIT', async () => {
    const work = async (run: string): Promise<void> => {
      await subject.datastore.transaction(
        async () => {
          await subject.datastore.client.owner.create({ data: { name: 'Ann', dog: run } })
          await subject.recorder.appendEvents([event(idOf(run, 1), 1)])
        },
        { deadlineMs: 150 },
      )
    }
    faulty.arm(undefined, -1)
    await work(newRun())
    const { points } = faulty.disarm()
    const run = newRun()
    faulty.arm('delayed', points.lastIndexOf('COMMIT'))
    await work(run)
    expect(faulty.disarm().struck).toBe('COMMIT')
    expect(await stored(run)).toEqual([1, 1, 0])
    await saveMany()
    expect([await leftOpen(), unhandled]).toEqual([0, []])
  })

  // SQLite runs a statement to its end before anything else happens in the process.
  if (kind.provider === 'sqlite') return
  it('stores nothing of a statement that is in flight at the deadline', async () => {
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
    expect(await stored(run)).toEqual([0, 0, 0])
    await saveMany()
    expect([await leftOpen(), unhandled]).toEqual([0, []])
  })
})

// The user's own call: what Prisma makes of the driver's error.
function isPrismas(error: unknown): boolean {
  return error instanceof Error && /^(Prisma|DriverAdapter)|^Error$|^RangeError$/.test(error.name)
}
