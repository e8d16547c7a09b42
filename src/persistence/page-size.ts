/** How many events to read at once: about 4 MiB of states, once their size is known. */
import type { StoredEvent } from './stored-event.js'
import { sizeOf } from './text-event.js'

const wantedBytes = 4 * 1024 * 1024

/** Doubles while pages are full and small, and shrinks when they are not small. */
export class PageSize {
  readonly #greatest: number
  #limit: number

  /** @param greatest - never more events than these */
  constructor(first: number, greatest: number) {
    this.#limit = first
    this.#greatest = greatest
  }

  /** How many to ask for. */
  get limit(): number {
    return this.#limit
  }

  /** Learns from the page that was read with this limit. */
  adapt(page: readonly StoredEvent[]): void {
    if (page.length === 0) return
    const bytes = page.reduce((sum, event) => sum + sizeOf(event), 0)
    const fitting = Math.max(1, Math.floor((page.length * wantedBytes) / Math.max(1, bytes)))
    const grown = page.length < this.#limit ? this.#limit : this.#limit * 2
    this.#limit = Math.min(grown, fitting, this.#greatest)
  }
}
