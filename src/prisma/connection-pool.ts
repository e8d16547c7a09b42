/** Which connections of a pool are held by transactions, and which of those wait for another one. */
import { PoolExhaustedError } from '../errors.js'

interface Waiting {
  readonly heldAround: readonly object[]
  readonly signal: AbortSignal
}

/** The pool of one datastore, as far as its transactions go. */
export class ConnectionPool {
  /** How many connections it can have, undefined where that is not known. */
  readonly #size: number | undefined
  readonly #held = new Set<object>()
  readonly #waiting = new Set<Waiting>()

  constructor(size: number | undefined) {
    this.#size = size
  }

  /** A transaction has a connection. */
  hold(connection: object): void {
    this.#held.add(connection)
  }

  /** It is given back. */
  giveBack(connection: object): void {
    this.#held.delete(connection)
  }

  /**
   * A transaction waits for a connection.
   *
   * @param heldAround - the connections of the transactions around it, which are not given back before it ends
   * @param makeSignal - makes the signal that gives up waiting
   * @returns what to call when it waits no more
   * @throws `PoolExhaustedError` when nobody would ever give one back
   */
  wait(heldAround: readonly object[], makeSignal: () => AbortSignal): () => void {
    if (heldAround.length === 0) return nothing
    const waiting: Waiting = { heldAround, signal: makeSignal() }
    this.#waiting.add(waiting)
    if (this.#isExhausted()) {
      this.#waiting.delete(waiting)
      throw this.#exhausted(heldAround.length)
    }
    return () => this.#waiting.delete(waiting)
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

/**
 * How many connections the pool of a driver can have.
 *
 * @param pool - of node-postgres, whose options are there to read, or of the MariaDB connector, which tells it as text only
 */
export function poolSizeOf(pool: unknown): number | undefined {
  if (typeof pool !== 'object' || pool === null) return undefined
  if ('options' in pool && typeof pool.options === 'object' && pool.options !== null && 'max' in pool.options) {
    return typeof pool.options.max === 'number' ? pool.options.max : undefined
  }
  const told = pool as { toString(): string } // every object has one
  const limit = /\blimit=(\d+)/.exec(told.toString())?.[1]
  return limit === undefined ? undefined : Number(limit)
}

function nothing(): void {}
