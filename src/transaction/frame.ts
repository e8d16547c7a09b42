/** What encloses a scope's work in the database: a whole transaction, or a savepoint in one. */
import type { TransactionConnection } from './connection.js'
import type { Leave } from './scope-lock.js'
import type { Session } from './session.js'

/** How a scope begins and ends in the database. Each member is called at most once, `open` only before the first statement. */
export interface Frame {
  open(): Promise<void>
  commit(): Promise<void>
  /** @param reason - why, for those who trace it */
  rollback(reason?: unknown): Promise<void>
}

/** What a savepoint needs of the scope around it. */
export interface EnclosingScope<Connection extends TransactionConnection> {
  readonly session: Session<Connection>
  flushInTurn(): Promise<void>
  runInTurn<T>(work: (connection: Connection) => Promise<T>): Promise<T>
  doom(error: unknown): void
}

/** The whole transaction: begun by the session at its first statement. */
export class TransactionFrame<Connection extends TransactionConnection> implements Frame {
  readonly #session: Session<Connection>

  constructor(session: Session<Connection>) {
    this.#session = session
  }

  async open(): Promise<void> {}

  async commit(): Promise<void> {
    await this.#session.commit()
  }

  async rollback(reason?: unknown): Promise<void> {
    await this.#session.rollback(reason)
  }
}

/** A savepoint, set at the nested scope's first statement. It keeps its parent to itself for as long as it is open. */
export class SavepointFrame<Connection extends TransactionConnection> implements Frame {
  readonly #parent: EnclosingScope<Connection>
  readonly #name: string
  readonly #leaveParent: Leave
  #set = false

  constructor(parent: EnclosingScope<Connection>, name: string, leaveParent: Leave) {
    this.#parent = parent
    this.#name = name
    this.#leaveParent = leaveParent
  }

  async open(): Promise<void> {
    // What is pending outside must not be undone together with this scope, so it is written before the savepoint.
    await this.#parent.flushInTurn()
    await this.#parent.runInTurn((connection) => connection.savepoint(this.#name))
    this.#set = true
  }

  async commit(): Promise<void> {
    if (this.#set) await this.#parent.runInTurn((connection) => connection.release(this.#name))
    this.#leaveParent()
  }

  async rollback(): Promise<void> {
    const { session } = this.#parent
    try {
      if (this.#set && session.ended === undefined) {
        await this.#parent.runInTurn((connection) => connection.rollbackTo(this.#name))
      }
    } catch (error) {
      // Some failures make the server end the whole transaction, and its savepoints with it.
      this.#parent.doom(error)
    } finally {
      this.#leaveParent()
    }
  }
}
