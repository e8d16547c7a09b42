/** The work written by hand on node-postgres. */
import pg from 'pg'
import { type BenchEvent, type Contender, pageSize } from './contender.js'
import { postgresql as sql } from './sql.js'

/** @param url - of the database; the tables exist */
export function rawPostgresql(url: string): Contender {
  const pool = new pg.Pool({ connectionString: url, max: 16 })
  // `end` does not wait for the connections to close, and the database is dropped then.
  pool.on('error', () => undefined)
  const insertArguments = (events: readonly BenchEvent[]): unknown[] => [
    events.map((event) => event.originatorId),
    events.map((event) => event.originatorVersion),
    events.map((event) => event.topic),
    events.map((event) => event.state),
  ]
  return {
    name: 'pg',
    async append(events) {
      await pool.query(sql.insert, insertArguments(events))
    },
    load: async (originatorId) => (await pool.query(sql.select, [originatorId])).rows.length,
    async command(event) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        await client.query(sql.select, [event.originatorId])
        await client.query(sql.insert, insertArguments([event]))
        await client.query('COMMIT')
      } finally {
        client.release()
      }
    },
    async readLog() {
      let count = 0
      for (let after = '0'; ; ) {
        const { rows } = await pool.query<{ id: string }>(sql.log, [after, pageSize])
        count += rows.length
        const last = rows.at(-1)
        if (last === undefined || rows.length < pageSize) return count
        after = last.id
      }
    },
    close: async () => await pool.end(),
  }
}
