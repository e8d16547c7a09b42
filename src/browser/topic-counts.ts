/** How many events of each topic there are, counted now and then: counting reads the whole log. */

/** The events of one topic. */
export interface TopicCount {
  readonly topic: string
  readonly events: number
  /** How many streams begin with one of them. */
  readonly streams: number
}

/** What was counted. */
export interface CountedTopics {
  /** Undefined where nobody can count them. */
  readonly topics: readonly TopicCount[] | undefined
  readonly countedAt: Date
}

const freshMs = 10_000
/** Counting takes at most this part of the time. */
const mostWork = 1 / 20
const patienceMs = 250

/** Counts again when somebody asks and the last count is old, beside the answer. */
export class TopicCounts {
  readonly #count: () => Promise<readonly TopicCount[] | undefined>
  #counted: CountedTopics | undefined
  #counting: Promise<CountedTopics> | undefined
  #freshUntil = 0

  constructor(count: () => Promise<readonly TopicCount[] | undefined>) {
    this.#count = count
  }

  /** What was counted last, however old; undefined where the first count takes its time. */
  async soon(): Promise<CountedTopics | undefined> {
    const counting = this.#refreshed()
    if (this.#counted !== undefined || counting === undefined) return this.#counted
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, patienceMs, undefined)))
    try {
      return await Promise.race([counting, patience])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The same, and waits for the first count. */
  async now(): Promise<CountedTopics | undefined> {
    const counting = this.#refreshed()
    return this.#counted ?? (await counting)
  }

  #refreshed(): Promise<CountedTopics> | undefined {
    if (performance.now() < this.#freshUntil) return this.#counting
    this.#counting ??= this.#again()
    // Who asks later is told of a failure by a count of his own.
    this.#counting.catch(() => undefined)
    return this.#counting
  }

  async #again(): Promise<CountedTopics> {
    const startedAt = performance.now()
    try {
      this.#counted = { topics: await this.#count(), countedAt: new Date() }
      const tookMs = performance.now() - startedAt
      this.#freshUntil = performance.now() + Math.max(freshMs, tookMs / mostWork)
      return this.#counted
    } finally {
      this.#counting = undefined
    }
  }
}
