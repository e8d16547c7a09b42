/** The connections of a pool: who has one, who waits for one, and which of those wait for each other. */
import { OverloadedError, PoolExhaustedError } from '../errors.js'

interface Waiting {
  readonly heldAround: readonly object[]
  readonly signal: AbortSignal
}

/** How a pool is used. */
interface ConnectionPoolOptions {
  /** How many connections it can have, undefined where that is not known: it has a line of its own then. */
  readonly size: number | undefined
  /** How many may wait for one. */
  readonly maxWaiting: number
}

/** How to wait for a connection. */
interface ConnectionWait {
  /** The connections of the transactions around it, which are not given back before it ends. */
  readonly heldAround: readonly object[]
  readonly maxWaitMs: number
  /** Makes the signal that gives up waiting. */
  readonly signal: () => AbortSignal
}

/** The pool of one datastore. */
export class ConnectionPool {
  readonly #size: number | undefined
  readonly #maxWaiting: number
  readonly #line: WaitingLine
  readonly #held = new Set<object>()
  readonly #waiting = new Set<Waiting>()

  constructor({ size, maxWaiting }: ConnectionPoolOptions) {
    this.#size = size
    this.#maxWaiting = maxWaiting
    this.#line = new WaitingLine({ places: size ?? Infinity, what: 'a connection of the pool' })
  }

  /** Takes a connection out of the count, if one is left. */
  tryTake(): boolean {
    return this.#line.tryEnter()
  }

  /**
   * Waits until one is left, and takes it.
   *
   * @throws `PoolExhaustedError` when nobody would ever give one back; `OverloadedError` when too many wait, or for too long
   */
  async take({ heldAround, maxWaitMs, signal: makeSignal }: ConnectionWait): Promise<void> {
    const signal = makeSignal()
    const limits = { maxWaitMs, maxWaiting: this.#maxWaiting, signal }
    if (heldAround.length === 0) return await this.#line.enter(limits)
    const waiting: Waiting = { heldAround, signal }
    this.#waiting.add(waiting)
    try {
      if (this.#isExhausted()) throw this.#exhausted(heldAround.length)
      await this.#line.enter({ ...limits, isUrgent: true })
    } finally {
      this.#waiting.delete(waiting)
    }
  }

  /** It is not used any more. */
  giveBack(): void {
    this.#line.leave()
  }

  /** A transaction has one from here on. */
  hold(connection: object): void {
    this.#held.add(connection)
  }

  /** A transaction has it no more. */
  release(connection: object): void {
    if (this.#held.delete(connection)) this.giveBack()
  }

  #isExhausted(): boolean {
    if (this.#size === undefined || this.#held.size < this.#size) return false
    const stuck = new Set<object>()
    for (const { heldAround, signal } of this.#waiting) {
      if (!signal.aborted) for (const connection of heldAround) stuck.add(connection)
    }
    return [...this.#held].every((connection) => stuck.has(connection))
  }

  #exhausted(depth: number): PoolExhaustedError {
    const size = this.#size ?? 0 // known, where it is exhausted
    const isTooDeep = depth >= size
    const what = isTooDeep
      ? `it would be number ${depth + 1} inside of each other, and the pool has ${size}`
      : `all ${size} connections of the pool are held by ${this.#held.size} transactions that wait for another one themselves, so none would be given back`
    return new PoolExhaustedError(
      `Could not begin a transaction inside another one: ${what}. Make the pool larger than the transactions that are open ` +
        'at the same time, or use propagation "nested", which needs no connection, or tx.afterCommit().',
      { retryable: !isTooDeep },
    )
  }
}

/** What there is to wait for. */
interface WaitingLineOptions {
  /** How many can have it at a time. */
  readonly places: number
  /** What it is called in messages. */
  readonly what: string
}

/** How to wait. */
export interface WaitOptions {
  readonly maxWaitMs: number
  /** How many may wait already. */
  readonly maxWaiting: number
  /** Gives up waiting; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Whether it goes before the others, and is let in however many wait: who holds others up by waiting. */
  readonly isUrgent?: boolean
}

/** Lets in as many as there are places, first come, first served. */
export class WaitingLine {
  readonly #options: WaitingLineOptions
  readonly #waiting: Array<() => void> = []
  #taken = 0

  constructor(options: WaitingLineOptions) {
    this.#options = options
  }

  /** Takes a place if there is one. */
  tryEnter(): boolean {
    if (this.#taken >= this.#options.places) return false
    this.#taken += 1
    return true
  }

  /**
   * Waits for a place.
   *
   * @throws `OverloadedError` at once when too many wait, and after `maxWaitMs`
   */
  async enter({ maxWaitMs, maxWaiting, signal, isUrgent = false }: WaitOptions): Promise<void> {
    signal?.throwIfAborted()
    if (this.tryEnter()) return
    if (!isUrgent && this.#waiting.length >= maxWaiting) throw this.#overloaded('')
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
      }
      const enter = (): void => {
        done()
        resolve()
      }
      const giveUp = (why: () => unknown): void => {
        done()
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        const error = why()
        reject(error instanceof Error ? error : new Error('aborted', { cause: error }))
      }
      const aborted = (): void => giveUp(() => signal?.reason)
      const timer = setTimeout(() => giveUp(() => this.#overloaded(` within ${maxWaitMs} ms`)), maxWaitMs)
      signal?.addEventListener('abort', aborted, { once: true })
      if (isUrgent) this.#waiting.unshift(enter)
      else this.#waiting.push(enter)
    })
  }

  /** Gives a place back: the first in the line has it then. */
  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#taken -= 1
    else next()
  }

  #overloaded(within: string): OverloadedError {
    const { what, places } = this.#options
    return new OverloadedError(
      `The database is not reached: ${what} (${places}) was not free${within}, and ${this.#waiting.length} others wait for it. ` +
        'Hold transactions open for a shorter time, send fewer requests to this process, or make the pool larger.',
    )
  }
}
