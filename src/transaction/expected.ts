/** Those of whom a transaction may still come. */

/** What knows whether it is expected. */
interface Expectable {
  readonly isExpected: boolean
}

/** So many that are past may be kept. */
const fewest = 4

/**
 * Asks now and then whether they are past, so that nobody has to tell: a listener for each request would cost more than this, and
 * Node does not tell of all ends.
 */
export class Expected {
  #all: Expectable[] = []
  #limit = fewest

  add(one: Expectable): void {
    this.#all.push(one)
    if (this.#all.length > this.#limit) this.#forgetPast()
  }

  /** Whether there are any. */
  get any(): boolean {
    this.#forgetPast()
    return this.#all.length > 0
  }

  #forgetPast(): void {
    this.#all = this.#all.filter(({ isExpected }) => isExpected)
    // So each is asked twice on average, however many there are.
    this.#limit = Math.max(fewest, 2 * this.#all.length)
  }
}
