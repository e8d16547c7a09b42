/** The work written by hand on node-postgres. */
import pg from 'pg'
import { byHand, type LogRow, type Row, type Statements } from './by-hand.js'
import { postgresql as sql } from './by-hand-sql.js'
import type { Contender } from './contender.js'

/** Makes the table, too. @param prepared - whether the server keeps the statements prepared */
export async function rawPostgresql(url: string, prepared: boolean): Promise<Contender> {
  const pool = new pg.Pool({ connectionString: url, max: 16 })
  // `end` does not wait for the connections to close, and the database is dropped then.
  pool.on('error', () => undefined)
  await pool.query(sql.create)
  const named = (name: keyof typeof sql, values: unknown[]): pg.QueryConfig =>
    prepared ? { name, text: sql[name], values } : { text: sql[name], values }
  const on = (target: pg.Pool | pg.PoolClient): Statements => ({
    async insert(rows) {
      const [only, ...others] = rows
      if (only !== undefined && others.length === 0) {
        await target.query(named('insertOne', [only.originator_id, only.originator_version, only.topic, only.state]))
        return
      }
      await target.query(
        named('insertMany', [
          rows.map((row) => row.originator_id),
          rows.map((row) => row.originator_version),
          rows.map((row) => row.topic),
          rows.map((row) => row.state),
        ]),
      )
    },
    select: async (id) => (await target.query<Row>(named('select', [id]))).rows,
  })
  return byHand({
    name: 'pg',
    ...on(pool),
    async transaction(work) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        await work(on(client))
        await client.query('COMMIT')
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        client.release()
      }
    },
    log: async (after, limit) => (await pool.query<LogRow>(named('log', [after, limit]))).rows,
    isConflict: (error) => error instanceof pg.DatabaseError && error.code === '23505',
    close: async () => await pool.end(),
  })
}
