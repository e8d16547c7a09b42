/** What the transactions of a datastore have come to in the last minutes: its counts, noted now and then. */
import type { DatastoreStats } from '../transaction/telemetry.js'

/** The counts at one moment. */
export interface ActivitySample {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly stats: DatastoreStats
}

const everyMs = 5_000
const keptMs = 300_000

/** Notes the counts, which costs nothing; it keeps no process alive. */
export class Activity {
  readonly #datastore: { readonly stats: DatastoreStats }
  readonly #samples: ActivitySample[] = []
  readonly #timer: NodeJS.Timeout

  constructor(datastore: { readonly stats: DatastoreStats }) {
    this.#datastore = datastore
    this.#timer = setInterval(() => this.#note(), everyMs).unref()
    this.#note()
  }

  /** Of the last five minutes, the oldest first, with one of now. */
  get samples(): readonly ActivitySample[] {
    return [...this.#samples, this.#sample]
  }

  /** Ends it. */
  close(): void {
    clearInterval(this.#timer)
  }

  get #sample(): ActivitySample {
    return { at: Date.now(), stats: this.#datastore.stats }
  }

  #note(): void {
    this.#samples.push(this.#sample)
    if (this.#samples.length > keptMs / everyMs) this.#samples.shift()
  }
}
