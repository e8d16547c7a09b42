/** Where commands print to. */

/** Takes lines. */
export interface Output {
  /** Takes a line about what was done. */
  readonly print: (line: string) => void
  /** Takes a line about what went wrong. */
  readonly complain: (line: string) => void
}
