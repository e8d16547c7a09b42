/** The tables on SQLite: as statements, as the types of the Prisma models that make the same, and what of those beside the events is SQLite's own. */
import type { IdempotencyClaim } from '../../persistence/recorder.js'
import type { StatementRunner } from '../connections.js'
import type { InboxTable, ProjectionTablesOptions, TrackingTableOptions, ViewedTable } from '../dialect.js'
import { statement } from '../driver.js'
import {
  checkIdentifier,
  expiryIndexName,
  hiddenState,
  type ModelTypes,
  type ProjectionColumnTypes,
  positionIndexName,
  projectionTablesStatements,
  readableColumns,
  readableViewName,
  receiptIndexName,
  type TableOptions,
} from '../table-names.js'
import { ProjectionStatements } from './projection-tables.js'
import { KeysOfRequestsTable, KeysTable, UpsertTrackingTable } from './side-tables.js'

/** SQLite has no limit; this is where Prisma begins to cut. */
const longestName = 10_000

/**
 * How the fields of the models are typed. The id is an `Int`, since that is what Prisma makes an autoincrementing
 * rowid of; it holds 64 bits in the database, and the recorders read it whole.
 */
export const sqliteModelTypes: ModelTypes = {
  provider: 'sqlite',
  longestName,
  namesPrimaryKeys: false,
  hasSchemas: false,
  hasPositions: false,
  id: 'Int @id @default(autoincrement())',
  originatorId: { uuid: 'String', text: 'String' },
  topic: 'String',
  state: 'Bytes',
  recordedAt: 'DateTime',
  applicationName: 'String',
  subject: 'String',
  tag: 'String',
  key: 'Bytes',
  idempotencyKey: 'String',
  projectionName: 'String',
  fingerprint: 'Bytes',
}

const eventColumns = `"originator_id" TEXT NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BLOB NOT NULL,
    "metadata" JSONB,
    "recorded_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP`

/**
 * The statements that make a table of events with notification ids; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function eventsTableStatements(name: string, _options: TableOptions = {}): string[] {
  const table = checked(name)
  const index = positionIndexName(name, longestName).name
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    ${eventColumns}
)`,
    `CREATE UNIQUE INDEX IF NOT EXISTS "${index}" ON ${table}("originator_id", "originator_version")`,
  ]
}

/**
 * The statements that make a table of snapshots; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function snapshotsTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    ${eventColumns},

    PRIMARY KEY ("originator_id", "originator_version")
)`,
  ]
}

/**
 * The statements that make a table of tracking positions; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function trackingTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    "application_name" TEXT NOT NULL PRIMARY KEY,
    "notification_id" BIGINT NOT NULL
)`,
  ]
}

/**
 * The statements that make a table of the tags of events; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function tagsTableStatements(name: string): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    "tag" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    PRIMARY KEY ("tag", "notification_id")
)`,
  ]
}

/**
 * The statements that make a table of subject keys; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function subjectKeysTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    "subject" TEXT NOT NULL PRIMARY KEY,
    "key" BLOB NOT NULL,
    "created_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
)`,
  ]
}

/**
 * The statements that make a table of idempotency keys; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function idempotencyKeysTableStatements(name: string, _options: TableOptions = {}): string[] {
  const table = checked(name)
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "fingerprint" BLOB NOT NULL,
    "status" INTEGER NOT NULL,
    "headers" JSONB NOT NULL,
    "body" BLOB NOT NULL,
    "created_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" DATETIME NOT NULL,

    PRIMARY KEY ("scope", "key")
)`,
    `CREATE INDEX IF NOT EXISTS "${expiryIndexName(name, longestName).name}" ON ${table}("expires_at")`,
  ]
}

/**
 * The statements that make a table of messages that were processed; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that has odd characters
 */
export function inboxTableStatements(name: string, _options: TableOptions = {}): string[] {
  const table = checked(name)
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
    "source" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "received_at" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("source", "id")
)`,
    `CREATE INDEX IF NOT EXISTS "${receiptIndexName(name, longestName).name}" ON ${table}("received_at")`,
  ]
}

/** How statements name a table. @throws `ProgrammingError` for a name that has odd characters */
export function checked(name: string): string {
  checkIdentifier(name, `make a recorder for table '${name}'`, longestName)
  return `"${name}"`
}

/** As Prisma writes it: in the order of these texts is the order of the times. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '+00:00')
}

/** One transaction writes at a time, and sees what was noted before it. */
export function sqliteInboxTable({ name }: TrackingTableOptions): InboxTable {
  const table = checked(name)
  const insert = `INSERT INTO ${table} (source, id, received_at) VALUES (?, ?, ?) ON CONFLICT (source, id) DO NOTHING`
  const deleteOlder =
    `DELETE FROM ${table} WHERE rowid IN ` +
    `(SELECT rowid FROM ${table} WHERE received_at < ? ORDER BY received_at LIMIT ?)`
  return {
    createStatements: inboxTableStatements(name),
    insert: async (runner, source, id) =>
      (await runner.execute(statement(insert, [source, id, timeText(Date.now())]))) > 0,
    deleteOlder: async (runner, ms, limit) =>
      await runner.execute(statement(deleteOlder, [timeText(Date.now() - ms), limit])),
  }
}

/** The statement that makes the view on SQLite. */
export function sqliteReadableView({ name, withLog }: ViewedTable): string[] {
  const text = 'CAST(state AS TEXT)'
  const state = `CASE WHEN json_valid(${text}) THEN json(${text}) ELSE json_quote('${hiddenState}') END`
  const view = checked(readableViewName(name))
  return [
    `CREATE VIEW IF NOT EXISTS ${view} AS SELECT ${readableColumns(withLog)}, ${state} AS state, metadata, recorded_at FROM ${checked(name)}`,
  ]
}

/**
 * One transaction writes at a time: a claim waits for its turn, and meets what was stored before. So no key is ever in use
 * here; that is known inside of one process only.
 */
export function sqliteIdempotencyKeysTable({ name }: TrackingTableOptions): KeysOfRequestsTable {
  const table = `"${name}"`
  const claimStatement =
    `INSERT INTO ${table} AS k (scope, "key", fingerprint, status, headers, body, created_at, expires_at) ` +
    `VALUES (?, ?, ?, 0, '{}', x'', ?, ?) ` +
    `ON CONFLICT (scope, "key") DO UPDATE SET fingerprint = excluded.fingerprint, status = 0, headers = excluded.headers, ` +
    `body = excluded.body, created_at = excluded.created_at, expires_at = excluded.expires_at ` +
    `WHERE k.expires_at <= excluded.created_at RETURNING 1`
  const deleteStatement =
    `DELETE FROM ${table} WHERE rowid IN ` +
    `(SELECT rowid FROM ${table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`

  async function claim(
    runner: StatementRunner,
    { scope, key, fingerprint, ttlMs }: IdempotencyClaim,
  ): Promise<'claimed' | 'known'> {
    const now = Date.now()
    const args = [scope, key, fingerprint, timeText(now), timeText(now + ttlMs)]
    const { rows } = await runner.query(statement(claimStatement, args))
    return rows.length > 0 ? 'claimed' : 'known'
  }

  return new KeysOfRequestsTable({
    createStatements: idempotencyKeysTableStatements(name),
    table,
    key: '"key"',
    parameter: () => '?',
    hasMember: (name, parameter) => `json_extract(headers, '$."${name}"') = ${parameter}`,
    seesLatest: '',
    claim,
    deleteExpired: async (runner, limit) =>
      await runner.execute(statement(deleteStatement, [timeText(Date.now()), limit])),
  })
}

/** One transaction writes at a time, so the comparison is with the last position that anyone has stored. */
export function sqliteTrackingTable({ name }: TrackingTableOptions): UpsertTrackingTable {
  return new UpsertTrackingTable({
    createStatements: trackingTableStatements(name),
    advance:
      `INSERT INTO "${name}" AS t (application_name, notification_id) VALUES (?, ?) ` +
      `ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id ` +
      `WHERE t.notification_id < excluded.notification_id`,
    // As text, since one of the drivers refuses to read integers beyond 2^53.
    select: `SELECT CAST(notification_id AS TEXT) FROM "${name}" WHERE application_name = ?`,
    selectAll: `SELECT application_name, CAST(notification_id AS TEXT) FROM "${name}"`,
  })
}

/** One transaction writes at a time, and sees what was written before it. */
export function sqliteSubjectKeysTable({ name }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name),
    table: `"${name}"`,
    subject: 'subject',
    key: '"key"',
    parameter: () => '?',
    onConflict: 'ON CONFLICT (subject) DO NOTHING',
  })
}

const quote = (name: string): string => `"${name}"`

const types: ProjectionColumnTypes = {
  quote,
  name: 'TEXT',
  key: 'TEXT',
  word: 'TEXT',
  text: 'TEXT',
  time: 'DATETIME',
  timeNow: 'CURRENT_TIMESTAMP',
  primaryKey: (_table, columns) => `PRIMARY KEY (${columns.map(quote).join(', ')})`,
  empty: '',
  options: '',
}

/** One transaction writes at a time. The clock is that of this machine, where all have the file. */
export function sqliteProjectionTables({ names }: ProjectionTablesOptions): ProjectionStatements {
  return new ProjectionStatements({
    createStatements: projectionTablesStatements(names, types, checked),
    projections: checked(names.projections),
    states: checked(names.projectionStates),
    parked: checked(names.parkedEvents),
    quote,
    parameter: () => '?',
    now(args) {
      args.push(timeText(Date.now()))
      return '?'
    },
    later(args, ms) {
      args.push(timeText(Date.now() + ms))
      return '?'
    },
    // As text, since one of the drivers refuses to read integers beyond 2^53.
    wide: (column) => `CAST(${column} AS TEXT)`,
    ifNew: 'ON CONFLICT DO NOTHING',
    guarded: () => '',
  })
}
