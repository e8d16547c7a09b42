/** The tables on PostgreSQL: as statements, and as the types of the Prisma models that make the same. */
import {
  checkIdentifier,
  expiryIndexName,
  positionIndexName,
  primaryKeyName,
  receiptIndexName,
} from '../table-names.js'
import type { ModelTypes, TableOptions } from './table-options.js'

/** A longer name would be cut by the server. @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html */
export const longestName = 63

/** How the fields of the models are typed. */
export const postgresqlModelTypes: ModelTypes = {
  provider: 'postgresql',
  longestName,
  namesPrimaryKeys: true,
  hasSchemas: true,
  hasPositions: false,
  id: 'BigInt @id @default(autoincrement())',
  originatorId: { uuid: 'String @db.Uuid', text: 'String' },
  topic: 'String',
  state: 'Bytes',
  recordedAt: 'DateTime @db.Timestamptz(6)',
  applicationName: 'String',
  subject: 'String',
  tag: 'String',
  key: 'Bytes',
  idempotencyKey: 'String',
  projectionName: 'String',
  fingerprint: 'Bytes',
}

/**
 * The statements that make a table of events with notification ids; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function eventsTableStatements(name: string, options: TableOptions = {}): string[] {
  const table = qualified(name, options)
  return [
    ...schemaStatements(options),
    `CREATE TABLE IF NOT EXISTS ${table} (
    "id" BIGSERIAL NOT NULL,
    ${eventColumns(options)},

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("id")
)`,
    `CREATE UNIQUE INDEX IF NOT EXISTS "${positionIndexName(name, longestName).name}" ON ${table}("originator_id", "originator_version")`,
  ]
}

/**
 * The statements that make a table of snapshots; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function snapshotsTableStatements(name: string, options: TableOptions = {}): string[] {
  return [
    ...schemaStatements(options),
    `CREATE TABLE IF NOT EXISTS ${qualified(name, options)} (
    ${eventColumns(options)},

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("originator_id","originator_version")
)`,
  ]
}

/**
 * The statements that make a table of tracking positions; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function trackingTableStatements(name: string, options: TableOptions = {}): string[] {
  return [
    ...schemaStatements(options),
    `CREATE TABLE IF NOT EXISTS ${qualified(name, options)} (
    "application_name" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("application_name")
)`,
  ]
}

/**
 * The statements that make a table of the tags of events; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function tagsTableStatements(name: string, options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${qualified(name, options)} (
    "tag" TEXT NOT NULL,
    "notification_id" BIGINT NOT NULL,

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("tag","notification_id")
)`,
  ]
}

/**
 * The statements that make a table of subject keys; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function subjectKeysTableStatements(name: string, options: TableOptions = {}): string[] {
  return [
    ...schemaStatements(options),
    `CREATE TABLE IF NOT EXISTS ${qualified(name, options)} (
    "subject" TEXT NOT NULL,
    "key" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("subject")
)`,
  ]
}

/**
 * The statements that make a table of idempotency keys; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function idempotencyKeysTableStatements(name: string, options: TableOptions = {}): string[] {
  const table = qualified(name, options)
  return [
    ...schemaStatements(options),
    `CREATE TABLE IF NOT EXISTS ${table} (
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "fingerprint" BYTEA NOT NULL,
    "status" INTEGER NOT NULL,
    "headers" JSONB NOT NULL,
    "body" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(6) NOT NULL,

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("scope","key")
)`,
    `CREATE INDEX IF NOT EXISTS "${expiryIndexName(name, longestName).name}" ON ${table}("expires_at")`,
  ]
}

/**
 * The statements that make a table of messages that were processed; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function inboxTableStatements(name: string, options: TableOptions = {}): string[] {
  const table = qualified(name, options)
  return [
    ...schemaStatements(options),
    `CREATE TABLE IF NOT EXISTS ${table} (
    "source" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "received_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("source","id")
)`,
    `CREATE INDEX IF NOT EXISTS "${receiptIndexName(name, longestName).name}" ON ${table}("received_at")`,
  ]
}

function eventColumns({ originatorIdType = 'uuid' }: TableOptions): string {
  return `"originator_id" ${originatorIdType.toUpperCase()} NOT NULL,
    "originator_version" BIGINT NOT NULL,
    "topic" TEXT NOT NULL,
    "state" BYTEA NOT NULL,
    "metadata" JSONB,
    "recorded_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP`
}

/** What inserts into a table notify. It has the limits of an identifier, so two names that are long may share one: they are then told too often. */
export function channelName(name: string, schema: string | undefined): string {
  const whole = `es_${schema === undefined ? '' : `${schema}_`}${name}`
  return whole.replaceAll(/[^A-Za-z0-9_]/g, '_').slice(0, longestName)
}

/** What the Python library notifies and listens to: the table's name, which it does not quote. */
export function pythonChannelName(name: string): string {
  return name.toLowerCase().slice(0, longestName)
}

/** How statements name a table. @throws `ProgrammingError` for a name that is too long or has odd characters */
export function qualified(name: string, { schema }: TableOptions): string {
  checkIdentifier(name, `make a recorder for table '${name}'`, longestName)
  return schema === undefined ? `"${name}"` : `${quote(schema)}.${quote(name)}`
}

/** Makes the schema that tables are in, where one is named. */
export function schemaStatements({ schema }: TableOptions): string[] {
  return schema === undefined ? [] : [createSchemaStatement(schema)]
}

/**
 * The statement that makes a schema where it does not exist. CREATE SCHEMA by itself asks for a privilege of the
 * database even where there is nothing to do.
 */
export function createSchemaStatement(schema: string): string {
  const condition = `SELECT FROM pg_catalog.pg_namespace WHERE nspname = ${literal(schema)}`
  const body = `BEGIN IF NOT EXISTS (${condition}) THEN CREATE SCHEMA IF NOT EXISTS ${quote(schema)}; END IF; END`
  return `DO ${literal(body)}`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}
