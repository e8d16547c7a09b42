/** Remembers the failure after which a scope can only roll back. */
import { RollbackOnlyError } from '../errors.js'

const failedStatement =
  'The transaction can only roll back: a statement in it failed, and the database cannot commit what came before. ' +
  'Let that error propagate, or run the statement that may fail in a nested transaction.'

/** The first failure that nothing has healed yet. */
export class Doom {
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
