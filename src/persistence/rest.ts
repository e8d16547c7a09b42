/** The time between two looks at a log that had nothing new: short at first, then longer and longer. */

const firstMs = 10
const defaultLongestMs = 1_250

/** Rests until it is woken, or the time is over. */
export class Rest {
  readonly #longestMs: number
  #nextMs = firstMs
  #isWoken = false
  #end: (() => void) | undefined

  /** @param longestMs - of the rests after the first few; default 1,250 */
  constructor(longestMs: number = defaultLongestMs) {
    this.#longestMs = longestMs
  }

  /** Ends the rest under way, or the next one before it begins. */
  wake(): void {
    this.#isWoken = true
    this.#end?.()
  }

  /** The next rest is a short one. */
  shorten(): void {
    this.#nextMs = firstMs
  }

  /** @returns whether it was woken */
  async take(): Promise<boolean> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#nextMs)
        this.#end = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#end = undefined
    }
    // Who was woken and finds nothing looks again soon: a smaller id may still be on its way.
    const wasWoken = this.#isWoken
    this.#nextMs = wasWoken ? firstMs : Math.min(this.#longestMs, this.#nextMs * 2)
    this.#isWoken = false
    return wasWoken
  }
}
