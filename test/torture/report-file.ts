/** The file in which a process writes what it has done, so that it is known also after the process was killed. */
import { appendFileSync, readFileSync } from 'node:fs'

/** Writes lines of three columns, in parts. */
export class Report {
  readonly #file: string
  #lines: string[] = []

  constructor(file: string) {
    this.#file = file
    appendFileSync(file, '')
  }

  line(...columns: ReadonlyArray<string | number | bigint>): void {
    this.#lines.push(columns.join(' '))
    if (this.#lines.length >= 100) this.flush()
  }

  flush(): void {
    if (this.#lines.length === 0) return
    appendFileSync(this.#file, `${this.#lines.join('\n')}\n`)
    this.#lines = []
  }
}

/** The lines of a report, each by its columns; without a last one that was cut off. */
export function readReport(file: string): string[][] {
  const text = readFileSync(file, 'utf8')
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' '))
}
