/**
 * What both ways of a rebuild are made of, and the one in a shadow: it builds rows beside those in use while these go on, then puts them in their place at once.
 */
import { LeaseLostError, NotSupportedError, ProgrammingError, WaitInterruptedError } from '../errors.js'
import type { LogPage } from '../persistence/followed-log.js'
import type {
  ProjectionKey,
  ProjectionLease,
  ProjectionRecorder,
  ProjectionShadow,
} from '../persistence/projection-recorder.js'
import { type BatchLimits, BatchWork } from './batch-work.js'
import type { Projection } from './projection.js'
import { askedOf, type ProjectionSource, rangeOf } from './source.js'

/** What it stands on. */
export interface ShadowRebuildHost extends LeasesHost {
  readonly source: ProjectionSource
}

/** How it is run. */
export interface ShadowRebuildOptions {
  readonly onProgress?: (progress: RebuildProgress) => void
  readonly signal?: AbortSignal
  readonly resume?: boolean
  /** Milliseconds that the last transaction may take. */
  readonly deadlineMs: number
}

/** Whoever writes faster than this reads is met with the leases in hand. */
const mostRounds = 20

/** Builds the rows anew. @throws what a handler throws: the shadow is removed then, since what is in it may be wrong, too */
export async function rebuildInShadow(host: ShadowRebuildHost, options: ShadowRebuildOptions): Promise<RebuildResult> {
  const { projection, source, owner, limits } = host
  const { name, version } = projection
  const shadow = await shadowOf(host)
  try {
    const key = { name, version, upstream: source.name, partition: 0 }
    const { leaseMs } = limits
    const lease = await shadow.open(key, { owner, leaseMs, resumes: options.resume === true })
    const endRenewal = renewing(shadow.recorder, owner, name, limits)
    try {
      const result = await new ShadowRebuild({ host, options, shadow, key, lease }).run()
      await shadow.drop().catch((error: unknown) => warnOfLeftShadow(shadow, error))
      return result
    } catch (error) {
      if (mayGoOn(error, host)) await shadow.recorder.release(key, lease.epoch).catch(() => undefined)
      else await shadow.drop().catch((failure: unknown) => warnOfLeftShadow(shadow, failure))
      throw error
    } finally {
      endRenewal()
    }
  } finally {
    await shadow.close()
  }
}

/** Whether what was built so far is good: it was cancelled, somebody else has taken it, or the database is away. */
function mayGoOn(error: unknown, { recorder }: ShadowRebuildHost): boolean {
  return error instanceof WaitInterruptedError || error instanceof LeaseLostError || recorder.mayPass(error)
}

async function shadowOf({ recorder, projection }: ShadowRebuildHost): Promise<ProjectionShadow> {
  const models = projection.models.length > 0 ? projection.models : projection.rows?.models()
  if (models === undefined) {
    throw new ProgrammingError(
      `Could not rebuild projection ${projection.name}: name the models that it writes, in \`models\`.`,
    )
  }
  const shadow = await recorder.shadow?.(projection.name, models)
  if (shadow !== undefined) return shadow
  throw new NotSupportedError(
    `Could not rebuild projection ${projection.name} in a shadow: its rows are kept in one place. Use way: 'in-place'.`,
  )
}

interface ShadowRebuildParts {
  readonly host: ShadowRebuildHost
  readonly options: ShadowRebuildOptions
  readonly shadow: ProjectionShadow
  readonly key: ProjectionKey
  readonly lease: ProjectionLease
}

class ShadowRebuild {
  readonly #parts: ShadowRebuildParts
  readonly #work: BatchWork

  constructor(parts: ShadowRebuildParts) {
    this.#parts = parts
    this.#work = this.#newWork()
  }

  async run(): Promise<RebuildResult> {
    const { host, options, lease } = this.#parts
    const { projection, source, limits } = host
    const { onProgress, signal } = options
    const target = await source.end()
    const pages = new RebuildPages({ projection, source, limits, onProgress, signal, target, from: lease.position })
    for (let round = 0; round < mostRounds; round += 1) {
      await this.#build(pages)
      const end = await source.end()
      if (end - pages.position <= BigInt(limits.maxEvents)) break
      pages.extendTo(end)
    }
    await withLeases(host, async (leases) => {
      // Who has waited for a position of the rows in use finds it in the new ones: what is final stays so, unless the log was restored.
      pages.extendTo(await source.end())
      await this.#build(pages)
      await this.#replace(leases, pages.position)
    })
    return pages.result
  }

  async #build(pages: RebuildPages): Promise<void> {
    for (let page = await pages.next(); page !== undefined; page = await pages.next()) {
      const outcome = await this.#work.process(page)
      if ('error' in outcome) throw outcome.error
      pages.moved(page)
    }
    pages.assertGoingOn()
  }

  async #replace(leases: Leases, position: bigint): Promise<void> {
    const { host, options, shadow, key, lease } = this.#parts
    const { recorder, projection } = host
    const { name, version } = projection
    await recorder.together(options.deadlineMs, async () => {
      await shadow.replaceRows()
      if (!(await shadow.recorder.reposition(key, lease.epoch, position))) throw takenOver(key, shadow)
      await recorder.unpark(name, version)
      await recorder.change(name, version, { status: 'live', reason: null, failedPosition: null, target: null })
      await reposition(recorder, leases, position)
    })
  }

  /** One part takes all events, however many parts the projection has. */
  #newWork(): BatchWork {
    const { host, shadow, key, lease } = this.#parts
    const { projection, source, limits } = host
    const inShadow: Projection = {
      ...projection,
      partitions: 1,
      onError: 'block',
      apply: async (...batch) => await shadow.within(async () => await projection.apply(...batch)),
    }
    const { signal } = this.#parts.options
    // The next page finds out that it was cancelled.
    const mayGoOn = async (): Promise<boolean> => signal?.aborted !== true
    const once = { ...limits, attempts: 1 }
    return new BatchWork({ projection: inShadow, key, recorder: shadow.recorder, source, limits: once, mayGoOn }, lease)
  }
}

function takenOver({ name }: ProjectionKey, shadow: ProjectionShadow): LeaseLostError {
  return new LeaseLostError(
    `Could not rebuild projection ${name}: another rebuild has taken over what is in ${shadow.name}. The rows in use are as they were.`,
  )
}

function warnOfLeftShadow({ name }: ProjectionShadow, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error)
  process.emitWarning(`The rebuild is over, and ${name} could not be removed: the next rebuild does that. ${reason}`, {
    code: 'ES_PROJECTION_FAILED',
  })
}

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

/** The part of a log that a rebuild reads, with the listener for its progress. */
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
