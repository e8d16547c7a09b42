/** The tables beside the events on PostgreSQL: idempotency keys, tracking positions, subject keys and projections. */
import type { IdempotencyClaim } from '../../persistence/recorder.js'
import type { StatementRunner } from '../connections.js'
import type { ProjectionTablesOptions, TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import { primaryKeyName } from '../table-names.js'
import {
  idempotencyKeysTableStatements,
  longestName,
  qualified,
  schemaStatements,
  subjectKeysTableStatements,
  trackingTableStatements,
} from './postgresql-tables.js'
import { ProjectionStatements } from './projection-tables.js'
import { KeysOfRequestsTable, KeysTable, UpsertTrackingTable } from './side-tables.js'
import { type ProjectionColumnTypes, projectionTablesStatements } from './table-options.js'

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

const quote = (name: string): string => `"${name}"`

const columnTypes: ProjectionColumnTypes = {
  quote,
  name: 'TEXT',
  key: 'TEXT',
  word: 'TEXT',
  text: 'TEXT',
  time: 'TIMESTAMPTZ(6)',
  timeNow: 'CURRENT_TIMESTAMP',
  primaryKey: (table, columns) =>
    `CONSTRAINT "${primaryKeyName(table, longestName).name}" PRIMARY KEY (${columns.map(quote).join(',')})`,
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
    quote,
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
