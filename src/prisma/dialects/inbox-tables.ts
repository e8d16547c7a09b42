/** The statements over a table of messages that were processed, on each of the databases. */
import type { StatementRunner } from '../connections.js'
import type { InboxTable, TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import * as mariadb from './mariadb-tables.js'
import * as postgresql from './postgresql-tables.js'
import * as sqlite from './sqlite-tables.js'

/** A second transaction that notes one message waits for the first. */
export function postgresqlInboxTable({ name, schema }: TrackingTableOptions): InboxTable {
  const table = postgresql.qualified(name, { schema })
  const insert = `INSERT INTO ${table} (source, id, received_at) VALUES ($1::text, $2::text, statement_timestamp()) ON CONFLICT (source, id) DO NOTHING`
  const deleteOlder =
    `DELETE FROM ${table} WHERE (source, id) IN (SELECT source, id FROM ${table} ` +
    `WHERE received_at < statement_timestamp() - $1::float8 * interval '1 millisecond' ORDER BY received_at LIMIT $2::integer FOR UPDATE SKIP LOCKED)`
  return {
    createStatements: postgresql.inboxTableStatements(name, { schema }),
    insert: async (runner, source, id) => (await runner.execute(statement(insert, [source, id]))) > 0,
    deleteOlder: async (runner, ms, limit) => await runner.execute(statement(deleteOlder, [ms, limit])),
  }
}

/**
 * A second transaction that notes one message waits for the first. IGNORE leaves a row as it is that is there, and would also cut what is too
 * long: an `Inbox` looks at that before.
 */
export function mariadbInboxTable({ name }: TrackingTableOptions): InboxTable {
  const table = mariadb.checked(name)
  const insert = `INSERT IGNORE INTO ${table} (source, id, received_at) VALUES (?, ?, UTC_TIMESTAMP(3))`
  const isOlder = 'received_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND'
  const deleteOne = `DELETE FROM ${table} WHERE source = ? AND id = ? AND ${isOlder}`

  /** One by one, by their keys: to delete a range would lock the gaps in it, where others insert theirs. */
  async function deleteOlder(runner: StatementRunner, olderThanMs: number, limit: number): Promise<number> {
    const age = Math.round(olderThanMs * 1000)
    const select = `SELECT source, id FROM ${table} WHERE ${isOlder} ORDER BY received_at LIMIT ${limit}`
    const { rows } = await runner.query(statement(select, [age]))
    for (const [source, id] of rows) await runner.execute(statement(deleteOne, [source, id, age]))
    return rows.length
  }

  return {
    createStatements: mariadb.inboxTableStatements(name),
    insert: async (runner, source, id) => (await runner.execute(statement(insert, [source, id]))) > 0,
    deleteOlder,
  }
}

/** One transaction writes at a time, and sees what was noted before it. */
export function sqliteInboxTable({ name }: TrackingTableOptions): InboxTable {
  const table = sqlite.checked(name)
  const insert = `INSERT INTO ${table} (source, id, received_at) VALUES (?, ?, ?) ON CONFLICT (source, id) DO NOTHING`
  const deleteOlder =
    `DELETE FROM ${table} WHERE rowid IN ` +
    `(SELECT rowid FROM ${table} WHERE received_at < ? ORDER BY received_at LIMIT ?)`
  return {
    createStatements: sqlite.inboxTableStatements(name),
    insert: async (runner, source, id) =>
      (await runner.execute(statement(insert, [source, id, sqlite.timeText(Date.now())]))) > 0,
    deleteOlder: async (runner, ms, limit) =>
      await runner.execute(statement(deleteOlder, [sqlite.timeText(Date.now() - ms), limit])),
  }
}
