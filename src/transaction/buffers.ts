/** What has been saved in a scope and is not written yet. */
import type { Statements, TransactionConnection } from './connection.js'

/** Runs one piece of work on the transaction's connection. */
export type Run<Connection> = <T>(work: (connection: Connection) => Promise<T>) => Promise<T>

/** What a flush needs of its scope. */
export interface FlushHost<Connection> {
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

  get empty(): boolean {
    return this.pendingCount === 0
  }

  /** How many tables have something pending. */
  get pendingCount(): number {
    let count = 0
    for (const work of this.#byKey.values()) if (!work.empty) count += 1
    return count
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

  /** How many events are pending, in all tables. */
  get eventCount(): number {
    let count = 0
    for (const work of this.#byKey.values()) count += work.eventCount
    return count
  }

  find<W extends PendingWork<Connection>>(key: object): W | undefined {
    // Each key is used with one kind of work only, by the recorder that is the key.
    return this.#byKey.get(key) as W | undefined
  }

  /** That under the key, made where there is none. */
  of<W extends PendingWork<Connection>>(key: object, create: () => W): W {
    const known = this.find<W>(key)
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
      if (this.pendingCount < 2) await this.#writeAll(host.run, written)
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
