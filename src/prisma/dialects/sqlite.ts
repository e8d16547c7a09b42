/** SQLite. */
import { type EventSourcingError, IntegrityError, OperationalError } from '../../errors.js'
import type { Dialect } from '../dialect.js'
import type { DriverErrorFacts } from '../driver-error.js'
import { SqliteConnections } from './sqlite-connections.js'
import { SqliteEventsTable } from './sqlite-events.js'
import { sqliteTrackingTable } from './sqlite-tracking.js'

/**
 * Result codes after which SQLite has rolled the whole transaction back by itself: full disk, I/O error, out of memory,
 * interrupted. The numbers are what one driver gives, the names what the other does.
 *
 * @see https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction
 */
const endsTransaction = /^(SQLITE_(FULL|IOERR|NOMEM|INTERRUPT|CORRUPT)|13|7|9|11)\b|^SQLITE_IOERR/

/** SQLite through `@prisma/adapter-better-sqlite3` or `@prisma/adapter-libsql`, on a local file or in memory. */
export const sqlite: Dialect = {
  name: 'sqlite',
  singleWriter: true,
  hasSchemas: false,
  // One writer at a time: ids are given in the order of the commits.
  logHasHolesAt: () => false,
  connections: (settings) => new SqliteConnections(settings),
  afterBegin: () => [],
  guards: () => [],
  damageOf: (_error, facts) =>
    facts?.code !== undefined && endsTransaction.test(facts.code) ? 'transaction' : 'nothing',
  translate: byCode,
  // The file is on this machine: an answer always comes.
  mayHaveCommitted: () => false,
  listenStatement: undefined,
  eventsTable: (options) => new SqliteEventsTable(options),
  trackingTable: sqliteTrackingTable,
}

function byCode({ kind, code }: DriverErrorFacts, message: string, cause: unknown): EventSourcingError | undefined {
  if (kind === 'SocketTimeout') {
    return new OperationalError(`${message}. Another process held the database too long.`, { cause, retryable: true })
  }
  // A missing table or column is found while the statement is prepared.
  if (kind === 'TableDoesNotExist' || kind === 'ColumnNotFound') return new OperationalError(message, { cause })
  if (code?.startsWith('SQLITE_CONSTRAINT') === true || (Number(code) & 255) === 19) {
    return new IntegrityError(message, { cause })
  }
  if (code !== undefined && /^(SQLITE_(LOCKED|BUSY)|5$|6$)/.test(code)) {
    return new OperationalError(message, { cause, retryable: true })
  }
  if (kind === 'sqlite') return new OperationalError(message, { cause })
  return undefined
}
