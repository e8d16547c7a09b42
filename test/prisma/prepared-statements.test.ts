/** Prepared statements: named for the library's own, on PostgreSQL; everything works with them. */
import { PrismaPg } from '@prisma/adapter-pg'
import { describe, expect, it } from 'vitest'
import {
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  PrismaDatastore,
  preparedStatementName,
  uuid5,
} from '../../src/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { databasesOf } from '../support/databases.js'

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  it('prepares the statements of the recorder, and not those of others', async () => {
    const database = await kind.createDatabase()
    const adapter = new PrismaPg(
      { connectionString: database.url, max: 1 },
      { statementNameGenerator: preparedStatementName },
    )
    const datastore = new PrismaDatastore({ adapter })
    const recorder = new PrismaApplicationRecorder(datastore)
    const id = uuid5(NAMESPACE_URL, '/prepared')
    for (let version = 1; version <= 8; version += 1) {
      await datastore.transaction(async () => {
        await recorder.selectEvents(id)
        const predecessors = version === 1 ? [] : [{ originatorId: id, originatorVersion: version - 1 }]
        await recorder.appendEvents([storedEvent(id, version)], { predecessors })
      })
    }
    expect(versionsOf(await recorder.selectEvents(id))).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    const connected = await datastore.adapter.connect()
    const sql = 'SELECT name FROM pg_prepared_statements'
    const { rows } = await connected.queryRaw({ sql, args: [], argTypes: [] })
    expect(rows.length).toBeGreaterThanOrEqual(3)
    expect(rows.every(([name]) => /^es_[0-9a-f]{24}$/.test(String(name)))).toBe(true)
    expect(preparedStatementName({ sql, args: [1] })).toBe('')
    await datastore.close()
    await database.drop()
  })
})
