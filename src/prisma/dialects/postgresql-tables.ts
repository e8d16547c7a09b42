/**
 * The tables on PostgreSQL: as statements, as the types of the Prisma models that make the same, and what of those beside the events is PostgreSQL's own.
 */
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
  primaryKeyName,
  projectionTablesStatements,
  readableColumns,
  readableViewName,
  receiptIndexName,
  type TableOptions,
} from '../table-names.js'
import { ProjectionStatements } from './projection-tables.js'
import { KeysOfRequestsTable, KeysTable, UpsertTrackingTable } from './side-tables.js'

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

/** A second transaction that notes one message waits for the first. */
export function postgresqlInboxTable({ name, schema }: TrackingTableOptions): InboxTable {
  const table = qualified(name, { schema })
  const insert = `INSERT INTO ${table} (source, id, received_at) VALUES ($1::text, $2::text, statement_timestamp()) ON CONFLICT (source, id) DO NOTHING`
  const deleteOlder =
    `DELETE FROM ${table} WHERE (source, id) IN (SELECT source, id FROM ${table} ` +
    `WHERE received_at < statement_timestamp() - $1::float8 * interval '1 millisecond' ORDER BY received_at LIMIT $2::integer FOR UPDATE SKIP LOCKED)`
  return {
    createStatements: inboxTableStatements(name, { schema }),
    insert: async (runner, source, id) => (await runner.execute(statement(insert, [source, id]))) > 0,
    deleteOlder: async (runner, ms, limit) => await runner.execute(statement(deleteOlder, [ms, limit])),
  }
}

/** The statements that make the view on PostgreSQL: with a function, since a cast of what is no JSON is an error. */
export function postgresqlReadableView({ name, schema, withLog }: ViewedTable): string[] {
  const [table, view] = [qualified(name, { schema }), qualified(readableViewName(name), { schema })]
  const reader = qualified('readable_state', { schema })
  return [
    `CREATE OR REPLACE FUNCTION ${reader}(state bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(state, 'UTF8')::jsonb;
EXCEPTION WHEN others THEN
    RETURN to_jsonb('${hiddenState}'::text);
END
$$`,
    `CREATE OR REPLACE VIEW ${view} AS SELECT ${readableColumns(withLog)}, ${reader}(state) AS state, metadata, recorded_at FROM ${table}`,
  ]
}

const keyColumnTypes = { text: 'text', bytes: 'bytea', integer: 'integer', json: 'jsonb' }

/**
 * Whoever has a key holds an advisory lock, which nobody waits for, and which ends with the transaction, also when its
 * process dies. The row is inserted after the lock was granted, in the same statement: an insert meets what was committed
 * until then, while a select of that statement would see the table as it was before the lock.
 *
 * @see https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
 */
export function postgresqlIdempotencyKeysTable({ name, schema }: TrackingTableOptions): KeysOfRequestsTable {
  const table = qualified(name, { schema })
  const tableId = `'${table.replaceAll("'", "''")}'::regclass::oid::bigint`
  const lock = `pg_try_advisory_xact_lock(hashtextextended($2::text || chr(10) || $1::text, ${tableId}))`
  const claimStatement =
    `WITH lock AS MATERIALIZED (SELECT ${lock} AS granted), claimed AS (` +
    `INSERT INTO ${table} AS k (scope, "key", fingerprint, status, headers, body, created_at, expires_at) ` +
    `SELECT $1::text, $2::text, $3::bytea, 0, '{}'::jsonb, ''::bytea, statement_timestamp(), ` +
    `statement_timestamp() + $4::float8 * interval '1 millisecond' FROM lock WHERE granted ` +
    `ON CONFLICT (scope, "key") DO UPDATE SET fingerprint = excluded.fingerprint, status = 0, headers = excluded.headers, ` +
    `body = excluded.body, created_at = excluded.created_at, expires_at = excluded.expires_at ` +
    `WHERE k.expires_at <= statement_timestamp() RETURNING 1) ` +
    `SELECT granted, EXISTS (SELECT FROM claimed) FROM lock`
  const deleteStatement =
    `DELETE FROM ${table} WHERE (scope, "key") IN (SELECT scope, "key" FROM ${table} ` +
    `WHERE expires_at <= statement_timestamp() ORDER BY expires_at LIMIT $1::integer FOR UPDATE SKIP LOCKED)`

  async function claim(
    runner: StatementRunner,
    { scope, key, fingerprint, ttlMs }: IdempotencyClaim,
  ): Promise<'claimed' | 'in use' | 'known'> {
    const { rows } = await runner.query(statement(claimStatement, [scope, key, fingerprint, ttlMs]))
    const [granted, claimed] = rows[0] ?? []
    if (granted !== true) return 'in use'
    return claimed === true ? 'claimed' : 'known'
  }

  return new KeysOfRequestsTable({
    createStatements: idempotencyKeysTableStatements(name, { schema }),
    table,
    key: '"key"',
    parameter: (position, type) => `$${position}::${keyColumnTypes[type]}`,
    hasMember: (name, parameter) => `headers ->> '${name}' = ${parameter}`,
    seesLatest: '',
    claim,
    deleteExpired: async (runner, limit) => await runner.execute(statement(deleteStatement, [limit])),
  })
}

/** A second writer of one position waits for the first, and then compares with what that one has stored. */
export function postgresqlTrackingTable({ name, schema }: TrackingTableOptions): UpsertTrackingTable {
  const createStatements = trackingTableStatements(name, { schema })
  const table = qualified(name, { schema })
  return new UpsertTrackingTable({
    createStatements,
    advance:
      `INSERT INTO ${table} AS t (application_name, notification_id) VALUES ($1::text, $2::bigint) ` +
      `ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id ` +
      `WHERE t.notification_id < excluded.notification_id`,
    select: `SELECT notification_id FROM ${table} WHERE application_name = $1::text`,
    selectAll: `SELECT application_name, notification_id FROM ${table}`,
  })
}

/**
 * A second writer of one key waits for the first; each statement sees what was committed before it. DO NOTHING would leave
 * the row unlocked, and somebody else could delete it before the select.
 */
export function postgresqlSubjectKeysTable({ name, schema }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name, { schema }),
    table: qualified(name, { schema }),
    subject: 'subject',
    key: '"key"',
    parameter: (position, column) => `$${position}::${column === 'key' ? 'bytea' : 'text'}`,
    onConflict: 'ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject',
  })
}

const inQuotes = (name: string): string => `"${name}"`

const columnTypes: ProjectionColumnTypes = {
  quote: inQuotes,
  name: 'TEXT',
  key: 'TEXT',
  word: 'TEXT',
  text: 'TEXT',
  time: 'TIMESTAMPTZ(6)',
  timeNow: 'CURRENT_TIMESTAMP',
  primaryKey: (table, columns) =>
    `CONSTRAINT "${primaryKeyName(table, longestName).name}" PRIMARY KEY (${columns.map(inQuotes).join(',')})`,
  empty: '',
  options: '',
}

const parameterTypes = { name: 'text', integer: 'integer', bigint: 'bigint', text: 'text' } as const

/**
 * A second writer of a position waits for the first and then compares anew. The server ends a batch whose process was stopped a
 * little before its lease is over, so that its lock on the row is gone when somebody else takes it.
 */
export function postgresqlProjectionTables({ names, schema }: ProjectionTablesOptions): ProjectionStatements {
  const table = (name: string): string => qualified(name, { schema })
  return new ProjectionStatements({
    createStatements: [...schemaStatements({ schema }), ...projectionTablesStatements(names, columnTypes, table)],
    projections: table(names.projections),
    states: table(names.projectionStates),
    parked: table(names.parkedEvents),
    quote: inQuotes,
    parameter: (position, type) => `$${position}::${parameterTypes[type]}`,
    now: () => 'clock_timestamp()',
    later: (args, ms) => `clock_timestamp() + $${args.push(ms)}::bigint * interval '1 millisecond'`,
    wide: (column) => column,
    ifNew: 'ON CONFLICT DO NOTHING',
    guarded: (limitMs) => {
      const ms = Math.max(1, Math.floor(limitMs * 0.8))
      return `set_config('idle_in_transaction_session_timeout', '${ms}', true), set_config('lock_timeout', '${ms}', true)`
    },
  })
}
