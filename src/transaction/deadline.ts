/** How long a piece of work may take: all attempts at it together, from the first use of the database on, without the waiting for connections. */
export class Deadline {
  /** Milliseconds. */
  readonly ms: number
  /** When it is over, on the clock of `performance.now()`; `Infinity` while nothing is counted. Compared with before each statement. */
  endsAt: number = Infinity
  /** Milliseconds that are left while nothing is counted. */
  #restMs: number
  #hasStarted = false

  constructor(ms: number) {
    this.ms = ms
    this.#restMs = ms
  }

  /** Whether the database has been used, in this attempt or in one before. */
  get hasStarted(): boolean {
    return this.#hasStarted
  }

  /** Milliseconds that are left, from 0; all of them before the first use. */
  get leftMs(): number {
    return Math.max(0, this.#difference)
  }

  /** Milliseconds by which it is exceeded, from 0. */
  get overMs(): number {
    return Math.max(0, -this.#difference)
  }

  get #difference(): number {
    return this.endsAt === Infinity ? this.#restMs : this.endsAt - performance.now()
  }

  /** Starts to count, or goes on with it. */
  start(): void {
    this.#hasStarted = true
    if (this.endsAt === Infinity) this.endsAt = performance.now() + this.#restMs
  }

  /** Counts nothing until it is started again. */
  pause(): void {
    this.#restMs = this.#difference
    this.endsAt = Infinity
  }
}
