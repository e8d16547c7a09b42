/** SQLite. */
import type { EventSourcingError } from '../../errors.js'
import type { Dialect } from '../dialect.js'
import { type SqlQueryable, statement } from '../driver.js'
import type { DriverErrorFacts } from '../driver-error.js'
import { ErrorTable, errorsByKind } from './error-rules.js'
import { SqliteConnections } from './sqlite-connections.js'
import { primaryCode, sqliteErrors } from './sqlite-errors.js'
import { SqliteEventsTable } from './sqlite-events.js'
import { sqliteFaults } from './sqlite-faults.js'
import { sqliteIdempotencyKeysTable } from './sqlite-idempotency-keys.js'
import { sqliteInspector } from './sqlite-inspection.js'
import { sqliteProjectionTables } from './sqlite-projections.js'
import { sqliteSubjectKeysTable } from './sqlite-subject-keys.js'
import { sqliteTrackingTable } from './sqlite-tracking.js'
import { sqliteEffect } from './statement-effects.js'

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
  readsOldAt: () => false,
  connections: (settings) => new SqliteConnections(settings),
  afterBegin: () => [],
  courtesies: () => [],
  guards: () => [],
  damageOf: (_error, facts) =>
    facts?.code !== undefined && endsTransaction.test(facts.code) ? 'transaction' : 'nothing',
  effectOf: sqliteEffect,
  hasEndedAfter,
  translate: byCode,
  // The file is on this machine: an answer always comes.
  mayHaveCommitted: () => false,
  creationScripts: (statements) => statements,
  listenStatement: undefined,
  eventsTable: (options) => new SqliteEventsTable(options),
  trackingTable: sqliteTrackingTable,
  subjectKeysTable: sqliteSubjectKeysTable,
  idempotencyKeysTable: sqliteIdempotencyKeysTable,
  projectionTables: sqliteProjectionTables,
  overwriting: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
  shadow: undefined,
  inspector: sqliteInspector,
  faults: sqliteFaults,
}

const errors = new ErrorTable(sqliteErrors)

function byCode(facts: DriverErrorFacts, message: string, cause: unknown): EventSourcingError | undefined {
  if (facts.kind === 'SocketTimeout') {
    return errorsByKind.passing(`${message}. Another process held the database too long.`, cause)
  }
  // A missing column is found while the statement is prepared.
  if (facts.kind === 'ColumnNotFound') return errorsByKind.lasting(message, cause)
  return errors.translate(primaryCode(facts), message, cause)
}

/** RAISE(ROLLBACK), INSERT OR ROLLBACK and ON CONFLICT ROLLBACK fail as any other constraint does. A transaction inside of another is refused. */
async function hasEndedAfter(connection: SqlQueryable): Promise<boolean> {
  try {
    await connection.executeRaw(statement('BEGIN'))
  } catch {
    return false
  }
  await connection.executeRaw(statement('ROLLBACK'))
  return true
}
