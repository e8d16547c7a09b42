/** When the transaction of withRollback() is lost before its time, nothing that comes after is stored for good. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TransactionClosedError } from '../../src/index.js'
import { withRollback } from '../../src/testing/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'

const undo = new Error('undo')
const dog = (name: string) => ({ data: { name: 'Ann', dog: name } })
const plain = (sql: string) => ({ sql, args: [], argTypes: [] })

describe.each(databasesOf('postgresql', 'mysql'))('the lost transaction of withRollback on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterEach(async () => {
    await open.db.owner.create(dog('after'))
    expect(await open.dogs()).toEqual(['after'])
    await open.clear()
  })
  afterAll(async () => await open.close())

  async function expectRefusal(): Promise<void> {
    await expect(open.db.owner.create(dog('loose'))).rejects.toThrow(/has ended before its time/)
    const transaction = open.datastore.transaction(async () => await open.db.owner.create(dog('together')))
    await expect(transaction).rejects.toThrow(TransactionClosedError)
    await expect(open.base.$transaction([open.base.owner.create(dog('base'))])).rejects.toThrow()
  }

  it('refuses the rest of the test when the connection is lost', async () => {
    const [ownId, end] =
      kind.provider === 'postgresql'
        ? ['SELECT pg_backend_pid() AS id', (id: unknown) => `SELECT pg_terminate_backend(${String(id)})`]
        : ['SELECT CONNECTION_ID() AS id', (id: unknown) => `KILL ${String(id)}`]
    const test = withRollback(open.datastore, async () => {
      await open.db.owner.create(dog('Rex'))
      const [row] = await open.db.$queryRawUnsafe<Array<{ id: unknown }>>(ownId)
      await open.database.query(end(row?.id))
      await expect(open.db.owner.create(dog('Ace'))).rejects.toThrow()
      await expectRefusal()
      throw undo
    })
    await expect(test).rejects.toBe(undo)
    expect(await open.dogs()).toEqual([])
  })

  it('refuses the rest of the test after a deadlock on MariaDB', async () => {
    // PostgreSQL undoes the statement alone.
    if (kind.provider !== 'mysql') return
    await open.database.query("INSERT INTO owners (name, dog) VALUES ('x', 'one'), ('x', 'two')")
    const adapter = await open.database.adapter().connect()
    const other = await adapter.startTransaction()
    try {
      await withRollback(open.datastore, async () => {
        const rename = async (name: string): Promise<unknown> =>
          await open.db.owner.update({ where: { dog: name }, data: { name: 'test' } })
        await rename('one')
        // The server undoes the transaction that has changed less.
        const rows = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `('y', '${name}')`).join()
        await other.executeRaw(plain(`INSERT INTO owners (name, dog) VALUES ${rows}`))
        await other.executeRaw(plain("UPDATE owners SET name = 'other' WHERE dog = 'two'"))
        const crossing = other.executeRaw(plain("UPDATE owners SET name = 'other' WHERE dog = 'one'"))
        await expect(rename('two')).rejects.toMatchObject({ code: 'P2034' })
        await crossing
        await other.executeRaw(plain('ROLLBACK'))
        await expectRefusal()
      })
    } finally {
      await other.rollback()
      await adapter.dispose()
    }
    expect(await open.dogs()).toEqual(['one', 'two'])
    await open.clear()
  })

  it('refuses a statement on MariaDB that would commit, and the rest of the test after a procedure that commits', async () => {
    if (kind.provider !== 'mysql') return
    await open.database.query('CREATE PROCEDURE commits() BEGIN COMMIT; END')
    await withRollback(open.datastore, async () => {
      await open.db.owner.create(dog('undone'))
      await expect(open.db.$executeRawUnsafe('CREATE TABLE made (id INT)')).rejects.toThrow('commits before it runs')
      await open.db.owner.create(dog('undone, too'))
    })
    expect(await open.dogs()).toEqual([])
    await withRollback(open.datastore, async () => {
      await expect(open.db.$executeRawUnsafe('CALL commits()')).rejects.toThrow('has ended the transaction')
      await expectRefusal()
    })
    expect(await open.dogs()).toEqual([])
  })
})
