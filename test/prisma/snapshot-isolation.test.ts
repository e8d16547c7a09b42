/** MariaDB with `innodb_snapshot_isolation`: it ends a transaction that writes what others have changed since its snapshot. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RollbackOnlyError } from '../../src/index.js'
import { databasesOf } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const [kind] = databasesOf('mysql')

describe.skipIf(kind === undefined)('a transaction on MariaDB that writes an outdated row', () => {
  let open: OpenDatabase
  beforeEach(async () => {
    if (kind === undefined) return
    open = await openDatabase(kind)
    await open.database.query(`INSERT INTO owners (name, dog) VALUES ('Ann', 'Rex')`)
  })
  afterEach(async () => {
    await open.close()
  })

  /** Reads a row, lets somebody else change it, and then writes it. */
  async function writeOutdated(attempt: number): Promise<void> {
    await open.db.$executeRaw`SET SESSION innodb_snapshot_isolation = ON`
    await open.db.owner.create({ data: { name: 'Bob', dog: `Ace ${attempt}` } })
    await open.db.owner.findMany()
    if (attempt === 1) await open.database.query(`UPDATE owners SET name = 'Cid' WHERE dog = 'Rex'`)
    await open.db.owner.updateMany({ where: { dog: 'Rex' }, data: { name: 'Dan' } })
  }

  it('stores nothing that is sent after the server has ended it', async () => {
    const work = open.datastore.transaction(async (tx) => {
      await expect(writeOutdated(tx.attempt)).rejects.toThrow(/changed since last read/)
      await expect(open.db.owner.create({ data: { name: 'Eve', dog: 'Max' } })).rejects.toThrow()
    })
    await expect(work).rejects.toThrow(RollbackOnlyError)
    expect(await open.dogs()).toEqual(['Rex'])
  })

  it('is run again', async () => {
    await open.datastore.transaction(async (tx) => await writeOutdated(tx.attempt), { retries: 2 })
    expect(await open.dogs()).toEqual(['Ace 2', 'Rex'])
    expect(await open.database.query(`SELECT name FROM owners WHERE dog = 'Rex'`)).toEqual([{ name: 'Dan' }])
  })
})
