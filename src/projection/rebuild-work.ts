/** What both ways of a rebuild are made of: the leases of all parts in its hands, and the log page by page up to a target, with its progress. */
import { LeaseLostError, WaitInterruptedError } from '../errors.js'
import type { LogPage } from '../persistence/followed-log.js'
import type {
  ProjectionKey,
  ProjectionLease,
  ProjectionRecorder,
  ProjectionStatus,
} from '../persistence/projection-recorder.js'
import type { BatchLimits } from './batch-work.js'
import type { Projection } from './projection.js'
import { askedOf, type ProjectionSource, rangeOf } from './source.js'

/** Whose leases they are to be. */
export interface LeasesHost {
  readonly projection: Projection
  readonly keys: readonly ProjectionKey[]
  readonly recorder: ProjectionRecorder
  readonly limits: BatchLimits
  readonly owner: string
  /** Lets the parts of this process rest. @returns what lets them go on */
  hold(): Promise<() => void>
}

/** The leases, by the parts. */
export type Leases = ReadonlyMap<ProjectionKey, ProjectionLease>

/**
 * Takes the leases from whoever has them, for the time of some work: a batch that is under way elsewhere is finished first, and the next one
 * finds that out.
 *
 * @throws `LeaseLostError` where a greater version is there
 */
export async function withLeases<T>(host: LeasesHost, work: (leases: Leases) => Promise<T>): Promise<T> {
  const release = await host.hold()
  const leases = new Map<ProjectionKey, ProjectionLease>()
  const { recorder, keys, owner, limits, projection } = host
  const endRenewal = renewing(recorder, owner, projection.name, limits)
  try {
    for (const key of keys) {
      await recorder.add(key, projection.partitions)
      const lease = await recorder.seize(key, owner, limits.leaseMs)
      if (lease === undefined) {
        throw new LeaseLostError(`Could not rebuild projection ${key.name}: a greater version of it is there.`)
      }
      leases.set(key, lease)
    }
    return await work(leases)
  } finally {
    endRenewal()
    for (const [key, { epoch }] of leases) await recorder.release(key, epoch).catch(() => undefined)
    release()
  }
}

/** Keeps a lease in force. @returns what ends that */
export function renewing(
  recorder: ProjectionRecorder,
  owner: string,
  name: string,
  { leaseMs, onRenewed }: { readonly leaseMs: number; readonly onRenewed?: () => void },
): () => void {
  const timer = setInterval(() => {
    recorder
      .renew(owner, [name], leaseMs)
      .then(onRenewed)
      .catch(() => undefined)
  }, leaseMs / 3)
  return () => clearInterval(timer)
}

/**
 * Sets the positions, as the last that a transaction does: others can see until then that the leases are in force, and a process that has lost one stores
 * nothing.
 *
 * @throws `LeaseLostError`
 */
export async function reposition(recorder: ProjectionRecorder, leases: Leases, position: bigint): Promise<void> {
  for (const [key, { epoch }] of leases) {
    if (await recorder.reposition(key, epoch, position)) continue
    throw new LeaseLostError(
      `Could not rebuild projection ${key.name}: another runner has taken it meanwhile. Its rows are as they were.`,
    )
  }
}

/** What a projection does after its rebuild: one that was paused stays so. */
export async function statusAfter(
  recorder: ProjectionRecorder,
  { name, version }: Projection,
): Promise<ProjectionStatus> {
  return (await recorder.wanted(name, version)) === 'paused' ? 'paused' : 'live'
}

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
