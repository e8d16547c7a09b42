/** How long a piece of work may take: all attempts at it together, from the first use of the database on, without the waiting for connections. */
export class Deadline {
  /** Milliseconds. */
  readonly ms: number
  #usedMs = 0
  #startedAt: number | undefined
  #hasStarted = false

  constructor(ms: number) {
    this.ms = ms
  }

  /** Whether the database has been used, in this attempt or in one before. */
  get hasStarted(): boolean {
    return this.#hasStarted
  }

  /** Milliseconds that are left, from 0; all of them before the first use. */
  get leftMs(): number {
    return Math.max(0, this.ms - this.#countedMs)
  }

  get #countedMs(): number {
    return this.#usedMs + (this.#startedAt === undefined ? 0 : performance.now() - this.#startedAt)
  }

  /** Milliseconds by which it is exceeded, from 0. */
  get overMs(): number {
    return Math.max(0, this.#countedMs - this.ms)
  }

  /** Whether nothing is left. */
  get isOver(): boolean {
    return this.leftMs === 0
  }

  /** Starts to count, or goes on with it. */
  start(): void {
    this.#hasStarted = true
    this.#startedAt ??= performance.now()
  }

  /** Counts nothing until it is started again. */
  pause(): void {
    if (this.#startedAt === undefined) return
    this.#usedMs += performance.now() - this.#startedAt
    this.#startedAt = undefined
  }
}
