/** The work written by hand on an SQLite driver: better-sqlite3, or libsql, which has the same interface. */
import { type BenchEvent, type Contender, pageSize } from './contender.js'
import { sqlite as sql } from './sql.js'

/** The part of the drivers' interface that is used. */
export interface SqliteDriver {
  prepare(sql: string): { run(...args: unknown[]): unknown; all(...args: unknown[]): unknown[] }
  exec(sql: string): unknown
  close(): unknown
}

/** @param driver - on the file, which has the tables */
export function rawSqlite(name: string, driver: SqliteDriver): Contender {
  driver.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000')
  const begin = driver.prepare('BEGIN IMMEDIATE')
  const commit = driver.prepare('COMMIT')
  const select = driver.prepare(sql.select)
  const log = driver.prepare(sql.log)
  const insert = (events: readonly BenchEvent[]): void => {
    const args = events.flatMap((event) => [event.originatorId, event.originatorVersion, event.topic, event.state])
    driver.prepare(sql.insert(events.length)).all(...args)
  }
  return {
    name,
    async append(events) {
      insert(events)
    },
    load: async (originatorId) => select.all(originatorId).length,
    async command(event) {
      begin.run()
      select.all(event.originatorId)
      insert([event])
      commit.run()
    },
    async readLog() {
      let count = 0
      for (let after = 0; ; ) {
        const rows = log.all(after, pageSize) as Array<{ id: number }>
        count += rows.length
        const last = rows.at(-1)
        if (last === undefined || rows.length < pageSize) return count
        after = last.id
      }
    },
    async close() {
      driver.close()
    },
  }
}
