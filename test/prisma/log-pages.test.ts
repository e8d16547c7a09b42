/** How PostgreSQL reads pages of a log on a table of which it has no statistics. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { PrismaApplicationRecorder, PrismaDatastore } from '../../src/index.js'
import type { SelectNotificationsOptions } from '../../src/recorders.js'
import { countedStatements } from '../support/counted-statements.js'
import { databasesOf } from '../support/databases.js'

const count = 20_000n
const topics = ['Dog.Added']

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  it.each<[string, SelectNotificationsOptions, unknown[]]>([
    ['all events', {}, []],
    ['some topics', { topics }, [topics]],
    ['some topics up to an end', { topics, stop: count - 1n }, [topics]],
  ])('walks the index for a page of %s', async (_what, options, more) => {
    const database = await kind.createDatabase()
    const statements: string[] = []
    const datastore = new PrismaDatastore({ adapter: countedStatements(database.adapter(), statements) })
    onTestFinished(async () => {
      await datastore.close()
      await database.drop()
    })
    const recorder = new PrismaApplicationRecorder(datastore)
    await recorder.createTable()
    await database.query(
      `INSERT INTO stored_events (originator_id, originator_version, topic, state) ` +
        `SELECT gen_random_uuid(), 1, 'Dog.Added', '{}' FROM generate_series(1, ${count})`,
    )
    expect(await recorder.selectNotifications(101n, 500, options)).toHaveLength(500)
    const sql = statements.at(-1) ?? ''
    const plan = await database.query(`EXPLAIN ${sql}`, [101n, options.stop ?? count, 500, ...more])
    const steps = plan.map((row) => String(row['QUERY PLAN'])).join('\n')
    expect(steps).toMatch(/Index Scan using \w+_pkey/)
    expect(steps).not.toMatch(/Sort|Bitmap/)
  })
})
