/** Subscriptions on every database: woken by writers of this process and of others, and alive after a lost connection. */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  CommitUnknownError,
  isEventSourcingError,
  NAMESPACE_URL,
  type Notification,
  NotSupportedError,
  OperationalError,
  PrismaApplicationRecorder,
  PrismaDatastore,
  PrismaTrackingRecorder,
  ProgrammingError,
  type Subscription,
  uuid5,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { databases, databasesOf, type TestDatabaseKind } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const originatorId = (n: number): string => uuid5(NAMESPACE_URL, `/${n}`)
const event = (n: number, topic = 'topic') => ({
  originatorId: originatorId(n),
  originatorVersion: 1,
  topic,
  state: new Uint8Array(),
})

/** Takes so many notifications, in the background. */
function take(subscription: Subscription<Notification>, count: number): Promise<bigint[]> {
  const ids: bigint[] = []
  const all = async (): Promise<bigint[]> => {
    for await (const { id } of subscription) {
      ids.push(id)
      if (ids.length === count) break
    }
    return ids
  }
  return all()
}

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeEach(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterEach(async () => {
    await open.close()
  })

  it('delivers what other processes store, by asking', async () => {
    const other = new PrismaDatastore({ adapter: open.database.adapter() })
    const elsewhere = new PrismaApplicationRecorder(other)
    const taken = take(recorder.subscribe(), 3)
    await elsewhere.insertEvents([event(1)])
    await delay(50)
    await elsewhere.insertEvents([event(2), event(3)])
    expect(await taken).toEqual([1n, 2n, 3n])
    await other.close()
  })

  it('delivers nothing of a transaction before its commit, and nothing of one that is rolled back', async () => {
    const subscription = recorder.subscribe()
    const delivered: bigint[] = []
    const following = (async () => {
      for await (const { id, originatorId: from } of subscription) {
        expect(from).not.toBe(originatorId(1))
        delivered.push(id)
      }
    })()
    const undone = open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([event(1)])
      await tx.flush()
      await delay(60)
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
    await open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([event(2)])
      await tx.flush()
      await delay(60)
      expect(delivered).toEqual([])
    })
    await vi.waitFor(() => expect(delivered).toHaveLength(1), { timeout: 10_000 })
    subscription.stop()
    await following
  })

  it('reads outside of the transaction that its consumer is in', async () => {
    await recorder.insertEvents([event(1)])
    const seen = await open.datastore.transaction(async (tx) => {
      const ids = await take(recorder.subscribe(), 1)
      expect(tx.state).toBe('idle')
      return ids
    })
    expect(seen).toEqual([1n])
  })

  it('is processed by a consumer that stores its tracking with its rows', async () => {
    const tracking = new PrismaTrackingRecorder(open.datastore)
    const school = new TrainingSchool({ datastore: open.datastore })
    const project = async (until: number): Promise<void> => {
      const gt = await tracking.maxTrackingId(school.name)
      for await (const { event: stored, tracking: position } of school.subscribe({ gt })) {
        await open.datastore.transaction(async () => {
          await tracking.insertTracking(position)
          await open.db.owner.create({ data: { name: stored.topic, dog: stored.originatorId } })
        })
        if (position.notificationId === BigInt(until)) break
      }
    }
    await school.register('Fido')
    await school.register('Rex')
    await project(2)
    await school.register('Ace')
    await project(3)
    expect(await open.dogs()).toEqual(['Fido', 'Rex', 'Ace'].map((name) => Dog.createId(name)).sort())
    expect(await tracking.hasTrackingId(school.name, 3n)).toBe(true)
  })

  it('can be ended at once, whatever it waits for, before the datastore is closed', async () => {
    const aborted = new AbortController()
    const [byStop, byDispose, bySignal] = [
      recorder.subscribe(),
      recorder.subscribe({ topics: ['a'] }),
      recorder.subscribe({ signal: aborted.signal }),
    ]
    const all = Promise.all([byStop, byDispose, bySignal].map((subscription) => take(subscription, 1)))
    await delay(30)
    byStop.stop()
    await byDispose[Symbol.asyncDispose]()
    aborted.abort()
    expect(await all).toEqual([[], [], []])
  })

  it('ends when the datastore is closed, which then cannot be used any more', async () => {
    const datastore = new PrismaDatastore({ adapter: open.database.adapter() })
    const following = new PrismaApplicationRecorder(datastore)
    const ids: bigint[] = []
    const first = (async () => {
      for await (const { id } of following.subscribe()) ids.push(id)
    })()
    const second = take(following.subscribe({ topics: ['a'] }), 2)
    await following.insertEvents([event(1)])
    await expect.poll(() => ids).toEqual([1n])
    await datastore.close()
    await first
    expect([ids, await second]).toEqual([[1n], []])
    await expect(following.insertEvents([event(2)])).rejects.toBeInstanceOf(ProgrammingError)
    await expect(following.selectEvents(originatorId(1))).rejects.toBeInstanceOf(ProgrammingError)
    await expect(datastore.transaction(() => following.insertEvents([event(2)]))).rejects.toBeInstanceOf(
      ProgrammingError,
    )
  })

  it('rejects with what a read of the log rejects with, when that cannot pass', async () => {
    const missing = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'missing' })
    const error: unknown = await take(missing.subscribe(), 1).catch((reason: unknown) => reason)
    expect(isEventSourcingError(error)).toBe(true)
    expect(error).not.toMatchObject({ retryable: true })
  })
})

/** A listening connection that a test can cut, and count. */
function listening(kind: TestDatabaseKind, url: string) {
  const connections: pg.Client[] = []
  const listen = (): pg.Client => {
    const connection = new pg.Client({ connectionString: url, application_name: `listen ${kind.name}` })
    connections.push(connection)
    return connection
  }
  return { connections, listen }
}

describe.each(databasesOf('postgresql'))('on $name, with LISTEN', (kind) => {
  async function openListening() {
    const database = await kind.createDatabase()
    const { connections, listen } = listening(kind, database.url)
    const datastore = new PrismaDatastore({ adapter: database.adapter(), listen })
    const writers = new PrismaDatastore({ adapter: database.adapter(), listen })
    onTestFinished(async () => {
      await datastore.close()
      await writers.close()
      await database.drop()
    })
    return { database, connections, datastore, writers }
  }

  it('is told of a commit in another process, and of no rollback', async () => {
    const { connections, datastore, writers, database } = await openListening()
    const told: string[] = []
    const observer = new pg.Client({ connectionString: database.url })
    await observer.connect()
    observer.on('notification', ({ channel }) => told.push(channel))
    await observer.query('LISTEN es_stored_events')
    const recorder = new PrismaApplicationRecorder(datastore)
    const elsewhere = new PrismaApplicationRecorder(writers)
    const taken = take(recorder.subscribe(), 2)
    await vi.waitFor(() => expect(connections).toHaveLength(1), { timeout: 10_000 })
    await writers
      .transaction(async (tx) => {
        await elsewhere.appendEvents([event(1)])
        await tx.flush()
        throw new Error('undo')
      })
      .catch(() => undefined)
    await observer.query('SELECT 1')
    expect(told).toEqual([])
    await writers.transaction(async () => {
      await elsewhere.appendEvents([event(2)])
    })
    await elsewhere.insertEvents([event(3)])
    expect(await taken).toHaveLength(2)
    await vi.waitFor(() => expect(told).toEqual(['es_stored_events', 'es_stored_events']), { timeout: 10_000 })
    await observer.end()
  })

  it('listens on one connection for all subscriptions, and gives it up with the last', async () => {
    const { connections, datastore } = await openListening()
    const recorder = new PrismaApplicationRecorder(datastore)
    const other = new PrismaApplicationRecorder(datastore, { eventsTable: 'trainingschool_events' })
    const subscriptions = [recorder.subscribe(), recorder.subscribe(), other.subscribe()]
    const taken = Promise.all(subscriptions.map((subscription) => take(subscription, 1)))
    await vi.waitFor(() => expect(connections).toHaveLength(1), { timeout: 10_000 })
    const ended = newGate()
    connections[0]?.on('end', () => ended.open())
    await delay(50)
    for (const subscription of subscriptions) subscription.stop()
    await ended.opened
    expect(await taken).toEqual([[], [], []])
    const again = recorder.subscribe()
    const takenAgain = take(again, 1)
    await vi.waitFor(() => expect(connections).toHaveLength(2), { timeout: 10_000 })
    await recorder.insertEvents([event(1)])
    expect(await takenAgain).toEqual([1n])
  })

  it('connects again when the server has closed its connections, and misses nothing', async () => {
    const { connections, datastore, writers, database } = await openListening()
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => warnings.mockRestore())
    const recorder = new PrismaApplicationRecorder(datastore)
    const elsewhere = new PrismaApplicationRecorder(writers)
    const count = 40
    const taken = take(recorder.subscribe(), count)
    for (let n = 0; n < count; n += 1) {
      if (n % 10 === 5) {
        await database.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
        )
      }
      // A writer whose connection was closed under it tries again: what it had sent is not stored.
      await insertAgain(elsewhere, n)
      await delay(5)
    }
    expect(await taken).toHaveLength(count)
    expect(connections.length).toBeGreaterThan(1)
  })

  it('is refused where the database sends no notifications', async () => {
    const sqlite = databasesOf('sqlite')[0]
    const database = await sqlite?.createDatabase()
    if (database === undefined) throw new Error('SQLite is always there')
    const { listen } = listening(kind, database.url)
    expect(() => new PrismaDatastore({ adapter: database.adapter(), listen })).toThrow(NotSupportedError)
    await database.drop()
  })
})

async function insertAgain(recorder: PrismaApplicationRecorder, n: number): Promise<void> {
  for (;;) {
    try {
      await recorder.insertEvents([event(n)])
      return
    } catch (error) {
      const mayPass = error instanceof OperationalError && error.retryable
      if (!mayPass && !(error instanceof CommitUnknownError)) throw error
      // A look that fails as well says nothing.
      const stored = await vi.waitFor(async () => await recorder.selectEvents(originatorId(n)), { timeout: 10_000 })
      if (stored.length > 0) return
    }
  }
}
