/** How long a transaction can be used: until its deadline, or until its end has begun. */
import { TransactionTimeoutError } from '../errors.js'
import { closedError, type Deadline, type TransactionLabel, textOf } from './options.js'
import type { Telemetry } from './telemetry.js'

/** From when on a deadline that comes late tells that the process has stood still. */
const leastLateMs = 500

/** What a lifetime needs to know when it starts. */
export interface LifetimeOptions {
  readonly deadline: Deadline
  /** Who is told of a deadline that has passed. */
  readonly telemetry: Telemetry
  /** What the transaction is for, for messages. */
  readonly label: TransactionLabel | undefined
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
  #ended: Error | boolean = false
  #stopped: Error | undefined

  constructor(options: LifetimeOptions, owner: LifetimeOwner) {
    this.#options = options
    this.#owner = owner
  }

  /** Which transaction this is, for messages. */
  get title(): string {
    const text = textOf(this.#options.label)
    return text === undefined ? 'the transaction' : `the transaction "${text}"`
  }

  /** Why no statement can start any more, undefined while one can. */
  get ended(): Error | undefined {
    // Made when it is asked for: few transactions are used after their end.
    if (this.#ended === true) this.#ended = closedError('A statement was sent', this.title)
    return this.#ended === false ? undefined : this.#ended
  }

  /** Whether no statement can start any more. */
  get isOver(): boolean {
    return this.#ended !== false
  }

  /** What has ended it from outside, such as the deadline; undefined where nothing has. */
  get stopped(): Error | undefined {
    return this.#stopped
  }

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
    if (this.#ended === false) {
      if (performance.now() < this.#options.deadline.endsAt) return
      this.#expire()
    }
    const { ended } = this
    if (ended !== undefined) throw ended
  }

  /** Starts the deadline at the first use of the database. */
  startDeadline(): void {
    if (this.#timer !== undefined) return
    const { deadline } = this.#options
    this.#timer = setTimeout(() => this.#expire(), deadline.leftMs)
    deadline.start()
  }

  /** Stops it while the transaction waits for a connection. @returns what starts it again */
  pauseDeadline(): () => void {
    this.#options.deadline.pause()
    clearTimeout(this.#timer)
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
    if (this.#ended !== false) return false
    this.#ended = this.#stopped = error
    this.abort(error)
    this.#owner.stopped()
    return true
  }

  /** Its end begins: no statement starts any more. */
  close(): void {
    clearTimeout(this.#timer)
    if (this.#ended === false) this.#ended = true
    this.#ending?.abort(this.ended)
  }

  #expire(): void {
    const { telemetry, deadline } = this.#options
    telemetry.timedOut()
    const { isBeginning } = this.#owner
    const what = isBeginning ? 'had no connection that answers' : 'was still open'
    const cure = isBeginning ? 'See whether the database can be reached' : 'Do less in it'
    const { ms, overMs } = deadline
    this.stop(
      new TransactionTimeoutError(
        `The deadline has passed: ${this.title} ${what} ${ms} ms after its first use of the database, and ` +
          `was rolled back. ${cure}, or give it a greater deadlineMs.${this.#whyLate(overMs)}`,
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
