/** What the server of a database says of its connections. */
import type { TestDatabase, TestDatabaseKind } from './databases.js'

/** How many connections to a database are idle, outside of any transaction, and how many are not; the observer's own is not counted. */
export interface ConnectionCounts {
  readonly idle: number
  readonly busy: number
}

/** @returns undefined where there is no server */
export async function connectionCounts(
  kind: TestDatabaseKind,
  database: TestDatabase,
): Promise<ConnectionCounts | undefined> {
  if (kind.provider === 'sqlite') return undefined
  const rows = await database.query(
    kind.provider === 'postgresql'
      ? `SELECT coalesce(state, '') = 'idle' AS idle FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`
      : `SELECT command = 'Sleep' AND id NOT IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx) AS idle ` +
          `FROM information_schema.processlist WHERE db = database() AND id <> connection_id()`,
  )
  const idle = rows.filter((row) => Number(row['idle']) === 1).length
  return { idle, busy: rows.length - idle }
}

/** A condition on rows of `pg_locks`: other tests lock things on the same server. */
export const ofThisDatabase = 'database = (SELECT oid FROM pg_database WHERE datname = current_database())'
