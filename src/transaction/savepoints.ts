/** The failure after which a scope can only roll back, and the savepoints of guests: going back to one of them heals it. */
import { RollbackOnlyError } from '../errors.js'
import type { TransactionConnection } from './connection.js'

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
