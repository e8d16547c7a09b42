/** What waits for the end of a unit of work: hooks, listeners, and what has been saved and is not written yet. */
import type { Statements, TransactionConnection } from './connection.js'
import { outsideOfTransactions } from './context.js'

/** Those of one scope. */
export class EndListeners {
  readonly #onExpired: Array<(error: Error) => void> = []
  readonly #onEnded: Array<() => void> = []

  /** Calls back once the deadline has passed and the rollback is done. */
  onExpired(listener: (error: Error) => void): void {
    this.#onExpired.push(listener)
  }

  /** Calls back once the scope has ended, however it did. */
  onEnded(listener: () => void): void {
    this.#onEnded.push(listener)
  }

  /** Tells that it was ended from outside. */
  expired(error: Error): void {
    for (const listener of this.#onExpired) listener(error)
  }

  /** Tells that it has ended. */
  ended(): void {
    for (const listener of this.#onEnded) listener()
  }
}

/** A function to run after the end; a promise is awaited before the next one runs. */
type Hook = () => unknown

/** Collects hooks while a transaction is open. */
export class Hooks {
  readonly #afterCommit: Hook[] = []
  readonly #afterRollback: Hook[] = []
  #settled: () => void = nothing

  /** Adds a function for the case that the transaction commits. */
  afterCommit(hook: Hook): void {
    this.#afterCommit.push(hook)
  }

  /** Adds a function for the case that the transaction rolls back. */
  afterRollback(hook: Hook): void {
    this.#afterRollback.push(hook)
  }

  /** Calls back once the transaction has ended and the hooks for that have run. */
  onSettled(listener: () => void): void {
    this.#settled = listener
  }

  /** Takes over the hooks of a nested scope that has ended well: the outer transaction decides now. */
  adopt(nested: Hooks): void {
    this.#afterCommit.push(...nested.#afterCommit)
    this.#afterRollback.push(...nested.#afterRollback)
  }

  /** Runs the commit hooks in order. None can fail the caller: the data is stored, whatever a hook does. */
  async committed(): Promise<void> {
    if (this.#afterCommit.length > 0) await runAll(this.#afterCommit, 'afterCommit')
    this.#settled()
  }

  /** Runs the rollback hooks in order. */
  async rolledBack(): Promise<void> {
    if (this.#afterRollback.length > 0) await runAll(this.#afterRollback, 'afterRollback')
    this.#settled()
  }

  /** Runs none: nobody knows how the transaction has ended. */
  skipped(): void {
    this.#settled()
  }
}

function nothing(): void {}

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
  /** How many tables have something pending. */
  readonly tables: number
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
  readonly empty: boolean
  /** How many events wait to be written. */
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
    for (const work of this.#byKey.values()) if (!work.empty) return false
    return true
  }

  /** How many tables have something pending, and how many events that is in all of them. */
  get pending(): { readonly tables: number; readonly events: number } {
    let [tables, events] = [0, 0]
    for (const work of this.#byKey.values()) {
      if (work.empty) continue
      tables += 1
      events += work.eventCount
    }
    return { tables, events }
  }

  /** Whether one statement writes everything. */
  get areOneStatement(): boolean {
    let count = 0
    for (const work of this.#byKey.values()) {
      if (work.empty) continue
      count += 1
      if (count > 1 || !work.isOneStatement) return false
    }
    return count === 1
  }

  /** Writes that one statement outside of a transaction: it is the commit as well. */
  async writeAlone(run: Run<Statements<Connection>>): Promise<void> {
    const written: Written[] = []
    await this.#writeAll(run, written)
    for (const each of written) each.stored()
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

  /** Writes everything, or rejects with nothing of it stored or pending. */
  async flush(host: FlushHost<Connection>): Promise<void> {
    const written: Written[] = []
    try {
      // A single table needs no savepoint: its statement stores all or nothing.
      if (host.tables < 2) await this.#writeAll(host.run, written)
      else await this.#writeTogether(host, written)
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

  async #writeTogether(host: FlushHost<Connection>, written: Written[]): Promise<void> {
    const { savepoint } = host
    await host.run((connection) => connection.savepoint(savepoint))
    try {
      await this.#writeAll(host.run, written)
    } catch (error) {
      // After some failures, as a deadlock, there is no savepoint any more. What has failed tells more than that.
      await host.run((connection) => connection.rollbackTo(savepoint)).catch(() => host.doom(error))
      throw error
    }
    await host.run((connection) => connection.release(savepoint))
  }

  async #writeAll(run: Run<Statements<Connection>>, written: Written[]): Promise<void> {
    for (const work of this.#byKey.values()) if (!work.empty) written.push(await work.flush(run))
  }
}
