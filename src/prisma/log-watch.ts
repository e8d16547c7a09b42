/** Watches how far the logs of one datastore are final, as the reads of them show it: gauges, and warnings where something is wrong. */

/** For so long the settled position may stand still below the last id: by then a transaction with the default deadline has ended. */
const patienceMs = 5_000

/** How often the ids of a table are compared with what they are taken from, where that takes a statement of its own. */
const betweenChecksMs = 60_000

/** What a read of a log has met. */
export interface LogLook {
  /** Up to where the log is final. */
  readonly settled: bigint
  /** The last id that was given out. */
  readonly last: bigint
}

/** Who keeps a log from being final. */
export interface LogBlocker {
  /** The server's process. */
  readonly pid: number
  /** What it does, as the server says it. */
  readonly what: string
}

/** One log. */
export class LogWatch {
  readonly #log: string
  #look: LogLook = { settled: 0n, last: 0n }
  #since: number | undefined
  #isStallTold = false
  #isFaultTold = false
  #checkedAt: number | undefined

  /** @param log - its name in messages */
  constructor(log: string) {
    this.#log = log
  }

  /** How many ids were given out that a reader must not pass yet, at the last look. */
  get unsettled(): number {
    return Number(this.#look.last - this.#look.settled)
  }

  /** For how many milliseconds the settled position has stood still below the last id. */
  get unsettledMs(): number {
    return this.#since === undefined ? 0 : Date.now() - this.#since
  }

  /** @returns whether it has stood still for long, and nobody was told yet */
  looked(look: LogLook): boolean {
    const hasMoved = look.settled !== this.#look.settled
    this.#look = look
    if (look.settled >= look.last) {
      this.#since = undefined
      this.#isStallTold = false
      return false
    }
    if (hasMoved || this.#since === undefined) {
      this.#since = Date.now()
      this.#isStallTold = false
    }
    return !this.#isStallTold && this.unsettledMs >= patienceMs
  }

  /** Warns of a log that stands still. */
  stalled(blockers: readonly LogBlocker[]): void {
    this.#isStallTold = true
    const first = blockers[0]
    const who =
      first === undefined
        ? 'a transaction that has just ended'
        : `a transaction that has written to it and has not ended: process ${first.pid} of the server (${first.what})` +
          (blockers.length > 1 ? ` and ${blockers.length - 1} more` : '')
    const cure = first === undefined ? '' : ` If it hangs, end it: SELECT pg_terminate_backend(${first.pid}).`
    process.emitWarning(
      `The log ${this.#log} is readable up to position ${this.#look.settled} only, of ${this.#look.last}, for ` +
        `${Math.round(this.unsettledMs / 1000)} seconds: all its readers and subscriptions wait for ${who}.${cure}`,
      { code: 'ES_LOG_STALLED' },
    )
  }

  /** Whether the ids are to be checked: at first, and then about once a minute. */
  get isCheckDue(): boolean {
    return this.#checkedAt === undefined || Date.now() - this.#checkedAt >= betweenChecksMs
  }

  /** Warns once of a table whose ids are wrong, and again when it was sound meanwhile. @param fault - undefined for a sound one */
  checked(fault: string | undefined): void {
    this.#checkedAt = Date.now()
    if (fault !== undefined && !this.#isFaultTold) {
      process.emitWarning(`The ids of the log ${this.#log} are wrong: ${fault}`, { code: 'ES_LOG_IDS_BEHIND' })
    }
    this.#isFaultTold = fault !== undefined
  }
}

/** The logs of one datastore. */
export class LogWatches {
  readonly #watches = new Map<string, LogWatch>()

  /** The one watch of a log, whichever recorder reads it. */
  of(log: string): LogWatch {
    const watch = this.#watches.get(log) ?? new LogWatch(log)
    this.#watches.set(log, watch)
    return watch
  }

  /** The log that is the furthest from being final. */
  get gauges(): { readonly unsettled: number; readonly unsettledMs: number } {
    let unsettled = 0
    let unsettledMs = 0
    for (const watch of this.#watches.values()) {
      unsettled = Math.max(unsettled, watch.unsettled)
      unsettledMs = Math.max(unsettledMs, watch.unsettledMs)
    }
    return { unsettled, unsettledMs }
  }
}
