/** What is in tables, and what has changed in them: in no order, row by row. */

/** How often each row is in each table. */
export type TableContents = ReadonlyMap<string, ReadonlyMap<string, number>>

/** How many rows have come into a table and gone from it; one that was changed has done both. */
export interface TableChange {
  /** The table. */
  readonly table: string
  /** Rows that were not there before. */
  readonly added: number
  /** Rows that are not there any more. */
  readonly removed: number
}

/** Counts rows by what is in them. */
export function contentsOf(rowsByTable: ReadonlyMap<string, readonly unknown[]>): TableContents {
  const contents = new Map<string, Map<string, number>>()
  for (const [table, rows] of rowsByTable) {
    const counts = new Map<string, number>()
    for (const row of rows) {
      const key = JSON.stringify(row, (_name, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    contents.set(table, counts)
  }
  return contents
}

/** One entry for each table. */
export function changesBetween(before: TableContents, after: TableContents): TableChange[] {
  return [...after].map(([table, rows]) => {
    const earlier = before.get(table) ?? new Map<string, number>()
    return { table, added: surplus(rows, earlier), removed: surplus(earlier, rows) }
  })
}

/** Whether nothing has come or gone. */
export function isUnchanged(changes: readonly TableChange[]): boolean {
  return changes.every(({ added, removed }) => added === 0 && removed === 0)
}

/** Whether as much has come and gone in each table. */
export function isSameChange(changes: readonly TableChange[], others: readonly TableChange[]): boolean {
  return changes.every(({ table, added, removed }) => {
    const other = others.find((candidate) => candidate.table === table)
    return other?.added === added && other.removed === removed
  })
}

/** In words: `owners +1, toys +0 −2`. */
export function changesText(changes: readonly TableChange[]): string {
  return changes
    .map(({ table, added, removed }) => `${table} +${added}${removed === 0 ? '' : ` −${removed}`}`)
    .join(', ')
}

function surplus(rows: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): number {
  let count = 0
  for (const [row, times] of rows) count += Math.max(0, times - (others.get(row) ?? 0))
  return count
}
