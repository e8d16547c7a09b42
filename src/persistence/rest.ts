/** The time between two looks at a log that had nothing new: short at first, then longer and longer. */

const firstMs = 10
const longestMs = 1_250

/** Rests until it is woken, or the time is over. */
export class Rest {
  #nextMs = firstMs
  #isWoken = false
  #end: (() => void) | undefined

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
    this.#nextMs = wasWoken ? firstMs : Math.min(longestMs, this.#nextMs * 2)
    this.#isWoken = false
    return wasWoken
  }
}
