/** What the tables of the databases have in common: their names, in quotes and for what is named after them, options, the types of their Prisma models, the columns of projections. */

import { createHash } from 'node:crypto'
import { ProgrammingError } from '../errors.js'
import type { OriginatorIdType, ProjectionTableNames } from './dialect.js'
import type { DriverErrorFacts } from './driver.js'

/** The tables of one application. */
export interface TableNames {
  readonly events: string
  readonly eventTags: string
  readonly snapshots: string
  readonly tracking: string
  readonly subjectKeys: string
  readonly projections: string
  readonly projectionStates: string
  readonly parkedEvents: string
  readonly inbox: string
  readonly timers: string
}

/**
 * The names of an application's tables: its name in lower case as the prefix, so that applications share a database.
 *
 * @param applicationName - empty for `stored_events`, `stored_snapshots`, `notification_tracking` and `subject_keys`
 * @throws `ProgrammingError` for a name of other characters than ASCII letters, digits and underscores
 */
export function tableNames(applicationName: string): TableNames {
  if (applicationName === '') {
    return {
      events: 'stored_events',
      eventTags: 'stored_event_tags',
      snapshots: 'stored_snapshots',
      tracking: 'notification_tracking',
      subjectKeys: 'subject_keys',
      projections: 'projections',
      projectionStates: 'projection_states',
      parkedEvents: 'parked_events',
      inbox: 'inbox_messages',
      timers: 'timers',
    }
  }
  const prefix = applicationName.toLowerCase()
  checkIdentifier(prefix, `name the tables of application '${applicationName}'`)
  return {
    events: `${prefix}_events`,
    eventTags: `${prefix}_event_tags`,
    snapshots: `${prefix}_snapshots`,
    tracking: `${prefix}_tracking`,
    subjectKeys: `${prefix}_keys`,
    projections: `${prefix}_projections`,
    projectionStates: `${prefix}_projection_states`,
    parkedEvents: `${prefix}_parked_events`,
    inbox: `${prefix}_inbox`,
    timers: `${prefix}_timers`,
  }
}

/**
 * Refuses a name that the database would shorten or that is more than a name.
 *
 * @param name - of a table; ASCII letters, digits and underscores, not beginning with a digit
 * @param attempted - what the name is for, as the message says it
 * @param limit - how many bytes a name has at most; default: any number
 * @throws `ProgrammingError` for any other name
 */
export function checkIdentifier(name: string, attempted: string, limit: number = Number.POSITIVE_INFINITY): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw new ProgrammingError(
      `Could not ${attempted}: '${name}' is no name for a table. Use letters, digits and underscores, not beginning with a digit.`,
    )
  }
  if (name.length > limit) {
    throw new ProgrammingError(
      `Could not ${attempted}: '${name}' has ${name.length} characters, and a name has at most ${limit} in this database. Use a shorter name.`,
    )
  }
}

/** So long a name is one in every database. */
const shortEnough = 63

/** The table of the tags of the events in a table: `stored_event_tags` for `stored_events`. */
export function tagsTableName(eventsTable: string): string {
  const stem = eventsTable.endsWith('_events') ? eventsTable.slice(0, -1) : eventsTable
  return derivedName(stem, '_tags', '_tags', shortEnough).name
}

/** The unique index over the positions of a table of events. */
export function positionIndexName(table: string, limit: number): DerivedName {
  return derivedName(table, '_originator_id_originator_version_key', '_position_key', limit)
}

/** The constraint of a primary key, where it has a name. */
export function primaryKeyName(table: string, limit: number): DerivedName {
  return derivedName(table, '_pkey', '_pkey', limit)
}

/** The index over the times at which rows expire. */
export function expiryIndexName(table: string, limit: number): DerivedName {
  return derivedName(table, '_expires_at_idx', '_expiry_idx', limit)
}

/** The index over the times at which rows came. */
export function receiptIndexName(table: string, limit: number): DerivedName {
  return derivedName(table, '_received_at_idx', '_received_idx', limit)
}

/** The index over the times at which timers are tried next. */
export function dueIndexName(table: string, limit: number): DerivedName {
  return derivedName(table, '_next_at_idx', '_next_idx', limit)
}

/** A name that belongs to a table. */
interface DerivedName {
  readonly name: string
  /** Whether Prisma comes to the same name by itself; otherwise the model has to say it. */
  readonly isDefault: boolean
}

/**
 * Where the whole name is too long, Prisma and the database would cut it, and two tables whose names begin alike would
 * ask for one index name: a digest of the table's name keeps them apart.
 */
function derivedName(table: string, suffix: string, shortSuffix: string, limit: number): DerivedName {
  const name = `${table}${suffix}`
  if (name.length <= limit) return { name, isDefault: true }
  const end = `_${createHash('sha256').update(table).digest('hex').slice(0, 8)}${shortSuffix}`
  return { name: `${table.slice(0, limit - end.length)}${end}`, isDefault: false }
}

/** The applications of this process, by the names of their tables. */
const applications = new Map<string, string>()

/** Lets messages about these tables tell whose they are. */
export function noteTables(application: string, names: TableNames): void {
  for (const table of Object.values(names)) applications.set(table, application)
}

/**
 * Completes "Could not append 1 event:" for a table that is not there.
 *
 * @returns undefined for any other error
 */
export function missingTable({ message }: DriverErrorFacts): string | undefined {
  // As SQLite, PostgreSQL and MariaDB say it, with and without a schema. Not all adapters tell by the kind of the error.
  const [, ofSqlite, ofOthers] =
    /no such table: (?:\w+\.)?(\w+)|(?:relation "|Table ')(?:[^'".]+\.)?(\w+)['"] (?:does not|doesn't) exist/.exec(
      message,
    ) ?? []
  const table = ofSqlite ?? ofOthers
  return table === undefined ? undefined : withoutTable(table)
}

/** The same for a table by its name. */
export function withoutTable(table: string): string {
  const application = applications.get(table)
  const init = application ? `npx eventsourcing-prisma init --app ${application}` : 'npx eventsourcing-prisma init'
  const whose =
    application === undefined
      ? ''
      : application === ''
        ? ' for the application, which has no name'
        : ` for application ${application}`
  const inTests = application === undefined ? "the recorder's createTable()" : 'application.recorder.createTable()'
  return `there is no table ${table}${whose}: run ${init}, then npx prisma migrate dev; in tests await ${inTests}`
}

/** How a table is made. */
export interface TableOptions {
  /** The schema that the table is in, where the database has schemas; default: the connection's. */
  readonly schema?: string | undefined
  /** Default `uuid` where the database has it; the others always have text. */
  readonly originatorIdType?: OriginatorIdType | undefined
}

/** How the fields of the Prisma models are typed for one database: each a type and its attributes. */
export interface ModelTypes {
  /** As the datasource of a Prisma schema spells it. */
  readonly provider: string
  /** How many bytes a name has at most. */
  readonly longestName: number
  /** Whether the constraint of a primary key has a name of its own. */
  readonly namesPrimaryKeys: boolean
  /** Whether tables can be in named schemas. */
  readonly hasSchemas: boolean
  /** Whether notification ids are given from a table of positions. */
  readonly hasPositions: boolean
  readonly id: string
  readonly originatorId: Readonly<Record<OriginatorIdType, string>>
  readonly topic: string
  readonly state: string
  readonly recordedAt: string
  readonly applicationName: string
  readonly subject: string
  readonly tag: string
  readonly key: string
  readonly idempotencyKey: string
  readonly projectionName: string
  readonly fingerprint: string
}

/**
 * Quotes a table's name.
 *
 * @param name - what is before a dot is the schema
 * @param mark - the database's quotation mark
 */
export function quotedName(name: string, mark: '"' | '`'): string {
  const parts = name.split('.')
  return parts.map((part) => `${mark}${part.replaceAll(mark, mark + mark)}${mark}`).join('.')
}

/** How the columns are typed, and how a table is made. */
export interface ProjectionColumnTypes {
  readonly quote: (name: string) => string
  readonly name: string
  readonly key: string
  readonly word: string
  readonly text: string
  readonly time: string
  readonly timeNow: string
  /** Defines the primary key of a table. */
  readonly primaryKey: (table: string, columns: readonly string[]) => string
  /** What a column says that may be empty, before the comma. */
  readonly empty: string
  /** Follows the columns. */
  readonly options: string
}

type Columns = ReadonlyArray<readonly [name: string, type: string]>

/** The statements, harmless where the tables exist. @param table - how a statement names a table */
export function projectionTablesStatements(
  names: ProjectionTableNames,
  types: ProjectionColumnTypes,
  table: (name: string) => string,
): string[] {
  const make = (tableName: string, columns: Columns, keys: readonly string[]): string => {
    const version: Columns = [
      ['name', `${types.name} NOT NULL`],
      ['version', 'INTEGER NOT NULL'],
    ]
    const lines = [...version, ...columns].map(([column, type]) => `    ${types.quote(column)} ${type},`)
    const key = types.primaryKey(tableName, ['name', 'version', ...keys])
    return `CREATE TABLE IF NOT EXISTS ${table(tableName)} (\n${lines.join('\n')}\n\n    ${key}\n)${types.options}`
  }
  return [
    make(names.projections, positionColumns(types), ['upstream', 'partition']),
    make(names.projectionStates, stateColumns(types), []),
    make(names.parkedEvents, parkedColumns(types), ['notification_id']),
  ]
}

function positionColumns({ name, word, time, empty }: ProjectionColumnTypes): Columns {
  return [
    ['upstream', `${name} NOT NULL`],
    ['partition', 'INTEGER NOT NULL'],
    ['partitions', 'INTEGER NOT NULL'],
    ['position', 'BIGINT NOT NULL'],
    ['epoch', 'BIGINT NOT NULL'],
    ['owner', `${word}${empty}`],
    ['leased_until', `${time}${empty}`],
  ]
}

function stateColumns({ word, text, time, timeNow, empty }: ProjectionColumnTypes): Columns {
  return [
    ['wanted', `${word} NOT NULL`],
    ['status', `${word} NOT NULL`],
    ['target', `BIGINT${empty}`],
    ['reason', `${text}${empty}`],
    ['failed_position', `BIGINT${empty}`],
    ['updated_at', `${time} NOT NULL DEFAULT ${timeNow}`],
  ]
}

function parkedColumns({ key, text, time, timeNow }: ProjectionColumnTypes): Columns {
  return [
    ['notification_id', 'BIGINT NOT NULL'],
    ['key', `${key} NOT NULL`],
    ['attempts', 'INTEGER NOT NULL'],
    ['error', `${text} NOT NULL`],
    ['parked_at', `${time} NOT NULL DEFAULT ${timeNow}`],
  ]
}

/** What a readable view shows of a state that is no JSON. */
export const hiddenState = '(compressed or encrypted)'

/** The name of the view that shows the states of a table of events as JSON, for psql, Prisma Studio and others who know nothing of this library. */
export function readableViewName(table: string): string {
  return `${table}_readable`
}

/** The columns of the view before the state. */
export function readableColumns(withLog: boolean): string {
  return `${withLog ? 'id, ' : ''}originator_id, originator_version, topic`
}
