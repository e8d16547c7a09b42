/** The tables on SQLite: as statements, and as the types of the Prisma models that make the same. */
import { checkIdentifier, expiryIndexName, positionIndexName, receiptIndexName } from '../table-names.js'
import type { ModelTypes, TableOptions } from './table-options.js'

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
