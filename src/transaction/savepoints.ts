/** What encloses a scope's work in the database, and the failure that spoils it: going back to a savepoint heals it. */
import { RollbackOnlyError } from '../errors.js'
import type { TransactionConnection } from './connection.js'
import type { Leave } from './locks.js'
import type { Session } from './session.js'

const failedStatement =
  'The transaction can only roll back: a statement in it failed, and the database cannot commit what came before. ' +
  'Let that error propagate, or run the statement that may fail in a nested transaction.'

/** The first failure that nothing has healed yet. */
export class Failure {
  #failure: { readonly error: unknown; readonly depth: number; readonly message: string } | undefined
  #forced: string | undefined
  #isQuiet = false

  /**
   * @param depth - how many guest savepoints were open: going back to one of them heals
   * @param message - why it can only roll back
   */
  record(error: unknown, depth: number, message: string = failedStatement): void {
    this.#failure ??= { error, depth, message }
  }

  /** The caller wants a rollback. @param why - completes "The transaction was rolled back: "; the first one counts */
  force(why: string): void {
    this.#forced ??= why
  }

  /** The caller wants a rollback that is no failure. */
  forceQuietly(): void {
    this.#isQuiet = true
  }

  /** Whether the end is a rollback that fails nobody. */
  get isQuiet(): boolean {
    return this.#isQuiet && this.#forced === undefined
  }

  /** A guest went back to the savepoint at this depth. */
  heal(depth: number): void {
    if (this.#failure !== undefined && this.#failure.depth > depth) this.#failure = undefined
  }

  /** @throws `RollbackOnlyError` with the failure as cause */
  assertCommittable(): void {
    if (this.#failure !== undefined) {
      throw new RollbackOnlyError(this.#failure.message, { cause: this.#failure.error })
    }
    if (this.#forced !== undefined) throw new RollbackOnlyError(`The transaction was rolled back: ${this.#forced}`)
  }
}

/** Runs one piece of work on the scope's connection when it is its turn. */
type Execute<Connection> = (work: (connection: Connection) => Promise<void>) => Promise<void>

/** Those of one scope, outermost first. */
export class Savepoints<Connection extends TransactionConnection> {
  readonly #execute: Execute<Connection>
  readonly #failure: Failure
  readonly #names: string[] = []

  /** @param failure - healed where a guest goes back to before the failure */
  constructor(execute: Execute<Connection>, failure: Failure) {
    this.#execute = execute
    this.#failure = failure
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
    this.#failure.heal(depth)
  }

  /** Forgets a savepoint; one that was returned to is gone already. */
  async remove(name: string): Promise<void> {
    const depth = this.#names.lastIndexOf(name)
    if (depth < 0) return
    await this.#execute((connection) => connection.release(name))
    this.#names.length = depth
  }
}

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
interface EnclosingScope<Connection extends TransactionConnection> {
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
