/** Where commands print to. */

/** Takes lines. */
export interface Output {
  /** Takes a line about what was done. */
  readonly print: (line: string) => void
  /** Takes a line about what went wrong. */
  readonly complain: (line: string) => void
  /** Shows a line in the place of the one that it has shown before; only on a terminal. */
  readonly redraw?: (line: string) => void
}

/** A number of things, such as `1 event` and `2 events`. */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`
}

/** Positions may pass what a number can hold, so that they are texts. */
export function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return value instanceof Error ? `${value.name}: ${value.message}` : value
}
