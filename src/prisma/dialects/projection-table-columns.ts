/** What makes the three tables of projections, alike on all databases but for the types of columns. */
import type { ProjectionTableNames } from '../dialect.js'

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
