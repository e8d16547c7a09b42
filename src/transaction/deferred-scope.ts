/** A transaction that is begun when it is first asked for, as those of requests are: most things that a request does need none. */
import type { TransactionConnection } from './connection.js'
import type { Scope } from './scope.js'

/** Stands where a scope would stand. */
export class DeferredScope<Connection extends TransactionConnection> {
  readonly #begin: () => Scope<Connection> | undefined
  #scope: Scope<Connection> | undefined
  #isBeginning = false

  /** @param begin - called once, at the first use */
  constructor(begin: () => Scope<Connection> | undefined) {
    this.#begin = begin
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
    }
    return this.#scope
  }
}
