/** How long a piece of work may take: all attempts at it together, from the first use of the database on. */
export class Deadline {
  /** Milliseconds. */
  readonly ms: number
  #startedAt: number | undefined

  constructor(ms: number) {
    this.ms = ms
  }

  /** Whether the database has been used, in this attempt or in one before. */
  get hasStarted(): boolean {
    return this.#startedAt !== undefined
  }

  /** Milliseconds that are left, from 0; all of them before the first use. */
  get leftMs(): number {
    return this.#startedAt === undefined ? this.ms : Math.max(0, this.#startedAt + this.ms - performance.now())
  }

  /** Whether nothing is left. */
  get isOver(): boolean {
    return this.leftMs === 0
  }

  /** Starts to count, unless it has started before. */
  start(): void {
    this.#startedAt ??= performance.now()
  }
}
