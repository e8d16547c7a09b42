/** How many events to read at once, so that their states fit into memory whatever their size. */
import type { StoredEvent } from './stored-event.js'

const firstLimit = 10
const greatestLimit = 500
const wantedBytes = 4 * 1024 * 1024

/** Begins with few, and doubles while pages are full and small. */
export class PageSize {
  #limit = firstLimit

  /** How many to ask for. */
  get limit(): number {
    return this.#limit
  }

  /** Learns from the page that was read with this limit. */
  adapt(page: readonly StoredEvent[]): void {
    if (page.length === 0) return
    const bytes = page.reduce((sum, { state }) => sum + state.byteLength, 0)
    const fitting = Math.max(1, Math.floor((page.length * wantedBytes) / Math.max(1, bytes)))
    const grown = page.length < this.#limit ? this.#limit : this.#limit * 2
    this.#limit = Math.min(grown, fitting, greatestLimit)
  }
}
