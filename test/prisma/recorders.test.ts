/** The recorders on Prisma keep the promises of all recorders, on every database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  NAMESPACE_URL,
  PersistenceError,
  PrismaAggregateRecorder,
  PrismaApplicationRecorder,
  ProgrammingError,
  uuid5,
} from '../../src/index.js'
import {
  aggregateRecorderContract,
  appendEventsContract,
  applicationRecorderContract,
  deleteEventsContract,
  eventStoreContract,
  notificationLogContract,
  subscriptionContract,
} from '../../src/testing/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databases, databasesOf } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const framework = { describe, it, expect }

const idKinds = {
  uuid: (n: number) => uuid5(NAMESPACE_URL, `/${n}`),
  text: (n: number) => `order-${n}`,
} as const

/** Runs the contracts of the recorders of events, each case on tables of its own. */
function contractsOn(
  database: () => OpenDatabase,
  originatorIdType: keyof typeof idKinds,
  options: { readonly schema?: string } = {},
): void {
  const originatorId = idKinds[originatorIdType]
  const name = `with ${originatorIdType} ids [17]`
  let tables = 0
  const newTable = () => {
    tables += 1
    return { ...options, eventsTable: `${originatorIdType}_events_${tables}`, originatorIdType }
  }
  const aggregates = async () => {
    const recorder = new PrismaAggregateRecorder(database().datastore, newTable())
    await recorder.createTable()
    return { recorder, originatorId }
  }
  const snapshots = async () => {
    const recorder = new PrismaAggregateRecorder(database().datastore, { ...newTable(), kind: 'snapshots' })
    await recorder.createTable()
    return { recorder, originatorId }
  }
  const applications = async () => {
    const recorder = new PrismaApplicationRecorder(database().datastore, newTable())
    await recorder.createTable()
    return { recorder, originatorId }
  }
  aggregateRecorderContract(framework, `PrismaAggregateRecorder ${name}`, aggregates)
  appendEventsContract(framework, `PrismaAggregateRecorder ${name}`, aggregates)
  eventStoreContract(framework, `PrismaAggregateRecorder ${name}`, aggregates)
  aggregateRecorderContract(framework, `PrismaAggregateRecorder of snapshots [16] ${name}`, snapshots)
  deleteEventsContract(framework, `PrismaAggregateRecorder of snapshots [16] ${name}`, snapshots)
  applicationRecorderContract(framework, `PrismaApplicationRecorder [44] ${name}`, applications)
  appendEventsContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  eventStoreContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  subscriptionContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  notificationLogContract(framework, `PrismaApplicationRecorder ${name}`, applications)
}

describe.each(databasesOf('postgresql'))('in a named schema on $name [20]', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => {
    const tables = await open.database.query(
      `SELECT table_schema, count(*) AS n FROM information_schema.tables WHERE table_name LIKE '%\\_events\\__%' GROUP BY 1`,
    )
    await open.close()
    expect(tables.map((row) => row['table_schema'])).toEqual(['kennel'])
  })

  for (const originatorIdType of ['uuid', 'text'] as const) {
    contractsOn(() => open, originatorIdType, { schema: 'kennel' })
  }
})

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => {
    await open.close()
  })

  for (const originatorIdType of ['uuid', 'text'] as const) contractsOn(() => open, originatorIdType)

  it('makes its table twice without harm [18]', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'twice' })
    await recorder.createTable()
    await recorder.createTable()
    expect(await recorder.insertEvents([storedEvent(idKinds.uuid(1), 1)])).toEqual([1n])
  })

  it('fails before its table exists, instead of finding nothing [19]', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'missing' })
    await expect(recorder.insertEvents([storedEvent(idKinds.uuid(1), 1)])).rejects.toBeInstanceOf(PersistenceError)
    await expect(recorder.selectEvents(idKinds.uuid(1))).rejects.toBeInstanceOf(PersistenceError)
    await expect(recorder.selectNotifications(null, 1)).rejects.toBeInstanceOf(PersistenceError)
    await expect(recorder.maxNotificationId()).rejects.toBeInstanceOf(PersistenceError)
  })

  it('refuses names that are none', () => {
    expect(() => new PrismaApplicationRecorder(open.datastore, { eventsTable: 'a"; DROP TABLE b; --' })).toThrow(
      ProgrammingError,
    )
    expect(() => new PrismaApplicationRecorder(open.datastore, { eventsTable: '' })).toThrow(ProgrammingError)
  })

  it('keeps the metadata of an event', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'with_metadata' })
    await recorder.createTable()
    const event = { ...storedEvent(idKinds.uuid(1), 1), metadata: { user: 'Ann', tags: ['ä', 1, null] } }
    await recorder.insertEvents([event])
    expect(await recorder.selectEvents(idKinds.uuid(1))).toEqual([event])
    const [notification] = await recorder.selectNotifications(null, 1)
    expect(notification).toMatchObject({ ...event, id: 1n })
    expect(Math.abs(Date.now() - (notification?.recordedAt.getTime() ?? 0))).toBeLessThan(60_000)
  })

  it('stores and reads 10,000 events in one insert', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'many' })
    await recorder.createTable()
    const events = Array.from({ length: 10_000 }, (_, n) => storedEvent(idKinds.uuid(1), n + 1))
    const ids = await recorder.insertEvents(events)
    expect(ids).toHaveLength(10_000)
    expect(ids[9_999]).toBe(10_000n)
    expect(await recorder.selectEvents(idKinds.uuid(1), { gt: 9_990 })).toHaveLength(10)
    await open.datastore.transaction(async () => {
      // The last one is taken: nothing of the other parts of the insert may stay.
      const more = Array.from({ length: 9_999 }, (_, n) => storedEvent(idKinds.uuid(2), n + 1))
      await expect(recorder.insertEvents([...more, storedEvent(idKinds.uuid(1), 10_000)])).rejects.toBeInstanceOf(
        PersistenceError,
      )
    })
    expect(await recorder.selectEvents(idKinds.uuid(2))).toEqual([])
    expect(await recorder.maxNotificationId()).toBe(10_000n)
  })
})
