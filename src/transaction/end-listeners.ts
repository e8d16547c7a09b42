/** Who is told of the end of a unit of work. */

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
