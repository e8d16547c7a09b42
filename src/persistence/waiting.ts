/** What those who follow a log wait by: an alarm, which may ring early, rests that grow, and those who want to be woken when something is recorded. */

const firstMs = 10
const defaultLongestMs = 1_250

/** Waits one at a time; a ring before a wait ends that at once. */
export class Alarm {
  #isRung = false
  #end: (() => void) | undefined

  /** Ends the wait under way, or the next one. */
  ring(): void {
    this.#isRung = true
    this.#end?.()
  }

  /** Waits so many milliseconds, or until it rings. @returns whether it has rung */
  async wait(ms: number): Promise<boolean> {
    if (!this.#isRung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#end = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#end = undefined
    }
    const hasRung = this.#isRung
    this.#isRung = false
    return hasRung
  }
}

/** Rests until it is woken, or the time is over: short at first, then longer and longer. */
export class Rest {
  readonly #alarm = new Alarm()
  readonly #longestMs: number
  #nextMs = firstMs

  /** @param longestMs - of the rests after the first few; default 1,250 */
  constructor(longestMs: number = defaultLongestMs) {
    this.#longestMs = longestMs
  }

  /** Ends the rest under way, or the next one before it begins. */
  wake(): void {
    this.#alarm.ring()
  }

  /** The next rest is a short one. */
  shorten(): void {
    this.#nextMs = firstMs
  }

  /** @returns whether it was woken */
  async take(): Promise<boolean> {
    const wasWoken = await this.#alarm.wait(this.#nextMs)
    // Who was woken and finds nothing looks again soon: a smaller id may still be on its way.
    this.#nextMs = wasWoken ? firstMs : Math.min(this.#longestMs, this.#nextMs * 2)
    return wasWoken
  }
}

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
