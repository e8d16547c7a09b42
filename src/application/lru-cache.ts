/** A map that forgets what was not used for longest. */

/** An entry that was taken out. */
export type Evicted<Key, Value> = readonly [Key, Value]

/**
 * Keeps entries up to a number, those used last.
 *
 * @typeParam Value - anything but null and undefined, which stand for no value
 */
export class LRUCache<Key, Value> {
  readonly #maxSize: number
  // A Map keeps the order in which keys were set: the first one was not used for longest.
  readonly #entries = new Map<Key, Value>()

  /** @param maxSize - how many entries to keep; 0, the default, for any number */
  constructor(maxSize: number = 0) {
    this.#maxSize = maxSize
  }

  /** How many there are. */
  get size(): number {
    return this.#entries.size
  }

  /** The value under a key, which counts as used now. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key)
    if (value !== undefined) this.#use(key, value)
    return value
  }

  /** @returns the entry that had to go for it */
  put(key: Key, value: Value | null | undefined): Evicted<Key, Value> | undefined {
    if (value === null || value === undefined) return undefined
    this.#use(key, value)
    if (this.#maxSize === 0 || this.#entries.size <= this.#maxSize) return undefined
    for (const oldest of this.#entries) {
      this.#entries.delete(oldest[0])
      return oldest
    }
    return undefined
  }

  /** @returns the value that was there */
  evict(key: Key): Value | undefined {
    const value = this.#entries.get(key)
    this.#entries.delete(key)
    return value
  }

  #use(key: Key, value: Value): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
  }
}
