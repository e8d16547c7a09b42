/** The statements over a table of idempotency keys on MariaDB and MySQL. */
import type { IdempotencyClaim } from '../../persistence/idempotency-store.js'
import type { StatementRunner } from '../connections.js'
import type { TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import { readDriverError } from '../driver-error.js'
import { KeysOfRequestsTable } from './idempotency-keys-table.js'
import { setInsertId } from './insert-id.js'
import { idempotencyKeysTableStatements } from './mariadb-tables.js'

/** A lock was not granted in time. */
const lockTimeout = '1205'

/** Read by MariaDB alone: MySQL takes it for a comment, has no such setting for a statement, and waits. */
const withoutWaiting = '/*M! SET STATEMENT innodb_lock_wait_timeout=0 FOR */'

/**
 * Whoever has a key has inserted its row, which keeps others from inserting the same until its transaction ends. It is
 * inserted without looking first, since a look at a row that is not there would lock the gap for other keys as well. The
 * statement tells by LAST_INSERT_ID whether it has taken the key, since drivers count a row also when it was left as it was.
 *
 * On MySQL the second of two waits until the first has ended, and then meets its answer.
 *
 * @see https://mariadb.com/kb/en/set-statement/
 */
export function mariadbIdempotencyKeysTable({ name }: TrackingTableOptions): KeysOfRequestsTable {
  const table = `\`${name}\``
  const claimStatement = claimStatementOf(table)
  const selectExpired = `SELECT scope, \`key\` FROM ${table} WHERE expires_at <= UTC_TIMESTAMP(3) ORDER BY expires_at LIMIT`
  const deleteOne = `DELETE FROM ${table} WHERE scope = ? AND \`key\` = ? AND expires_at <= UTC_TIMESTAMP(3)`

  async function claim(
    runner: StatementRunner,
    { scope, key, fingerprint, ttlMs }: IdempotencyClaim,
  ): Promise<'claimed' | 'in use' | 'known'> {
    const ttl = Math.round(ttlMs * 1000)
    try {
      const claimed = await setInsertId(runner, claimStatement, [scope, key, fingerprint, ttl, fingerprint, ttl])
      return claimed === 1n ? 'claimed' : 'known'
    } catch (error) {
      if (readDriverError(error)?.code === lockTimeout) return 'in use'
      throw error
    }
  }

  /** One by one, by their keys: to delete a range would lock the gaps in it, where others insert theirs. */
  async function deleteExpired(runner: StatementRunner, limit: number): Promise<number> {
    const { rows } = await runner.query(statement(`${selectExpired} ${limit}`))
    for (const [scope, key] of rows) await runner.execute(statement(deleteOne, [scope, key]))
    return rows.length
  }

  return new KeysOfRequestsTable({
    createStatements: idempotencyKeysTableStatements(name),
    table,
    key: '`key`',
    parameter: () => '?',
    hasMember: (name, parameter) => `BINARY JSON_UNQUOTE(JSON_EXTRACT(headers, '$."${name}"')) = BINARY ${parameter}`,
    // The snapshot of the transaction may be older than what the claim has met.
    seesLatest: ' LOCK IN SHARE MODE',
    claim,
    deleteExpired,
  })
}

/** Takes scope, key, fingerprint and microseconds, then the last two again. */
function claimStatementOf(table: string): string {
  const expiry = 'UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND'
  const ifExpired = (value: string, column: string): string =>
    `${column} = IF(expires_at <= UTC_TIMESTAMP(3), ${value}, ${column})`
  return (
    `${withoutWaiting} INSERT INTO ${table} (scope, \`key\`, fingerprint, status, headers, body, created_at, expires_at) ` +
    `SELECT ?, ?, ?, LAST_INSERT_ID(1) - 1, '{}', '', UTC_TIMESTAMP(3), ${expiry} FROM DUAL ON DUPLICATE KEY UPDATE ` +
    `status = IF(expires_at <= UTC_TIMESTAMP(3), LAST_INSERT_ID(1) - 1, status + LAST_INSERT_ID(0)), ` +
    // From left to right: the time comes last, as the others look at it.
    `${ifExpired('?', 'fingerprint')}, ${ifExpired('UTC_TIMESTAMP(3)', 'created_at')}, ${ifExpired(expiry, 'expires_at')}`
  )
}
