/** The statements over a table of idempotency keys on SQLite. */
import type { IdempotencyClaim } from '../../persistence/idempotency-store.js'
import type { StatementRunner } from '../connections.js'
import type { TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import { KeysOfRequestsTable } from './idempotency-keys-table.js'
import { idempotencyKeysTableStatements, timeText } from './sqlite-tables.js'

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
