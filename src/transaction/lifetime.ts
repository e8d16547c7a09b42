/** How long a transaction can be used: until its deadline, or until its end has begun. */
import { TransactionTimeoutError } from '../errors.js'
import { closedError, type Labelled, type TransactionLabel, textOf } from './options.js'
import type { Telemetry } from './telemetry.js'

/** From when on a deadline that comes late tells that the process has stood still. */
const leastLateMs = 500

/** How long a piece of work may take: all attempts at it together, from the first use of the database on, without the waiting for connections. */
export class Deadline {
  /** Milliseconds. */
  readonly ms: number
  /** Whether the database has been used, in this attempt or in one before. */
  hasStarted = false
  /** When it is over, on the clock of `performance.now()`; undefined while nothing is counted. */
  #endsAt: number | undefined
  /** Milliseconds that are left while nothing is counted. */
  #restMs: number

  constructor(ms: number) {
    this.ms = ms
    this.#restMs = ms
  }

  /** Milliseconds that are left, all of them before the first use; below 0 by how much it is exceeded. */
  get leftMs(): number {
    return this.#endsAt === undefined ? this.#restMs : this.#endsAt - performance.now()
  }

  /** Starts to count, or goes on with it. @returns when it is over, on the clock of `performance.now()` */
  start(): number {
    this.hasStarted = true
    return (this.#endsAt ??= performance.now() + this.#restMs)
  }

  /** Counts nothing until it is started again. */
  pause(): void {
    this.#restMs = this.leftMs
    this.#endsAt = undefined
  }
}

/** What a lifetime needs to know when it starts. */
export interface LifetimeOptions {
  readonly deadline: Deadline
  /** Who is told of a deadline that has passed. */
  readonly telemetry: Telemetry
  /** What the transaction is for, for messages. */
  readonly label: TransactionLabel | Labelled | undefined
}

/** Whose lifetime it is. */
export interface LifetimeOwner {
  /** Whether BEGIN has been sent and not answered. */
  readonly isBeginning: boolean
  /** Whether transactions wait for each other to write. */
  readonly singleWriter: boolean
  /** It was ended from outside. */
  stopped(): void
}

/** That of one transaction. */
export class Lifetime {
  readonly #options: LifetimeOptions
  readonly #owner: LifetimeOwner
  #controller: AbortController | undefined
  #abortReason: Error | undefined
  #ending: AbortController | undefined
  #timer: NodeJS.Timeout | undefined
  /**
   * Until when statements can start, on the clock of `performance.now()`: before each it is compared with that. It is a field for
   * this; only this class writes it.
   */
  openUntil: number = Infinity
  /** Whether no statement can start any more; written by this class only, as `openUntil`. */
  isOver = false
  #ended: Error | undefined

  constructor(options: LifetimeOptions, owner: LifetimeOwner) {
    this.#options = options
    this.#owner = owner
    // By the attempt before.
    if (options.deadline.hasStarted) this.startDeadline()
  }

  /** Which transaction this is, for messages. */
  get title(): string {
    const text = textOf(this.#options.label)
    return text === undefined ? 'the transaction' : `the transaction "${text}"`
  }

  /** Why no statement can start any more, undefined while one can. */
  get ended(): Error | undefined {
    if (!this.isOver) return undefined
    // Made when it is asked for: few transactions are used after their end.
    return (this.#ended ??= this.stopped ?? closedError('A statement was sent', this.title))
  }

  /** What has ended it from outside, such as the deadline; undefined where nothing has. */
  stopped: Error | undefined

  /** Aborts at the deadline, or when `abort` is called. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason)
    }
    return this.#controller.signal
  }

  /** Aborts at the end, whatever ends it: for what waits for a place or a connection, which has nothing to wait for then. */
  get endSignal(): AbortSignal {
    if (this.#ending === undefined) {
      this.#ending = new AbortController()
      if (this.isOver) this.#ending.abort(this.ended)
    }
    return this.#ending.signal
  }

  /** Aborts the signal without ending anything: it is the work's choice to stop. */
  abort(reason: Error): void {
    this.#abortReason ??= reason
    this.#controller?.abort(reason)
  }

  /**
   * Sees to the deadline as well: timers of different lengths are late in any order when something keeps the process busy.
   *
   * @throws why no statement can start any more
   */
  assertOpen(): void {
    if (performance.now() < this.openUntil) return
    if (!this.isOver) this.#expire()
    const { ended } = this
    if (ended !== undefined) throw ended
  }

  /** Starts the deadline at the first use of the database. */
  startDeadline(): void {
    if (this.#timer !== undefined) return
    this.openUntil = this.#options.deadline.start()
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, this.openUntil - performance.now()))
  }

  /** Stops it while the transaction waits for a connection. @returns what starts it again */
  pauseDeadline(): () => void {
    this.#options.deadline.pause()
    clearTimeout(this.#timer)
    if (!this.isOver) this.openUntil = Infinity
    return () => {
      this.#timer = undefined
      if (!this.isOver) this.startDeadline()
    }
  }

  /**
   * Ends it from outside: the transaction rolls back, and whoever goes on using it gets the error.
   *
   * @returns false when its end has begun already
   */
  stop(error: Error): boolean {
    if (this.isOver) return false
    this.isOver = true
    this.openUntil = Number.NEGATIVE_INFINITY
    this.stopped = error
    this.abort(error)
    this.#owner.stopped()
    return true
  }

  /** Its end begins: no statement starts any more. */
  close(): void {
    clearTimeout(this.#timer)
    this.isOver = true
    this.openUntil = Number.NEGATIVE_INFINITY
    this.#ending?.abort(this.ended)
  }

  #expire(): void {
    const { telemetry, deadline } = this.#options
    telemetry.timedOut()
    const { isBeginning } = this.#owner
    const what = isBeginning ? 'had no connection that answers' : 'was still open'
    const cure = isBeginning ? 'See whether the database can be reached' : 'Do less in it'
    const { ms, leftMs } = deadline
    this.stop(
      new TransactionTimeoutError(
        `The deadline has passed: ${this.title} ${what} ${ms} ms after its first use of the database, and ` +
          `was rolled back. ${cure}, or give it a greater deadlineMs.${this.#whyLate(-leftMs)}`,
      ),
    )
  }

  /** What kept the timer from firing kept the work as well. */
  #whyLate(overMs: number): string {
    if (overMs < leastLateMs) return ''
    const writer = this.#owner.singleWriter
      ? ' A PrismaClient without a datastore, or another driver of this process, that waits for the only writer of the same file stops it: use ' +
        'datastore.client, or open that with a busy timeout of 0.'
      : ''
    return ` The process stood still for the last ${Math.round(overMs)} ms, by something synchronous.${writer}`
  }
}
