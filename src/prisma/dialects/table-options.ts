/** What the tables of the databases have in common: options, the types of their Prisma models, names in quotes, the columns of projections. */
import type { OriginatorIdType, ProjectionTableNames } from '../dialect.js'

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
