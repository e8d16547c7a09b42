/** What has been saved in a scope and is not written yet. */

/** Runs one piece of work on the transaction's connection. */
export type Run<Connection> = <T>(work: (connection: Connection) => Promise<T>) => Promise<T>

/** Pending work for one table. */
export interface PendingWork<Connection> {
  readonly empty: boolean
  /** Writes everything, or rejects with nothing of it stored. */
  flush(run: Run<Connection>): Promise<void>
  /** Forgets everything. */
  clear(): void
}

/** All pending work of a scope, in the order in which its tables were first used. */
export class Buffers<Connection> {
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

  find<W extends PendingWork<Connection>>(key: object): W | undefined {
    // Each key is used with one kind of work only, by the recorder that is the key.
    return this.#byKey.get(key) as W | undefined
  }

  add(key: object, work: PendingWork<Connection>): void {
    this.#byKey.set(key, work)
  }

  /** Writes everything. When one table fails, nothing stays pending for any. */
  async flush(run: Run<Connection>): Promise<void> {
    try {
      for (const work of this.#byKey.values()) if (!work.empty) await work.flush(run)
    } catch (error) {
      this.clear()
      throw error
    }
  }

  clear(): void {
    for (const work of this.#byKey.values()) work.clear()
  }
}
