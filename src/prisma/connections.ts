/** How statements reach the database: one at a time by themselves, or in a transaction with a connection of its own. */
import { DatastoreClosedError } from '../errors.js'
import type { BeginOptions, LoneStatements, TransactionConnection } from '../transaction/connection.js'
import type { SqlDriverAdapter, SqlQuery, SqlResultSet } from './driver.js'

/** Runs statements. Errors are the driver's own: whoever knows what was attempted translates them. */
export interface StatementRunner {
  /** Whether the statements belong to one transaction, so that what one of them did can be undone by another. */
  readonly inTransaction: boolean
  /** Whether a result set tells the id that an insert or update has set. */
  readonly givesInsertIds: boolean
  query(statement: SqlQuery): Promise<SqlResultSet>
  /** @returns how many rows were changed */
  execute(statement: SqlQuery): Promise<number>
}

/** What connections say that are used after `close`. */
export function closedError(): DatastoreClosedError {
  return new DatastoreClosedError('Could not reach the database: the datastore is closed.')
}

/** A transaction on a connection of its own. */
export interface DriverConnection extends TransactionConnection, StatementRunner {
  /** Those of the transactions around it that are still open: what they have locked, they keep until this one has ended. */
  readonly openAround?: readonly DriverConnection[]
  /** Whether the user's adapter sends COMMIT and ROLLBACK itself, which Prisma's log tells; default false. */
  readonly usesPhantomQuery?: boolean
}

/** The connections of one datastore. By itself it runs each statement as a transaction of its own. */
export interface Connections extends StatementRunner {
  /** Waits for a connection and begins a transaction. */
  begin(options: BeginOptions): Promise<DriverConnection>
  /** Statements of a unit of work that are sent without a transaction around them; undefined where there are none. */
  readonly lone: LoneStatements<DriverConnection> | undefined
  /** The adapter below, for what it alone can tell. */
  adapter(): Promise<SqlDriverAdapter>
  /** Runs several statements, each by itself. */
  script(sql: string): Promise<void>
  /** Ends the connections that are in use, so that nothing which is under way on them keeps `close` waiting. */
  abandon(): void
  /** Closes what is open: a later use opens it again. */
  disconnect(): Promise<void>
  /** The same, for good. */
  close(): Promise<void>
}
