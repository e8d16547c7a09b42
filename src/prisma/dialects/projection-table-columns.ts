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

/** The statements, harmless where the tables exist. @param table - how a statement names a table */
export function projectionTablesStatements(
  names: ProjectionTableNames,
  types: ProjectionColumnTypes,
  table: (name: string) => string,
): string[] {
  const { name, key, word, text, time, timeNow, empty } = types
  const make = (
    tableName: string,
    columns: ReadonlyArray<readonly [string, string]>,
    keys: readonly string[],
  ): string => {
    const lines = columns.map(([column, type]) => `    ${types.quote(column)} ${type},`)
    return `CREATE TABLE IF NOT EXISTS ${table(tableName)} (\n${lines.join('\n')}\n\n    ${types.primaryKey(tableName, keys)}\n)${types.options}`
  }
  const projection: ReadonlyArray<readonly [string, string]> = [
    ['name', `${name} NOT NULL`],
    ['version', 'INTEGER NOT NULL'],
  ]
  return [
    make(
      names.projections,
      [
        ...projection,
        ['upstream', `${name} NOT NULL`],
        ['partition', 'INTEGER NOT NULL'],
        ['partitions', 'INTEGER NOT NULL'],
        ['position', 'BIGINT NOT NULL'],
        ['epoch', 'BIGINT NOT NULL'],
        ['owner', `${word}${empty}`],
        ['leased_until', `${time}${empty}`],
      ],
      ['name', 'version', 'upstream', 'partition'],
    ),
    make(
      names.projectionStates,
      [
        ...projection,
        ['wanted', `${word} NOT NULL`],
        ['status', `${word} NOT NULL`],
        ['target', `BIGINT${empty}`],
        ['reason', `${text}${empty}`],
        ['failed_position', `BIGINT${empty}`],
        ['updated_at', `${time} NOT NULL DEFAULT ${timeNow}`],
      ],
      ['name', 'version'],
    ),
    make(
      names.parkedEvents,
      [
        ...projection,
        ['notification_id', 'BIGINT NOT NULL'],
        ['key', `${key} NOT NULL`],
        ['attempts', 'INTEGER NOT NULL'],
        ['error', `${text} NOT NULL`],
        ['parked_at', `${time} NOT NULL DEFAULT ${timeNow}`],
      ],
      ['name', 'version', 'notification_id'],
    ),
  ]
}
