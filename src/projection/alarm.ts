/** A wait that can be ended early. */

/** Waits one at a time; a ring before a wait ends that at once. */
export class Alarm {
  #isRung = false
  #end: (() => void) | undefined

  /** Ends the wait under way, or the next one. */
  ring(): void {
    this.#isRung = true
    this.#end?.()
  }

  /** Waits so many milliseconds, or until it rings. */
  async wait(ms: number): Promise<void> {
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
    this.#isRung = false
  }
}
