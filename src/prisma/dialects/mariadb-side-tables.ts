/** The tables beside the events on MariaDB and MySQL: idempotency keys, tracking positions, subject keys and projections. */
import type { IdempotencyClaim } from '../../persistence/recorder.js'
import type { Tracking } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { ProjectionTablesOptions, TrackingTable, TrackingTableOptions } from '../dialect.js'
import { readDriverError, statement } from '../driver.js'
import { toBigInt, toText } from './event-rows.js'
import {
  checked,
  idempotencyKeysTableStatements,
  setInsertId,
  subjectKeysTableStatements,
  tableCharacters,
  trackingTableStatements,
} from './mariadb-tables.js'
import { ProjectionStatements } from './projection-tables.js'
import { KeysOfRequestsTable, KeysTable } from './side-tables.js'
import { type ProjectionColumnTypes, projectionTablesStatements } from './table-options.js'

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

/**
 * The upsert has no condition here, and drivers count a row also when it was left as it was: so the statement itself
 * tells, by LAST_INSERT_ID, whether the position has moved.
 */
export class MariadbTrackingTable implements TrackingTable {
  readonly createStatements: readonly string[]
  readonly #table: string

  constructor({ name }: TrackingTableOptions) {
    this.createStatements = trackingTableStatements(name)
    this.#table = `\`${name}\``
  }

  async advance(runner: StatementRunner, { applicationName, notificationId }: Tracking): Promise<boolean> {
    const sql =
      `INSERT INTO ${this.#table} (application_name, notification_id) SELECT ?, ? + LAST_INSERT_ID(1) - 1 FROM DUAL ` +
      `ON DUPLICATE KEY UPDATE notification_id = IF(notification_id < ?, ? + LAST_INSERT_ID(1) - 1, notification_id + LAST_INSERT_ID(0))`
    const moved = await setInsertId(runner, sql, [applicationName, notificationId, notificationId, notificationId])
    return moved === 1n
  }

  async all(runner: StatementRunner): Promise<Tracking[]> {
    const { rows } = await runner.query(statement(`SELECT application_name, notification_id FROM ${this.#table}`))
    return rows.map(([name, id]) => ({ applicationName: toText(name), notificationId: toBigInt(id) }))
  }

  async lastPosition(runner: StatementRunner, applicationName: string): Promise<bigint | null> {
    const sql = `SELECT notification_id FROM ${this.#table} WHERE application_name = ?`
    const { rows } = await runner.query(statement(sql, [applicationName]))
    return rows[0] === undefined ? null : toBigInt(rows[0][0])
  }
}

/**
 * A second writer of one key waits for the first. Its transaction goes on reading the table as it was when it began, but for
 * the rows that it has changed itself: so it moves the time of the other's key on by the least that the column holds. An
 * update to the same value would change nothing, and the key would be there for no select of this transaction.
 *
 * @see https://dev.mysql.com/doc/refman/8.4/en/innodb-consistent-read.html
 */
export function mariadbSubjectKeysTable({ name }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name),
    table: `\`${name}\``,
    subject: 'subject',
    key: '`key`',
    parameter: () => '?',
    onConflict: 'ON DUPLICATE KEY UPDATE created_at = created_at + INTERVAL 1000 MICROSECOND',
  })
}

const quote = (name: string): string => `\`${name}\``

const types: ProjectionColumnTypes = {
  quote,
  name: 'VARBINARY(255)',
  key: 'VARBINARY(1020)',
  word: 'VARCHAR(191)',
  text: 'TEXT',
  time: 'DATETIME(3)',
  timeNow: 'CURRENT_TIMESTAMP(3)',
  primaryKey: (_table, columns) => `PRIMARY KEY (${columns.map(quote).join(', ')})`,
  empty: ' NULL',
  options: ` ${tableCharacters}`,
}

/** A second writer of a position waits for the first, and then compares with what that one has stored. A schema is a database here. */
export function mariadbProjectionTables({ names, schema }: ProjectionTablesOptions): ProjectionStatements {
  const table = (name: string): string => (schema === undefined ? checked(name) : `${quote(schema)}.${checked(name)}`)
  return new ProjectionStatements({
    createStatements: projectionTablesStatements(names, types, table),
    projections: table(names.projections),
    states: table(names.projectionStates),
    parked: table(names.parkedEvents),
    quote,
    parameter: () => '?',
    now: () => 'UTC_TIMESTAMP(3)',
    later(args, ms) {
      args.push(Math.round(ms * 1000))
      return 'UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND'
    },
    wide: (column) => column,
    ifNew: 'ON DUPLICATE KEY UPDATE version = VALUES(version)',
    guarded: () => '',
  })
}
