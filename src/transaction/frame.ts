/** What encloses a scope's work in the database: a whole transaction, or a savepoint in one. */
import type { TransactionConnection } from './connection.js'
import type { Leave } from './locks.js'
import type { Session } from './session.js'

/** How a scope begins and ends in the database. `open`, `commit` and `rollback` are called at most once, `open` only before the first statement. */
export interface Frame {
  open(): Promise<void>
  commit(): Promise<void>
  /** @param reason - why, for those who trace it */
  rollback(reason?: unknown): Promise<void>
  /** After its end: what is around it goes on. */
  leave(): void
}

/** What a savepoint needs of the scope around it. */
export interface EnclosingScope<Connection extends TransactionConnection> {
  readonly isOver: boolean
  flushInTurn(): Promise<void>
  runInTurn<T>(work: (connection: Connection) => Promise<T>): Promise<T>
  doom(error: unknown): void
}

/** Where a nested scope is. */
export interface Place<Parent> {
  readonly parent: Parent
  /** Of its savepoint. */
  readonly name: string
  readonly leaveParent: Leave
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

  leave(): void {}
}

/** A savepoint, set at the nested scope's first statement. It keeps its parent to itself for as long as it is open. */
export class SavepointFrame<Connection extends TransactionConnection> implements Frame {
  readonly #parent: EnclosingScope<Connection>
  readonly #name: string
  readonly #leaveParent: Leave
  #set = false

  constructor({ parent, name, leaveParent }: Place<EnclosingScope<Connection>>) {
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
  }

  async rollback(): Promise<void> {
    // What has ended around it has undone this, too.
    if (!this.#set || this.#parent.isOver) return
    try {
      await this.#parent.runInTurn((connection) => connection.rollbackTo(this.#name))
    } catch (error) {
      // Some failures make the server end the whole transaction, and its savepoints with it.
      if (!this.#parent.isOver) this.#parent.doom(error)
    }
  }

  leave(): void {
    this.#leaveParent()
  }
}
