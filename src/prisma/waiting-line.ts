/** A line in front of something that few can have at a time: it is bounded, and who has waited for too long leaves it. */
import { OverloadedError } from '../errors.js'

/** What there is to wait for. */
export interface WaitingLineOptions {
  /** How many can have it at a time. */
  readonly places: number
  /** What it is called in messages. */
  readonly what: string
}

/** How to wait. */
export interface WaitOptions {
  readonly maxWaitMs: number
  /** How many may wait already. */
  readonly maxWaiting: number
  /** Gives up waiting; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Whether it goes before the others, and is let in however many wait: who holds others up by waiting. */
  readonly isUrgent?: boolean
}

/** Lets in as many as there are places, first come, first served. */
export class WaitingLine {
  readonly #options: WaitingLineOptions
  readonly #waiting: Array<() => void> = []
  #taken = 0

  constructor(options: WaitingLineOptions) {
    this.#options = options
  }

  /** Takes a place if there is one. */
  tryEnter(): boolean {
    if (this.#taken >= this.#options.places) return false
    this.#taken += 1
    return true
  }

  /**
   * Waits for a place.
   *
   * @throws `OverloadedError` at once when too many wait, and after `maxWaitMs`
   */
  async enter({ maxWaitMs, maxWaiting, signal, isUrgent = false }: WaitOptions): Promise<void> {
    signal?.throwIfAborted()
    if (this.tryEnter()) return
    if (!isUrgent && this.#waiting.length >= maxWaiting) throw this.#overloaded('')
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
      }
      const enter = (): void => {
        done()
        resolve()
      }
      const giveUp = (why: () => unknown): void => {
        done()
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        const error = why()
        reject(error instanceof Error ? error : new Error('aborted', { cause: error }))
      }
      const aborted = (): void => giveUp(() => signal?.reason)
      const timer = setTimeout(() => giveUp(() => this.#overloaded(` within ${maxWaitMs} ms`)), maxWaitMs)
      signal?.addEventListener('abort', aborted, { once: true })
      if (isUrgent) this.#waiting.unshift(enter)
      else this.#waiting.push(enter)
    })
  }

  /** Gives a place back: the first in the line has it then. */
  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#taken -= 1
    else next()
  }

  #overloaded(within: string): OverloadedError {
    const { what, places } = this.#options
    return new OverloadedError(
      `The database is not reached: ${what} (${places}) was not free${within}, and ${this.#waiting.length} others wait for it. ` +
        'Hold transactions open for a shorter time, send fewer requests to this process, or make the pool larger.',
    )
  }
}
