/** A first-come-first-served lock between the async tasks of one process. */

/** Ends a turn; a second call does nothing. */
export type EndTurn = () => void

/** Lets one holder in at a time, in the order of asking. */
export class Turn {
  #held = false
  readonly #waiting: Array<() => void> = []

  /** Whether somebody has the turn now. */
  get held(): boolean {
    return this.#held
  }

  /** Takes the turn if nobody has it. */
  tryTake(): EndTurn | undefined {
    if (this.#held) return undefined
    this.#held = true
    return this.#end()
  }

  /**
   * Waits for the turn.
   *
   * @param signal - gives up waiting; the promise then rejects with the signal's reason
   * @returns the function that ends the turn: call it in a `finally`
   */
  take(signal?: AbortSignal): Promise<EndTurn> {
    if (signal?.aborted) return Promise.reject(asError(signal.reason))
    const free = this.tryTake()
    if (free !== undefined) return Promise.resolve(free)
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve(this.#end())
      }
      const leave = (): void => {
        const place = this.#waiting.indexOf(enter)
        if (place >= 0) this.#waiting.splice(place, 1)
        reject(asError(signal?.reason))
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.push(enter)
    })
  }

  #end(): EndTurn {
    let ended = false
    return () => {
      if (ended) return
      ended = true
      const next = this.#waiting.shift()
      if (next === undefined) this.#held = false
      else next()
    }
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}
