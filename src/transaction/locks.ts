/** Who may do something now, how long others wait for it, and how long a transaction can be used at all: nothing that hangs may keep them waiting. */
import { TransactionTimeoutError } from '../errors.js'
import { closedError, type Labelled, type TransactionLabel, textOf } from './options.js'
import type { Telemetry } from './telemetry.js'

/** Lets one holder in at a time, in the order of asking. */
export class Turn {
  #isHeld = false
  readonly #waiting: Array<() => void> = []

  /** Takes the turn if nobody has it. */
  tryTake(): boolean {
    if (this.#isHeld) return false
    return (this.#isHeld = true)
  }

  /**
   * Waits for the turn. Call `end` afterwards, in a `finally`.
   *
   * @param signal - gives up waiting; the promise then rejects with the signal's reason
   */
  async take(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) throw asError(signal.reason)
    if (this.tryTake()) return
    await new Promise<void>((resolve, reject) => {
      const enter = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        const place = this.#waiting.indexOf(enter)
        if (place >= 0) this.#waiting.splice(place, 1)
        reject(asError(signal?.reason))
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.push(enter)
    })
  }

  /** Gives the turn to the one that has waited longest. Call it once for each turn. */
  end(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#isHeld = false
    else next()
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}

/** Something that is in, as far as the lock knows it. */
interface Occupant {
  /** What it was asked for from, if that is in as well. */
  readonly outer: Occupant | undefined
}

interface Request {
  readonly alone: boolean
  readonly inside: Occupant | undefined
  readonly grant: () => void
}

/** How to ask for a place. */
interface PlaceOptions {
  /** Whether nobody else may be in. */
  readonly alone: boolean
  /** The operation, which is in already, that the asking code runs inside of. */
  readonly inside: Occupant | undefined
  /** Makes the signal that gives up waiting. */
  readonly signal: () => AbortSignal
}

/**
 * Who may work in a scope: its operations side by side, or one nested scope (or flush, or commit) alone.
 *
 * First come, first served. An operation can contain others, as a query extension does: what is asked for from inside an
 * operation goes first and does not wait for that operation, nor for those around it, which could not end before. Nor does it wait
 * for operations that wait themselves to be alone for something inside of them.
 */
export class ScopeLock {
  #operations = 0
  #isTaken = false
  #waiting: Request[] = []

  /** Takes a place if one is free. Call `leave` afterwards. */
  tryEnter(alone: boolean, inside: Occupant | undefined): boolean {
    if (this.#isTaken || (inside === undefined && this.#waiting.length > 0)) return false
    if (alone && this.#operations > 0 && !this.#fitsBeside(inside)) return false
    if (alone) this.#isTaken = true
    else this.#operations += 1
    return true
  }

  /** Waits for a place; the promise rejects with the signal's reason. */
  async enter({ alone, inside, signal }: PlaceOptions): Promise<void> {
    if (!this.tryEnter(alone, inside)) await this.#wait(alone, inside, signal())
  }

  /** Gives a place back. To be called once by each who had one. @param alone - as it was asked for */
  leave(alone: boolean): void {
    if (alone) this.#isTaken = false
    else this.#operations -= 1
    if (this.#waiting.length > 0) this.#admit()
  }

  /** Whether each operation in the scope waits, directly or not, for the place that is asked for. */
  #fitsBeside(inside: Occupant | undefined): boolean {
    if (inside === undefined) return false
    const stuck = new Set<Occupant>()
    const add = (occupant: Occupant | undefined): void => {
      for (let each = occupant; each !== undefined; each = each.outer) stuck.add(each)
    }
    add(inside)
    for (const request of this.#waiting) if (request.alone) add(request.inside)
    return this.#operations <= stuck.size
  }

  async #wait(alone: boolean, inside: Occupant | undefined, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== request)
        reject(asError(signal.reason))
        this.#admit()
      }
      const request: Request = {
        alone,
        inside,
        grant: () => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        },
      }
      if (inside === undefined) this.#waiting.push(request)
      else this.#waiting.unshift(request)
      if (signal.aborted) giveUp()
      else signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#isTaken || (first.alone && this.#operations > 0 && !this.#fitsBeside(first.inside))) return
      this.#waiting.shift()
      if (first.alone) this.#isTaken = true
      else this.#operations += 1
      first.grant()
    }
  }
}

// Node's timers fire at once beyond.
const longestMs = 2_147_483_647

/**
 * Whether a promise settles within so many milliseconds, however it does. Never rejects.
 *
 * @param ms - `Infinity` for no limit
 */
export function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    // When something has kept the process busy, the timer comes before the answer that is there already.
    const limit = (): void => void setImmediate(() => resolve(false))
    const timer = ms > longestMs ? undefined : setTimeout(limit, ms)
    const settled = (): void => {
      clearTimeout(timer)
      resolve(true)
    }
    promise.then(settled, settled)
  })
}

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
  /** Milliseconds; or that of the attempt before, which goes on. */
  readonly deadline: number | Deadline
  /** Counts the deadlines that have passed. */
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
  readonly deadline: Deadline
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
    const { deadline } = options
    this.deadline = typeof deadline === 'number' ? new Deadline(deadline) : deadline
    // By the attempt before.
    if (this.deadline.hasStarted) this.startDeadline()
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
    this.openUntil = this.deadline.start()
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, this.openUntil - performance.now()))
  }

  /** Stops it while the transaction waits for a connection. @returns what starts it again */
  pauseDeadline(): () => void {
    this.deadline.pause()
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
    const { deadline } = this
    this.#options.telemetry.timedOut()
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
