/** The port to what the test kit does to a database: it looks at tables, ends connections, and makes statements fail. */
import type { SqlQuery, SqlQueryable } from './driver.js'

/** Connections that a server could end. */
export interface ServerConnections {
  /** Asks a connection for its id. */
  readonly idQuery: SqlQuery
  /** Ends another connection; refused to users who may not. */
  endQuery(connectionId: unknown): SqlQuery
}

/** What differs between databases. */
export interface FaultDialect {
  /** Reads all rows of a table; what is before a dot in its name is its schema. */
  rowsQuery(table: string): SqlQuery
  /** Undefined where the database is a file: no connection is lost there, and every answer comes. */
  readonly server: ServerConnections | undefined
  /**
   * Rejects as a statement does that has to give way to another transaction, and leaves the connection as that would.
   *
   * @param atCommit - whether it happens in place of COMMIT, after which no transaction is left
   */
  giveWay(connection: SqlQueryable, atCommit: boolean): Promise<never>
}

/** For what has to be refused: when the database accepts it, the kit has lost its footing. */
export async function refused(connection: SqlQueryable, query: SqlQuery): Promise<never> {
  await connection.executeRaw(query)
  throw new TypeError(`The database has accepted what it was to refuse: ${query.sql}`)
}
