/** The log as a rebuild reads it: page by page up to a target, with its progress. */
import { WaitInterruptedError } from '../errors.js'
import type { LogPage } from '../persistence/followed-log.js'
import type { BatchLimits } from './batch-work.js'
import type { Projection } from './projection.js'
import { askedOf, type ProjectionSource, rangeOf } from './source.js'

/** How far a rebuild has come. */
export interface RebuildProgress {
  /** The position that was processed last. */
  readonly position: bigint
  /** The position that it has to reach. */
  readonly target: bigint
  /** Events that were handled. */
  readonly events: number
  /** Events handled in a second. */
  readonly rate: number
  /** About how many milliseconds are left; undefined at the beginning. */
  readonly restMs: number | undefined
}

/** What a rebuild has come to. */
export interface RebuildResult {
  /** The position that the rows are of. */
  readonly position: bigint
  /** How many events were processed. */
  readonly events: number
  /** Milliseconds that it has taken. */
  readonly durationMs: number
}

/** What is read, and who is told. */
export interface RebuildPagesOptions {
  readonly projection: Projection
  readonly source: ProjectionSource
  readonly limits: BatchLimits
  readonly onProgress?: ((progress: RebuildProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** The position to reach. */
  readonly target: bigint
  /** Where to begin, after what was processed before; default 0. */
  readonly from?: bigint
}

/** Reads on when it is asked to. */
export class RebuildPages {
  readonly #options: RebuildPagesOptions
  readonly #begun = performance.now()
  readonly #from: bigint
  #target: bigint
  #position: bigint
  #events = 0
  #asked: ReturnType<typeof rangeOf> | undefined

  constructor(options: RebuildPagesOptions) {
    this.#options = options
    this.#from = options.from ?? 0n
    this.#position = this.#from
    this.#target = options.target
  }

  /** What was processed last. */
  get position(): bigint {
    return this.#position
  }

  /** Lets it go on to a later position. */
  extendTo(target: bigint): void {
    if (target > this.#target) this.#target = target
  }

  /** @returns undefined at the target @throws `WaitInterruptedError` where it was cancelled */
  async next(): Promise<LogPage | undefined> {
    this.assertGoingOn()
    if (this.#position >= this.#target) return undefined
    const { source, projection, limits } = this.#options
    this.#asked ??= rangeOf(await askedOf(source, projection))
    const page = await source.page({ ...this.#asked, after: this.#position, limit: limits.maxEvents })
    const items = page.items.filter(({ id }) => id <= this.#target)
    const isCut = items.length < page.items.length || page.end >= this.#target || page.end <= this.#position
    return { items, end: isCut ? this.#target : page.end }
  }

  /** Tells that a page was processed. */
  moved({ items, end }: LogPage): void {
    this.#position = end
    this.#events += items.length
    const elapsedMs = performance.now() - this.#begun
    const done = Number(end - this.#from) / Math.max(1, Number(this.#target - this.#from))
    this.#options.onProgress?.({
      position: end,
      target: this.#target,
      events: this.#events,
      rate: this.#events / Math.max(0.001, elapsedMs / 1000),
      restMs: done > 0 ? elapsedMs / done - elapsedMs : undefined,
    })
  }

  /** @throws `WaitInterruptedError` where it was cancelled */
  assertGoingOn(): void {
    const { signal, projection } = this.#options
    if (signal?.aborted !== true) return
    throw new WaitInterruptedError(`The rebuild of projection ${projection.name} was cancelled.`, {
      cause: signal.reason,
    })
  }

  get result(): RebuildResult {
    return { position: this.#position, events: this.#events, durationMs: performance.now() - this.#begun }
  }
}
