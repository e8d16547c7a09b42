/** The recorders on Prisma keep the promises of all recorders, on every database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  PersistenceError,
  PrismaAggregateRecorder,
  PrismaApplicationRecorder,
  PrismaDatastore,
  ProgrammingError,
} from '../../src/index.js'
import {
  aggregateRecorderContract,
  appendEventsContract,
  applicationRecorderContract,
  deleteEventsContract,
  eventStoreContract,
  notificationLogContract,
  selectSinceSnapshotContract,
  subscriptionContract,
  tagsContract,
} from '../../src/testing/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databases, databasesOf, type TestDatabaseKind } from '../support/databases.js'
import { inMemorySqlites } from '../support/in-memory-sqlite.js'
import { newGate } from './gate.js'
import { idKinds, idKindsOn } from './id-kinds.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const framework = { describe, it, expect }

/** Runs the contracts of the recorders of events, each case on tables of its own. */
function contractsOn(
  datastore: () => PrismaDatastore,
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
    const recorder = new PrismaAggregateRecorder(datastore(), newTable())
    await recorder.createTable()
    return { recorder, originatorId }
  }
  const snapshots = async () => {
    const recorder = new PrismaAggregateRecorder(datastore(), { ...newTable(), kind: 'snapshots' })
    await recorder.createTable()
    return { recorder, originatorId }
  }
  const applications = async () => {
    const recorder = new PrismaApplicationRecorder(datastore(), newTable())
    await recorder.createTable()
    return { recorder, originatorId }
  }
  aggregateRecorderContract(framework, `PrismaAggregateRecorder ${name}`, aggregates)
  appendEventsContract(framework, `PrismaAggregateRecorder ${name}`, aggregates)
  eventStoreContract(framework, `PrismaAggregateRecorder ${name}`, aggregates)
  aggregateRecorderContract(framework, `PrismaAggregateRecorder of snapshots [16] ${name}`, snapshots)
  deleteEventsContract(framework, `PrismaAggregateRecorder of snapshots [16] ${name}`, snapshots)
  applicationRecorderContract(framework, `PrismaApplicationRecorder [44] ${name}`, applications)
  selectSinceSnapshotContract(framework, `PrismaApplicationRecorder ${name}`, async () => ({
    recorder: { events: (await applications()).recorder, snapshots: (await snapshots()).recorder },
    originatorId,
  }))
  appendEventsContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  eventStoreContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  subscriptionContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  notificationLogContract(framework, `PrismaApplicationRecorder ${name}`, applications)
  tagsContract(framework, `PrismaApplicationRecorder ${name}`, applications)
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

  contractsOn(() => open.datastore, 'uuid', { schema: 'kennel' })
})

describe.each(inMemorySqlites)('on $name [44]', ({ adapter }) => {
  let datastore: PrismaDatastore
  beforeAll(() => {
    datastore = new PrismaDatastore({ adapter: adapter() })
  })
  afterAll(async () => {
    await datastore.close()
  })

  contractsOn(() => datastore, 'text')
})

/** Lets the next event of a log have the id after this one. */
const moveLog: Record<TestDatabaseKind['provider'], (table: string, id: bigint) => string> = {
  postgresql: (table, id) => `SELECT setval(pg_get_serial_sequence('${table}', 'id'), ${id})`,
  sqlite: (table, id) => `INSERT INTO sqlite_sequence (name, seq) VALUES ('${table}', ${id})`,
  mysql: (table, id) => `UPDATE notification_positions SET notification_id = ${id} WHERE log = '${table}'`,
}

/** The longest name of a table; SQLite has no limit, and ours is beyond anything that names a table. */
const longestName: Record<TestDatabaseKind['provider'], number> = { postgresql: 63, sqlite: 10_000, mysql: 64 }

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => {
    await open.close()
  })

  for (const originatorIdType of idKindsOn(database)) contractsOn(() => open.datastore, originatorIdType)

  it('makes its table twice without harm [18]', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'twice' })
    await recorder.createTable()
    await recorder.createTable()
    expect(await recorder.insertEvents([storedEvent(idKinds.uuid(1), 1)])).toEqual([1n])
  })

  it('takes the longest name of a table, and refuses a longer one when it is made [18]', async () => {
    const longest = 'a'.repeat(longestName[database.provider])
    for (const eventsTable of [longest, longest.replace(/a$/, 'b')]) {
      const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable })
      await recorder.createTable()
      await recorder.createTable()
      // A name that the database had shortened would be that of both.
      expect(await recorder.insertEvents([storedEvent(idKinds.uuid(1), 1)])).toEqual([1n])
    }
    for (const Recorder of [PrismaAggregateRecorder, PrismaApplicationRecorder]) {
      expect(() => new Recorder(open.datastore, { eventsTable: `${longest}a` })).toThrow(ProgrammingError)
    }
  })

  it('keeps nobody waiting who reads while a transaction has written [40]', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'read_beside' })
    await recorder.createTable()
    await recorder.insertEvents([storedEvent(idKinds.uuid(1), 1)])
    const [written, mayEnd] = [newGate(), newGate()]
    const writing = open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([storedEvent(idKinds.uuid(1), 2), storedEvent(idKinds.uuid(2), 1)])
      await tx.flush()
      written.open()
      await mayEnd.opened
    })
    await written.opened
    expect(await recorder.selectEvents(idKinds.uuid(1))).toHaveLength(1)
    expect(await recorder.selectEvents(idKinds.uuid(2))).toEqual([])
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(1)
    expect(await recorder.maxNotificationId()).toBe(1n)
    mayEnd.open()
    await writing
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(3)
  })

  it('gives and takes notification ids for which numbers are not exact', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'far' })
    await recorder.createTable()
    const last = 2n ** 53n
    await open.database.query(moveLog[database.provider]('far', last))
    const ids = [last + 1n, last + 2n, last + 3n]
    const idsOf = async (...args: Parameters<typeof recorder.selectNotifications>): Promise<bigint[]> =>
      (await recorder.selectNotifications(...args)).map(({ id }) => id)
    expect(await recorder.insertEvents([1, 2].map((version) => storedEvent(idKinds.uuid(1), version)))).toEqual(
      ids.slice(0, 2),
    )
    expect(await recorder.insertEvents([storedEvent(idKinds.uuid(1), 3)])).toEqual(ids.slice(2))
    expect(await recorder.maxNotificationId()).toBe(last + 3n)
    expect(await idsOf(null, 10)).toEqual(ids)
    expect(await idsOf(last + 1n, 10, { inclusiveOfStart: false })).toEqual(ids.slice(1))
    expect(await idsOf(last + 1n, 10, { stop: last + 1n })).toEqual(ids.slice(0, 1))
    const delivered: bigint[] = []
    for await (const { id } of recorder.subscribe({ gt: last + 1n })) {
      delivered.push(id)
      if (id === last + 3n) break
    }
    expect(delivered).toEqual(ids.slice(1))
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
