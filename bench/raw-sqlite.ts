/** The work written by hand on an SQLite driver: better-sqlite3, or libsql, which has the same interface. */
import { byHand, type LogRow, type Row, type Statements } from './by-hand.js'
import { sqlite as sql } from './by-hand-sql.js'
import type { Contender } from './contender.js'

interface Statement {
  run(...args: unknown[]): unknown
  all(...args: unknown[]): unknown[]
}

/** The part of the drivers' interface that is used. */
export interface SqliteDriver {
  prepare(sql: string): Statement
  exec(sql: string): unknown
  close(): unknown
}

/** Makes the table, too. */
export function rawSqlite(name: string, driver: SqliteDriver): Contender {
  driver.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; ${sql.create}`)
  const begin = driver.prepare('BEGIN IMMEDIATE')
  const commit = driver.prepare('COMMIT')
  const rollback = driver.prepare('ROLLBACK')
  const select = driver.prepare(sql.select)
  const log = driver.prepare(sql.log)
  const inserts = new Map<number, Statement>()
  const statements: Statements = {
    async insert(rows) {
      const insert = inserts.get(rows.length) ?? driver.prepare(sql.insert(rows.length))
      inserts.set(rows.length, insert)
      insert.all(...rows.flatMap((row) => [row.originator_id, row.originator_version, row.topic, row.state]))
    },
    select: async (id) => select.all(id) as Row[],
  }
  // There is one connection: a transaction waits for the one before it.
  let last = Promise.resolve()
  return byHand({
    name,
    ...statements,
    async transaction(work) {
      const before = last
      let end = (): void => {}
      last = new Promise((resolve) => {
        end = resolve
      })
      await before
      try {
        begin.run()
        await work(statements)
        commit.run()
      } catch (error) {
        rollback.run()
        throw error
      } finally {
        end()
      }
    },
    log: async (after, limit) => log.all(after, limit) as LogRow[],
    isConflict: (error) => error instanceof Error && 'code' in error && error.code === 'SQLITE_CONSTRAINT_UNIQUE',
    async close() {
      driver.close()
    },
  })
}
