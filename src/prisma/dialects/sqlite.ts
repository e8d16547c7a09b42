/**
 * SQLite: what its result codes mean, how it is looked at, and all that the other files of this kind are for.
 *
 * @see https://www.sqlite.org/rescode.html
 */
import type { EventSourcingError } from '../../errors.js'
import { type Dialect, type FaultDialect, type Inspector, keysOf } from '../dialect.js'
import { type DriverErrorFacts, type SqlQueryable, statement } from '../driver.js'
import { quotedName } from '../table-names.js'
import { sqliteEffect } from '../transaction-guard.js'
import { type ErrorRule, ErrorTable, errorsByKind } from '../translate-error.js'
import { SqliteConnections } from './sqlite-connections.js'
import { SqliteEventsTable } from './sqlite-events.js'
import {
  sqliteIdempotencyKeysTable,
  sqliteInboxTable,
  sqliteProjectionTables,
  sqliteReadableView,
  sqliteSubjectKeysTable,
  sqliteTrackingTable,
} from './sqlite-tables.js'
import { sqliteTimersTable } from './timers-table.js'

/** By the name of the primary code. */
export const sqliteErrors: readonly ErrorRule[] = [
  {
    codes: ['SQLITE_BUSY', 'SQLITE_LOCKED', 'SQLITE_PROTOCOL'],
    kind: 'passing',
    meaning: 'another connection holds the database',
  },
  {
    codes: ['SQLITE_SCHEMA', 'SQLITE_INTERRUPT', 'SQLITE_ABORT'],
    kind: 'passing',
    meaning: 'the schema changed meanwhile, interrupted',
  },
  {
    codes: ['SQLITE_ERROR', 'SQLITE_FULL', 'SQLITE_IOERR', 'SQLITE_NOMEM'],
    kind: 'lasting',
    meaning: 'no such column, a wrong statement, disk full, an error of the disk, out of memory',
  },
  {
    codes: ['SQLITE_READONLY', 'SQLITE_CANTOPEN', 'SQLITE_NOTADB', 'SQLITE_PERM', 'SQLITE_AUTH'],
    kind: 'lasting',
    meaning: 'the file cannot be opened, is no database, or must not be written',
  },
  { codes: ['SQLITE_CONSTRAINT'], kind: 'integrity', meaning: 'a constraint' },
  {
    codes: ['SQLITE_TOOBIG', 'SQLITE_MISMATCH', 'SQLITE_RANGE'],
    kind: 'data',
    meaning: 'a value that is too large or of the wrong type',
  },
  { codes: ['SQLITE_MISUSE'], kind: 'programming', meaning: 'a call out of order' },
  { codes: ['SQLITE_NOLFS'], kind: 'unsupported', meaning: 'a file that the system cannot hold' },
  {
    codes: ['SQLITE_CORRUPT', 'SQLITE_INTERNAL', 'SQLITE_EMPTY', 'SQLITE_NOTFOUND'],
    kind: 'internal',
    meaning: 'a damaged file',
  },
]

const namesByNumber: readonly string[] = [
  'OK',
  'ERROR',
  'INTERNAL',
  'PERM',
  'ABORT',
  'BUSY',
  'LOCKED',
  'NOMEM',
  'READONLY',
  'INTERRUPT',
  'IOERR',
  'CORRUPT',
  'NOTFOUND',
  'FULL',
  'CANTOPEN',
  'PROTOCOL',
  'EMPTY',
  'SCHEMA',
  'TOOBIG',
  'CONSTRAINT',
  'MISMATCH',
  'MISUSE',
  'NOLFS',
  'AUTH',
  'FORMAT',
  'RANGE',
  'NOTADB',
]

/** The name of the primary code: one driver gives the name of the extended code, the other its number. */
function primaryCode({ code }: DriverErrorFacts): string | undefined {
  if (code === undefined) return undefined
  const [, name] = /^SQLITE_([A-Z]+)/.exec(code) ?? []
  // The lowest eight bits of an extended code are the primary one.
  const primary = name ?? namesByNumber[Number(code) & 255]
  return primary === undefined || (name === undefined && !/^\d+$/.test(code)) ? undefined : `SQLITE_${primary}`
}

const sqliteInspector: Inspector = {
  addedColumns: {
    metadata: 'JSONB',
    recorded_at: `DATETIME NOT NULL DEFAULT '1970-01-01T00:00:00.000+00:00'`,
  },

  async columns(query, { table }) {
    return (await query(`SELECT name FROM pragma_table_info('${table}')`)).map(([name]) => String(name))
  },

  async uniqueKeys(query, { table }) {
    const indexes =
      `SELECT l.name, i.name FROM pragma_index_list('${table}') AS l, pragma_index_info(l.name) AS i ` +
      `WHERE l."unique" = 1 ORDER BY l.name, i.seqno`
    // The rowid is in no list.
    const rowid = `SELECT 'rowid', name FROM pragma_table_info('${table}') WHERE pk > 0 ORDER BY pk`
    return keysOf([...(await query(rowid)), ...(await query(indexes))])
  },

  // One transaction writes at a time, whoever it is.
  async writers() {
    return []
  },
}

const sqliteFaults: FaultDialect = {
  rowsQuery: (table) => statement(`SELECT * FROM ${quotedName(table, '"')}`),
  server: undefined,
  // No statement makes the database busy. This is what the adapters make of it; the transaction goes on.
  giveWay: async () => {
    const cause = { kind: 'SocketTimeout', originalCode: 'SQLITE_BUSY', originalMessage: 'database is locked' }
    return await Promise.reject(
      Object.assign(new Error('database is locked', { cause }), { name: 'DriverAdapterError' }),
    )
  },
}

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
  inboxTable: sqliteInboxTable,
  projectionTables: sqliteProjectionTables,
  readableView: sqliteReadableView,
  timersTable: sqliteTimersTable,
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
