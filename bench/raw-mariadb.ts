/** The work written by hand on the connector of MariaDB, with prepared statements. */
import { createPool, type Pool, type PoolConnection, SqlError } from 'mariadb'
import { byHand, type LogRow, type Row, type Statements } from './by-hand.js'
import { mariadb as sql } from './by-hand-sql.js'
import type { Contender } from './contender.js'

/** Makes the table, too. */
export async function rawMariadb(url: string): Promise<Contender> {
  const { hostname: host, port, username: user, password, pathname } = new URL(url)
  const database = pathname.slice(1)
  const pool = createPool({ host, port: Number(port), user, password, database, connectionLimit: 16 })
  await pool.query(sql.create)
  const on = (target: Pool | PoolConnection): Statements => ({
    async insert(rows) {
      const args = rows.flatMap((row) => [row.originator_id, row.originator_version, row.topic, row.state])
      await target.execute(sql.insert(rows.length), args)
    },
    select: async (id) => await target.execute<Row[]>(sql.select, [id]),
  })
  return byHand({
    name: 'mariadb',
    ...on(pool),
    async transaction(work) {
      const connection = await pool.getConnection()
      try {
        await connection.beginTransaction()
        await work(on(connection))
        await connection.commit()
      } catch (error) {
        await connection.rollback()
        throw error
      } finally {
        await connection.release()
      }
    },
    log: async (after, limit) => await pool.execute<LogRow[]>(sql.log, [after, limit]),
    isConflict: (error) => error instanceof SqlError && (error.errno === 1062 || error.errno === 1213),
    close: async () => await pool.end(),
  })
}
