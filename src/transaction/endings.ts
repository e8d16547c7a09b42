/**
 * What decides about the end of a unit of work, and what waits for it: a failure, which going back to a savepoint of a guest heals;
 * hooks and listeners; what has been saved and is not written yet.
 */
import { RollbackOnlyError } from '../errors.js'
import type { Statements, TransactionConnection } from './connection.js'
import { outsideOfTransactions } from './context.js'

const failedStatement =
  'The transaction can only roll back: a statement in it failed, and the database cannot commit what came before. ' +
  'Let that error propagate, or run the statement that may fail in a nested transaction.'

/** The first failure that nothing has healed yet. */
export class Failure {
  #failure: { readonly error: unknown; readonly depth: number; readonly message: string } | undefined
  #forced: string | undefined
  /** Whether there is one, so that nothing can be committed. Like the next one a field, as each commit asks; only this class writes it. */
  isThere = false
  /** Whether the end is a rollback that fails nobody. */
  isQuiet = false

  /**
   * @param depth - how many guest savepoints were open: going back to one of them heals
   * @param message - why it can only roll back
   */
  record(error: unknown, depth: number, message: string = failedStatement): void {
    this.#failure ??= { error, depth, message }
    this.isThere = true
  }

  /** The caller wants a rollback. @param why - completes "The transaction was rolled back: "; the first one counts */
  force(why: string = 'rollbackOnly() was called on it.'): void {
    this.#forced ??= why
    this.isThere = true
    this.isQuiet = false
  }

  /** The caller wants a rollback that is no failure. */
  forceQuietly(): void {
    this.isQuiet = this.#forced === undefined
  }

  /** A guest went back to the savepoint at this depth. */
  heal(depth: number): void {
    if (this.#failure === undefined || this.#failure.depth <= depth) return
    this.#failure = undefined
    this.isThere = this.#forced !== undefined
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

/** A function to run after the end; a promise is awaited before the next one runs. */
type Hook = () => unknown

/** What runs once the end of a scope has come. Whoever has something to add pushes it while the scope is open. */
export class Hooks {
  /** Called back as soon as the transaction has committed, before the hooks for that: these do not throw. */
  readonly onCommitted: Array<() => void> = []
  /** Run in the case that the transaction commits. */
  readonly afterCommit: Hook[] = []
  /** Run in the case that the transaction rolls back. */
  readonly afterRollback: Hook[] = []
  /** Called back once the transaction has ended and the hooks for that have run. */
  settled: (() => void) | undefined

  /** Takes over the hooks of a nested scope that has ended well: the outer transaction decides now. */
  adopt(nested: Hooks): void {
    this.onCommitted.push(...nested.onCommitted)
    this.afterCommit.push(...nested.afterCommit)
    this.afterRollback.push(...nested.afterRollback)
  }

  /** Runs the commit hooks in order, where there are any. None can fail the caller: the data is stored, whatever a hook does. */
  committed(): Promise<void> | undefined {
    for (const listener of this.onCommitted) listener()
    if (this.afterCommit.length > 0) return this.#runCommitted()
    this.settled?.()
    return undefined
  }

  async #runCommitted(): Promise<void> {
    await runAll(this.afterCommit, 'afterCommit')
    this.settled?.()
  }

  /** Runs the rollback hooks in order. */
  async rolledBack(): Promise<void> {
    if (this.afterRollback.length > 0) await runAll(this.afterRollback, 'afterRollback')
    this.settled?.()
  }

  /** Runs none: nobody knows how the transaction has ended. */
  skipped(): void {
    this.settled?.()
  }
}

async function runAll(hooks: readonly Hook[], name: string): Promise<void> {
  for (const hook of hooks) {
    try {
      await outsideOfTransactions(hook)
    } catch (error) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
      process.emitWarning(`A function given to ${name} failed, which changes nothing that is stored. ${reason}`, {
        code: 'ES_HOOK_FAILED',
      })
    }
  }
}

/** Runs one piece of work on the transaction's connection. */
export type Run<Connection> = <T>(work: (connection: Connection) => Promise<T>) => Promise<T>

/** What a flush needs of its scope. */
interface FlushHost<Connection> {
  readonly run: Run<Connection>
  /** A name for the savepoint that keeps several tables together. */
  readonly savepoint: string
  /** Called when a part of the flush cannot be undone alone. */
  doom(error: unknown): void
}

/** Tells those who have saved something what has become of it, once that is known for all tables of a flush. */
export interface Written {
  stored(): void
  lost(): void
}

/** Pending work for one table. */
export interface PendingWork<Connection extends TransactionConnection> {
  /** How many events wait to be written; 0 where nothing is pending. */
  readonly eventCount: number
  /** Whether something is to be done before it is written. */
  readonly needsPreparation: boolean
  /** Does that, and writes all that is pending with it: outside of the turn of the flush, in a part of the scope. */
  prepare(): Promise<void>
  /** Whether all of it is written by one statement, which stores all or nothing also outside of a transaction. */
  readonly isOneStatement: boolean
  /** Writes everything, or rejects with nothing of it stored. */
  flush(run: Run<Statements<Connection>>): Promise<Written>
  /** Forgets everything. */
  clear(): void
}

/** All pending work of a scope, in the order in which its tables were first used. */
export class Buffers<Connection extends TransactionConnection> {
  readonly #byKey = new Map<object, PendingWork<Connection>>()

  /** Whether nothing is pending. */
  get empty(): boolean {
    for (const work of this.#byKey.values()) if (work.eventCount > 0) return false
    return true
  }

  /** What is pending, table by table. */
  get unwritten(): Array<PendingWork<Connection>> {
    return [...this.#byKey.values()].filter((work) => work.eventCount > 0)
  }

  find<W extends PendingWork<Connection>>(key: object): W | undefined {
    // Each key is used with one kind of work only, by the recorder that is the key.
    return this.#byKey.get(key) as W | undefined
  }

  /** That under the key, made where there is none. */
  of<W extends PendingWork<Connection>>(key: object, create: () => W): W {
    const known = this.#byKey.get(key) as W | undefined // as in `find`
    if (known !== undefined) return known
    const work = create()
    this.#byKey.set(key, work)
    return work
  }

  /** Writes all that is `unwritten`, or rejects with nothing of it stored or pending. */
  async flush(unwritten: ReadonlyArray<PendingWork<Connection>>, host: FlushHost<Connection>): Promise<void> {
    const written: Written[] = []
    try {
      // A single table needs no savepoint: its statement stores all or nothing.
      const together = unwritten.length > 1 ? host.savepoint : undefined
      if (together !== undefined) await host.run((connection) => connection.savepoint(together))
      try {
        for (const work of unwritten) written.push(await work.flush(host.run))
      } catch (error) {
        if (together !== undefined) {
          // After some failures, as a deadlock, there is no savepoint any more. What has failed tells more than that.
          await host.run((connection) => connection.rollbackTo(together)).catch(() => host.doom(error))
        }
        throw error
      }
      if (together !== undefined) await host.run((connection) => connection.release(together))
    } catch (error) {
      for (const each of written) each.lost()
      this.clear()
      throw error
    }
    for (const each of written) each.stored()
  }

  get needsPreparation(): boolean {
    for (const work of this.#byKey.values()) if (work.needsPreparation) return true
    return false
  }

  /** Prepares what needs that, or rejects with nothing stored or pending. */
  async prepare(): Promise<void> {
    try {
      for (const work of this.#byKey.values()) if (work.needsPreparation) await work.prepare()
    } catch (error) {
      this.clear()
      throw error
    }
  }

  clear(): void {
    for (const work of this.#byKey.values()) work.clear()
  }
}
