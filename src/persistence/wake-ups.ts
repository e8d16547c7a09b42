/** Tells those who follow a log that something was recorded. */

/** Who wants to be told. */
export class WakeUps {
  readonly #listeners = new Set<() => void>()

  /** Whether nobody wants to be told. */
  get empty(): boolean {
    return this.#listeners.size === 0
  }

  /** @returns what takes the listener away again */
  add(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Tells everyone. A listener must not throw. */
  wake(): void {
    for (const listener of this.#listeners) listener()
  }
}
