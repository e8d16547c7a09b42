/**
 * The tables on MariaDB and MySQL: as statements, as the types of the Prisma models that make the same, and what of those beside the events is MariaDB and MySQL's own.
 */
import type { IdempotencyClaim } from '../../persistence/recorder.js'
import type { Tracking } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type {
  InboxTable,
  ProjectionTablesOptions,
  TrackingTable,
  TrackingTableOptions,
  ViewedTable,
} from '../dialect.js'
import { readDriverError, statement } from '../driver.js'
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
import { toBigInt, toText } from './event-rows.js'
import { ProjectionStatements } from './projection-tables.js'
import { KeysOfRequestsTable, KeysTable } from './side-tables.js'

/** @see https://mariadb.com/kb/en/identifier-names/#maximum-length */
export const longestName = 64

/** Has one row for each log: the position that its next ids follow, locked by whoever takes them. */
export const positionsTable = 'notification_positions'

/**
 * How the fields of the models are typed. Originator ids, names of applications and of persons, and idempotency keys are bytes of UTF-8: a text column of
 * a Prisma model always has a collation for which "A", "a" and "a " are one key, and a collation cannot be written in
 * a Prisma schema. 3,072 bytes is the longest key of InnoDB.
 */
export const mysqlModelTypes: ModelTypes = {
  provider: 'mysql',
  longestName,
  namesPrimaryKeys: false,
  hasSchemas: false,
  hasPositions: true,
  id: 'BigInt @id',
  originatorId: { uuid: 'Bytes @db.VarBinary(255)', text: 'Bytes @db.VarBinary(255)' },
  topic: 'String @db.Text',
  state: 'Bytes @db.LongBlob',
  recordedAt: 'DateTime @db.DateTime(3)',
  applicationName: 'Bytes @db.VarBinary(3072)',
  subject: 'Bytes @db.VarBinary(1020)',
  tag: 'Bytes @db.VarBinary(255)',
  key: 'Bytes @db.VarBinary(1024)',
  idempotencyKey: 'Bytes @db.VarBinary(1020)',
  projectionName: 'Bytes @db.VarBinary(255)',
  fingerprint: 'Bytes @db.VarBinary(64)',
}

const eventColumns = `\`originator_id\` VARBINARY(255) NOT NULL,
    \`originator_version\` BIGINT NOT NULL,
    \`topic\` TEXT NOT NULL,
    \`state\` LONGBLOB NOT NULL,
    \`metadata\` JSON NULL,
    \`recorded_at\` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)`

/** Ends what makes a table. */
export const tableCharacters = 'DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci'

/**
 * The statements that make a table of events with notification ids, and the table of positions; harmless where they exist.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function eventsTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    \`id\` BIGINT NOT NULL,
    ${eventColumns},

    UNIQUE INDEX \`${positionIndexName(name, longestName).name}\`(\`originator_id\`, \`originator_version\`),
    PRIMARY KEY (\`id\`)
) ${tableCharacters}`,
    `CREATE TABLE IF NOT EXISTS \`${positionsTable}\` (
    \`log\` VARCHAR(64) NOT NULL,
    \`notification_id\` BIGINT NOT NULL,

    PRIMARY KEY (\`log\`)
) ${tableCharacters}`,
    `INSERT IGNORE INTO \`${positionsTable}\` (\`log\`, \`notification_id\`) VALUES ('${name}', 0)`,
  ]
}

/**
 * The statements that make a table of snapshots; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function snapshotsTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    ${eventColumns},

    PRIMARY KEY (\`originator_id\`, \`originator_version\`)
) ${tableCharacters}`,
  ]
}

/**
 * The statements that make a table of tracking positions; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function trackingTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    \`application_name\` VARBINARY(3072) NOT NULL,
    \`notification_id\` BIGINT NOT NULL,

    PRIMARY KEY (\`application_name\`)
) ${tableCharacters}`,
  ]
}

/**
 * The statements that make a table of the tags of events; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function tagsTableStatements(name: string): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    \`tag\` VARBINARY(255) NOT NULL,
    \`notification_id\` BIGINT NOT NULL,

    PRIMARY KEY (\`tag\`, \`notification_id\`)
) ${tableCharacters}`,
  ]
}

/**
 * The statements that make a table of subject keys; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function subjectKeysTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    \`subject\` VARBINARY(1020) NOT NULL,
    \`key\` VARBINARY(1024) NOT NULL,
    \`created_at\` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    PRIMARY KEY (\`subject\`)
) ${tableCharacters}`,
  ]
}

/**
 * The statements that make a table of idempotency keys; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function idempotencyKeysTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    \`scope\` VARBINARY(1020) NOT NULL,
    \`key\` VARBINARY(1020) NOT NULL,
    \`fingerprint\` VARBINARY(64) NOT NULL,
    \`status\` INTEGER NOT NULL,
    \`headers\` JSON NOT NULL,
    \`body\` LONGBLOB NOT NULL,
    \`created_at\` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    \`expires_at\` DATETIME(3) NOT NULL,

    INDEX \`${expiryIndexName(name, longestName).name}\`(\`expires_at\`),
    PRIMARY KEY (\`scope\`, \`key\`)
) ${tableCharacters}`,
  ]
}

/**
 * The statements that make a table of messages that were processed; harmless where it exists.
 *
 * @throws `ProgrammingError` for a name that is too long or has odd characters
 */
export function inboxTableStatements(name: string, _options: TableOptions = {}): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checked(name)} (
    \`source\` VARBINARY(1020) NOT NULL,
    \`id\` VARBINARY(1020) NOT NULL,
    \`received_at\` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),

    INDEX \`${receiptIndexName(name, longestName).name}\`(\`received_at\`),
    PRIMARY KEY (\`source\`, \`id\`)
) ${tableCharacters}`,
  ]
}

/** How statements name a table. @throws `ProgrammingError` for a name that is too long or has odd characters */
export function checked(name: string): string {
  checkIdentifier(name, `make a recorder for table '${name}'`, longestName)
  return `\`${name}\``
}

/** Runs a statement that sets LAST_INSERT_ID. @returns what it set, undefined when it met no row */
export async function setInsertId(runner: StatementRunner, sql: string, args: unknown[]): Promise<bigint | undefined> {
  if (runner.givesInsertIds) {
    const { lastInsertId } = await runner.query(statement(sql, args))
    return lastInsertId === undefined || lastInsertId === '0' ? undefined : BigInt(lastInsertId)
  }
  const changed = await runner.execute(statement(sql, args))
  if (changed === 0) return undefined
  const { rows } = await runner.query(statement('SELECT LAST_INSERT_ID()'))
  return toBigInt(rows[0]?.[0])
}

/**
 * A second transaction that notes one message waits for the first. IGNORE leaves a row as it is that is there, and would also cut what is too
 * long: an `Inbox` looks at that before.
 */
export function mariadbInboxTable({ name }: TrackingTableOptions): InboxTable {
  const table = checked(name)
  const insert = `INSERT IGNORE INTO ${table} (source, id, received_at) VALUES (?, ?, UTC_TIMESTAMP(3))`
  const isOlder = 'received_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND'
  const deleteOne = `DELETE FROM ${table} WHERE source = ? AND id = ? AND ${isOlder}`

  /** One by one, by their keys: to delete a range would lock the gaps in it, where others insert theirs. */
  async function deleteOlder(runner: StatementRunner, olderThanMs: number, limit: number): Promise<number> {
    const age = Math.round(olderThanMs * 1000)
    const select = `SELECT source, id FROM ${table} WHERE ${isOlder} ORDER BY received_at LIMIT ${limit}`
    const { rows } = await runner.query(statement(select, [age]))
    for (const [source, id] of rows) await runner.execute(statement(deleteOne, [source, id, age]))
    return rows.length
  }

  return {
    createStatements: inboxTableStatements(name),
    insert: async (runner, source, id) => (await runner.execute(statement(insert, [source, id]))) > 0,
    deleteOlder,
  }
}

/** The statement that makes the view on MariaDB and MySQL. */
export function mariadbReadableView({ name, withLog }: ViewedTable): string[] {
  const text = 'CONVERT(state USING utf8mb4)'
  const state = `CASE WHEN JSON_VALID(${text}) THEN ${text} ELSE JSON_QUOTE('${hiddenState}') END`
  const view = checked(readableViewName(name))
  return [
    `CREATE OR REPLACE VIEW ${view} AS SELECT ${readableColumns(withLog)}, ${state} AS state, metadata, recorded_at FROM ${checked(name)}`,
  ]
}

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
