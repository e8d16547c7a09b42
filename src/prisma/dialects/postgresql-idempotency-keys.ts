/** The statements over a table of idempotency keys on PostgreSQL. */
import type { IdempotencyClaim } from '../../persistence/idempotency-store.js'
import type { StatementRunner } from '../connections.js'
import type { TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import { KeysOfRequestsTable } from './idempotency-keys-table.js'
import { idempotencyKeysTableStatements, qualified } from './postgresql-tables.js'

const types = { text: 'text', bytes: 'bytea', integer: 'integer', json: 'jsonb' }

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
    parameter: (position, type) => `$${position}::${types[type]}`,
    hasMember: (name, parameter) => `headers ->> '${name}' = ${parameter}`,
    seesLatest: '',
    claim,
    deleteExpired: async (runner, limit) => await runner.execute(statement(deleteStatement, [limit])),
  })
}
