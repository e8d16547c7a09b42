/** `$disconnect` is for a while, as Prisma has it; `close` is for good. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DatastoreClosedError, PrismaApplicationRecorder } from '../../src/index.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => await open.close())

  it('client, recorders and transactions connect again after $disconnect, and not after close', async () => {
    const { datastore, db } = open
    const recorder = new PrismaApplicationRecorder(datastore)
    const uses = {
      client: async () => await db.owner.count(),
      recorder: async () => await recorder.maxNotificationId(),
      transaction: async () => await datastore.transaction(async () => await db.owner.count()),
    }
    for (const use of Object.values(uses)) {
      await use()
      await db.$disconnect()
      await use()
    }
    await datastore.close()
    await expect(uses.client()).rejects.toThrow('the datastore is closed')
    await expect(uses.recorder()).rejects.toBeInstanceOf(DatastoreClosedError)
    await expect(uses.transaction()).rejects.toBeInstanceOf(DatastoreClosedError)
    await db.$disconnect()
    await expect(uses.recorder()).rejects.toBeInstanceOf(DatastoreClosedError)
  })
})
