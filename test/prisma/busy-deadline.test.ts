/** The deadline where the process is too busy for its timers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TransactionTimeoutError } from '../../src/index.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

describe.each(databases)('a transaction on $name that keeps the process busy beyond its deadline', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
    await open.dogs()
  })
  afterAll(async () => {
    await open.close()
  })

  it('is not committed, although no timer could tell', async () => {
    const work = open.datastore.transaction(
      async () => {
        await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        const start = performance.now()
        while (performance.now() - start < 1_100);
      },
      { deadlineMs: 1_000 },
    )
    await expect(work).rejects.toBeInstanceOf(TransactionTimeoutError)
    expect(await open.dogs()).toEqual([])
  })
})
