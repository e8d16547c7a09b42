/** A transaction that is begun when it is first asked for, as those of requests are: most things that a request does need none. */
import type { TransactionConnection } from './connection.js'
import type { Scope } from './scope.js'

/** Stands where a scope would stand. */
export class DeferredScope<Connection extends TransactionConnection> {
  readonly #begin: () => Scope<Connection> | undefined
  #scope: Scope<Connection> | undefined
  #isBeginning = false
  #isExpected = true
  readonly #onLeft: () => void

  /**
   * @param begin - called once, at the first use
   * @param onLeft - called once, when it is begun or will not be
   */
  constructor(begin: () => Scope<Connection> | undefined, onLeft: () => void) {
    this.#begin = begin
    this.#onLeft = onLeft
  }

  /** Whether it may still be begun: whoever waits for the end of all transactions waits for it. */
  get isExpected(): boolean {
    return this.#isExpected
  }

  /** Nobody waits for it any more. */
  leave(): void {
    if (!this.#isExpected) return
    this.#isExpected = false
    this.#onLeft()
  }

  /** The scope, where it has been asked for. */
  get begun(): Scope<Connection> | undefined {
    return this.#scope
  }

  /** The scope, begun now if need be; undefined for what runs while it begins, such as who listens to that. */
  scope(): Scope<Connection> | undefined {
    if (this.#scope !== undefined || this.#isBeginning) return this.#scope
    this.#isBeginning = true
    try {
      this.#scope = this.#begin()
    } finally {
      this.#isBeginning = false
      this.leave()
    }
    return this.#scope
  }
}
