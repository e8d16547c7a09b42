/** A transaction that begins when it is first asked for, as those of requests do: most things that a request does need none. */
import type { TransactionConnection } from './connection.js'
import type { Scope } from './scope.js'

/** Stands where a scope would stand. One for each request, so it keeps functions to none: who extends it says how to begin. */
export abstract class DeferredScope<Connection extends TransactionConnection> {
  #scope: Scope<Connection> | undefined
  #isBeginning = false
  #hasBegun = false

  /** Called at the first use. */
  protected abstract begin(): Scope<Connection>

  /** Called right after that, when the scope can be had. */
  protected abstract hasBegun(scope: Scope<Connection>): void

  /** Whether nothing can ask for it any more. */
  protected abstract readonly isPast: boolean

  /** Whether it may still be begun: whoever waits for the end of all transactions waits for it. */
  get isExpected(): boolean {
    return !this.#hasBegun && !this.isPast
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
      this.#scope = this.begin()
      this.hasBegun(this.#scope)
    } finally {
      this.#isBeginning = false
      this.#hasBegun = true
    }
    return this.#scope
  }
}
