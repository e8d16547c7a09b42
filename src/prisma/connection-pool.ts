/** The connections of a pool: who has one, who waits for one, and which of those wait for each other. */
import { PoolExhaustedError } from '../errors.js'
import { WaitingLine } from './waiting-line.js'

interface Waiting {
  readonly heldAround: readonly object[]
  readonly signal: AbortSignal
}

/** How a pool is used. */
export interface ConnectionPoolOptions {
  /** How many connections it can have, undefined where that is not known: it has a line of its own then. */
  readonly size: number | undefined
  /** How many may wait for one. */
  readonly maxWaiting: number
}

/** How to wait for a connection. */
export interface ConnectionWait {
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
