/** What a look at a database finds: the port that each kind of database has, and what is the same for all. */
import type { LogOrder } from '../persistence/recorder.js'

/** One thing that was looked at. */
export interface Finding {
  /** What was looked at, such as `sequence`. */
  readonly check: string
  /** On which table, migration or server. */
  readonly subject: string
  readonly status: 'ok' | 'warning' | 'error'
  readonly message: string
  /** What to do. */
  readonly cure?: string
}

/** Runs a statement. */
export type Query = (sql: string, args?: unknown[]) => Promise<unknown[][]>

/** Where a table is. */
export interface TablePlace {
  readonly table: string
  readonly schema: string | undefined
}

/** What is known of a database of one kind. */
export interface Inspector {
  /** The columns of a table; none where there is no table. */
  columns(query: Query, place: TablePlace): Promise<string[]>
  /** The columns of each unique index, or primary key, in their order. */
  uniqueKeys(query: Query, place: TablePlace): Promise<string[][]>
  /** How the columns are declared that a table of Python's library lacks. */
  readonly addedColumns: { readonly metadata: string; readonly recorded_at: string }
  /** Looks, for about half a second, who writes a log besides this library, and what keeps it from being final. */
  writers(query: Query, place: TablePlace, order: LogOrder | undefined): Promise<Finding[]>
}

/** The columns of an index, from rows of its name and one of its columns. */
export function keysOf(rows: ReadonlyArray<readonly unknown[]>): string[][] {
  const keys = new Map<string, string[]>()
  for (const [name, column] of rows) {
    const key = keys.get(String(name)) ?? []
    keys.set(String(name), [...key, String(column)])
  }
  return [...keys.values()]
}
