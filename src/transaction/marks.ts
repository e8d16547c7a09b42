/** The savepoints that a guest sets inside a scope. */
import type { TransactionConnection } from './connection.js'
import type { Doom } from './doom.js'

/** Runs one piece of work on the scope's connection when it is its turn. */
type Execute<Connection> = (work: (connection: Connection) => Promise<void>) => Promise<void>

/** Those of one scope, outermost first. */
export class Marks<Connection extends TransactionConnection> {
  readonly #execute: Execute<Connection>
  readonly #doom: Doom
  readonly #names: string[] = []

  /** @param doom - healed where a guest goes back to before the failure */
  constructor(execute: Execute<Connection>, doom: Doom) {
    this.#execute = execute
    this.#doom = doom
  }

  /** How many are set. */
  get depth(): number {
    return this.#names.length
  }

  async set(name: string): Promise<void> {
    await this.#execute((connection) => connection.savepoint(name))
    this.#names.push(name)
  }

  /** Goes back to a savepoint, which is gone then: what failed since is healed. */
  async returnTo(name: string): Promise<void> {
    await this.#execute((connection) => connection.rollbackTo(name))
    const depth = this.#names.lastIndexOf(name)
    if (depth < 0) return
    this.#names.length = depth
    this.#doom.heal(depth)
  }

  /** Forgets a savepoint; one that was returned to is gone already. */
  async remove(name: string): Promise<void> {
    const depth = this.#names.lastIndexOf(name)
    if (depth < 0) return
    await this.#execute((connection) => connection.release(name))
    this.#names.length = depth
  }
}
