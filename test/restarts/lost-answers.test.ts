/** Statements that are carried out although their answer is lost: the caller is told to look, never that nothing is stored. */
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  CommitUnknownError,
  ConcurrencyError,
  NAMESPACE_URL,
  OperationalError,
  PrismaAggregateRecorder,
  PrismaApplicationRecorder,
  PrismaDatastore,
  PrismaTrackingRecorder,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { CuttingProxy } from './cutting-proxy.js'

const stream = uuid5(NAMESPACE_URL, '/lost')
const applicationName = 'upstream'

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  const isPostgresql = kind.provider === 'postgresql'
  let proxy: CuttingProxy
  let database: TestDatabase
  let datastore: PrismaDatastore
  let recorder: PrismaApplicationRecorder
  let snapshots: PrismaAggregateRecorder
  let tracking: PrismaTrackingRecorder
  beforeAll(async () => {
    database = await kind.createDatabase()
  })
  afterAll(async () => {
    await database.drop()
  })
  beforeEach(async () => {
    proxy = await CuttingProxy.before(database.url, isPostgresql ? 5432 : 3306)
    datastore = newDatastore()
    recorder = new PrismaApplicationRecorder(datastore)
    snapshots = new PrismaAggregateRecorder(datastore, { eventsTable: 'stored_snapshots', kind: 'snapshots' })
    tracking = new PrismaTrackingRecorder(datastore)
    // A connection that is there, and a log that has begun.
    await recorder.insertEvents([storedEvent(stream, 1)])
  })
  afterEach(async () => {
    await datastore.close()
    await proxy.close()
    for (const table of ['stored_events', 'stored_snapshots', 'notification_tracking']) {
      await database.query(`DELETE FROM ${table}`)
    }
  })

  /** A datastore whose connections go through the proxy. */
  const newDatastore = (): PrismaDatastore => {
    const url = proxy.urlOf(database.url)
    // By default the driver waits for 10 s before it says that no server answers.
    const adapter = isPostgresql
      ? new PrismaPg({ connectionString: url })
      : new PrismaMariaDb(`${url}?acquireTimeout=200`)
    return new PrismaDatastore({ adapter })
  }
  const count = async (table: string): Promise<number> => (await database.query(`SELECT * FROM ${table}`)).length

  it('tells of events that may be stored', async () => {
    proxy.loseAnswerTo(isPostgresql ? 'INSERT INTO' : 'COMMIT')
    await expect(recorder.insertEvents([storedEvent(stream, 2)])).rejects.toBeInstanceOf(CommitUnknownError)
    expect([proxy.losses, await count('stored_events')]).toEqual([1, 2])
  })

  it('tells of a snapshot that may be stored', async () => {
    proxy.loseAnswerTo('INSERT INTO')
    await expect(snapshots.insertEvents([storedEvent(stream, 1)])).rejects.toBeInstanceOf(CommitUnknownError)
    expect([proxy.losses, await count('stored_snapshots')]).toEqual([1, 1])
  })

  it('tells that a deletion can be repeated, which then deletes what is left', async () => {
    proxy.loseAnswerTo('DELETE FROM')
    await expect(recorder.deleteEvents(stream, { lte: 1 })).rejects.toMatchObject({ retryable: true })
    expect([proxy.losses, await count('stored_events')]).toEqual([1, 0])
    await recorder.deleteEvents(stream, { lte: 1 })
  })

  it('tells of a tracking position that may be stored', async () => {
    proxy.loseAnswerTo('INSERT INTO')
    const inserting = tracking.insertTracking({ applicationName, notificationId: 1n })
    await expect(inserting).rejects.toBeInstanceOf(CommitUnknownError)
    expect([proxy.losses, await count('notification_tracking')]).toEqual([1, 1])
  })

  it('tells of a transaction that may be stored, once COMMIT was sent', async () => {
    proxy.loseAnswerTo('COMMIT')
    const storing = datastore.transaction(async () => {
      await recorder.insertEvents([storedEvent(stream, 2)])
      await tracking.insertTracking({ applicationName, notificationId: 1n })
    })
    await expect(storing).rejects.toBeInstanceOf(CommitUnknownError)
    expect([proxy.losses, await count('stored_events'), await count('notification_tracking')]).toEqual([1, 2, 1])
  })

  it('tells that a transaction can be repeated whose statement got no answer', async () => {
    proxy.loseAnswerTo('INSERT INTO')
    const storing = datastore.transaction(async () => {
      await tracking.insertTracking({ applicationName, notificationId: 1n })
      await recorder.insertEvents([storedEvent(stream, 2)])
    })
    await expect(storing).rejects.toMatchObject({ retryable: true })
    expect([proxy.losses, await count('stored_events'), await count('notification_tracking')]).toEqual([1, 1, 0])
  })

  it('tells that a read can be repeated whose answer is lost, which then succeeds', async () => {
    proxy.loseAnswerTo('SELECT')
    const failed: unknown = await recorder.selectEvents(stream).catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(OperationalError)
    expect(failed).toMatchObject({ retryable: true })
    expect(proxy.losses).toBe(1)
    expect(await recorder.selectEvents(stream)).toHaveLength(1)
  })

  it('tells that a refused write can be repeated, when the answer that would explain the refusal is lost', async () => {
    proxy.loseAnswerTo('max(originator_version)')
    const failed: unknown = await recorder.insertEvents([storedEvent(stream, 1)]).catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(OperationalError)
    expect(failed).toMatchObject({ retryable: true })
    expect([proxy.losses, await count('stored_events')]).toEqual([1, 1])
    await expect(recorder.insertEvents([storedEvent(stream, 1)])).rejects.toBeInstanceOf(ConcurrencyError)
  })

  it('tells that what could not be sent can be repeated', async () => {
    const unsent = newDatastore()
    await proxy.close()
    const elsewhere = new PrismaApplicationRecorder(unsent)
    for (const write of [
      () => elsewhere.insertEvents([storedEvent(stream, 2)]),
      () => elsewhere.deleteEvents(stream, { lte: 1 }),
      () => new PrismaTrackingRecorder(unsent).insertTracking({ applicationName, notificationId: 1n }),
    ]) {
      const failed: unknown = await write().catch((error: unknown) => error)
      expect(failed).toBeInstanceOf(OperationalError)
      expect(failed).toMatchObject({ retryable: true })
    }
    await unsent.close()
  })
})
