/** Process recorders on Prisma keep the promises of all process recorders on every database, also in transactions. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { IntegrityError, PrismaDatastore, PrismaProcessRecorder } from '../../src/index.js'
import { processRecorderContract } from '../../src/testing/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { databases, databasesOf } from '../support/databases.js'
import { inMemorySqlites } from '../support/in-memory-sqlite.js'
import { idKinds } from './id-kinds.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const framework = { describe, it, expect }
const undo = new Error('undo')
const up = (notificationId: number) => ({ applicationName: 'up', notificationId: BigInt(notificationId) })

/** Runs the contract, each case on tables of its own. */
function contractOn(datastore: () => PrismaDatastore, options: { readonly schema?: string } = {}): void {
  let tables = 0
  const makeRecorder = async () => {
    tables += 1
    const recorder = new PrismaProcessRecorder(datastore(), {
      ...options,
      eventsTable: `events_${tables}`,
      trackingTable: `tracking_${tables}`,
    })
    await recorder.createTable()
    return { recorder, originatorId: idKinds.uuid }
  }
  processRecorderContract(framework, 'PrismaProcessRecorder [17, 79]', makeRecorder)
}

describe.each(inMemorySqlites)('on $name', ({ adapter }) => {
  let datastore: PrismaDatastore
  beforeAll(() => {
    datastore = new PrismaDatastore({ adapter: adapter() })
  })
  afterAll(async () => {
    await datastore.close()
  })

  contractOn(() => datastore)
})

describe.each(databasesOf('postgresql'))('in a named schema on $name [20]', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  contractOn(() => open.datastore, { schema: 'kennel' })
})

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  contractOn(() => open.datastore)

  const newRecorder = async (name: string): Promise<PrismaProcessRecorder<TestClient>> => {
    const tables = { eventsTable: `${name}_events`, trackingTable: `${name}_tracking` }
    const recorder = new PrismaProcessRecorder<TestClient>(open.datastore, tables)
    await recorder.createTable()
    return recorder
  }

  it('stores nothing of a transaction that is rolled back, neither events nor tracking', async () => {
    const recorder = await newRecorder('undone')
    const undone = open.datastore.transaction(async () => {
      await recorder.insertEvents([storedEvent(idKinds.uuid(1), 1)], { tracking: up(1) })
      expect(await recorder.maxTrackingId('up')).toBe(1n)
      expect(versionsOf(await recorder.selectEvents(idKinds.uuid(1)))).toEqual([1])
      throw undo
    })
    await expect(undone).rejects.toBe(undo)
    expect(await recorder.maxTrackingId('up')).toBeNull()
    expect(await recorder.selectNotifications(null, 10)).toEqual([])
  })

  it('leaves a transaction usable in which events or tracking were refused [264]', async () => {
    const recorder = await newRecorder('refused')
    const insert = async (version: number, id: number): Promise<unknown> =>
      await recorder.insertEvents([storedEvent(idKinds.uuid(1), version)], { tracking: up(id) })
    await insert(1, 1)
    await open.datastore.transaction(async () => {
      await expect(insert(1, 2)).rejects.toBeInstanceOf(IntegrityError)
      await expect(insert(2, 1)).rejects.toBeInstanceOf(IntegrityError)
      expect(await recorder.maxTrackingId('up')).toBe(1n)
      await insert(2, 2)
    })
    expect(await recorder.maxTrackingId('up')).toBe(2n)
    expect(versionsOf(await recorder.selectEvents(idKinds.uuid(1)))).toEqual([1, 2])
  })

  it('lets one of several datastores process each notification, with its events [66]', async () => {
    const tables = { eventsTable: 'contended_events', trackingTable: 'contended_tracking' }
    const recorder = await newRecorder('contended')
    const datastores = [1, 2].map(() => new PrismaDatastore({ adapter: open.database.adapter() }))
    const process = async (datastore: PrismaDatastore): Promise<number[]> => {
      const own = new PrismaProcessRecorder(datastore, tables)
      const won: number[] = []
      for (let id = 1; id <= 30; id += 1) {
        try {
          await own.insertEvents([storedEvent(idKinds.uuid(1), id)], { tracking: up(id) })
          won.push(id)
        } catch (error) {
          if (!(error instanceof IntegrityError)) throw error
        }
      }
      return won
    }
    const won = (await Promise.all(datastores.map(process))).flat().toSorted((one, other) => one - other)
    for (const datastore of datastores) await datastore.close()
    const all = Array.from({ length: 30 }, (_, n) => n + 1)
    expect(won).toEqual(all)
    expect(versionsOf(await recorder.selectEvents(idKinds.uuid(1)))).toEqual(all)
    expect(await recorder.maxTrackingId('up')).toBe(30n)
  })
})
