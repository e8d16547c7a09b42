/** What passes by a transaction, or outlives it: how it is told to who has to mend it. */
import { EscapeError } from '../errors.js'
import { isUnderTest } from '../surroundings.js'

/** `throw`: it is refused, and a commit that it is found at fails; `warn`: it goes on, with a process warning; `off`: it just goes on. */
export type OnEscape = 'warn' | 'throw' | 'off'

/** `throw` in tests, where it is found; `warn` elsewhere, where it must not break what worked. */
export function defaultOnEscape(): OnEscape {
  return isUnderTest() ? 'throw' : 'warn'
}

/** The same warning is shown once in this time, and no more than so many different ones, so that logs are not flooded. */
const quietMs = 60_000
const mostWarnings = 20

/** Tells the escapes of one datastore. */
export class Escapes {
  readonly #onEscape: OnEscape
  readonly #now: () => number
  readonly #shown = new Set<string>()
  #quietUntil = Number.NEGATIVE_INFINITY
  #hidden = 0

  /** @param now - milliseconds on a clock that does not go back */
  constructor(onEscape: OnEscape, now: () => number = () => performance.now()) {
    this.#onEscape = onEscape
    this.#now = now
  }

  /** Whether calls are to be watched. */
  get areWatched(): boolean {
    return this.#onEscape !== 'off'
  }

  /** Whether calls are to remember where they were made, which costs more than watching them. */
  get areLocated(): boolean {
    return this.#onEscape === 'throw'
  }

  /**
   * @throws `EscapeError` where escapes are refused
   */
  report(message: string): void {
    if (this.#onEscape === 'throw') throw new EscapeError(message)
    if (this.#onEscape === 'warn') this.#warn(message)
  }

  #warn(message: string): void {
    const now = this.#now()
    const isNewTime = now >= this.#quietUntil
    const before = isNewTime ? this.#hidden : 0
    if (isNewTime) {
      this.#shown.clear()
      this.#hidden = 0
      this.#quietUntil = now + quietMs
    }
    if (this.#shown.has(message) || this.#shown.size >= mostWarnings) {
      this.#hidden += 1
      return
    }
    this.#shown.add(message)
    const note = before === 0 ? '' : ` (${before} more warnings of this kind were not shown.)`
    process.emitWarning(`${message}${note}`, { code: 'ES_ESCAPE' })
  }
}
