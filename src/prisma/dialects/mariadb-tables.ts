/** The tables on MariaDB and MySQL: as statements, and as the types of the Prisma models that make the same. */
import type { StatementRunner } from '../connections.js'
import { statement } from '../driver.js'
import { checkIdentifier, expiryIndexName, positionIndexName, receiptIndexName } from '../table-names.js'
import { toBigInt } from './event-rows.js'
import type { ModelTypes, TableOptions } from './table-options.js'

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
