/** Builds the rows of a projection anew, while it holds the leases of all its parts. */
import { LeaseLostError, NotSupportedError, ProgrammingError, WaitInterruptedError } from '../errors.js'
import type { LogPage } from '../persistence/followed-log.js'
import type { ProjectionKey, ProjectionLease, ProjectionRecorder } from '../persistence/projection-recorder.js'
import { type BatchLimits, BatchWork } from './batch-work.js'
import type { Projection } from './projection.js'
import type { ProjectionSource } from './source.js'

/**
 * How rows are built anew:
 *
 * - `atomic` (default): in one transaction. Readers see the old rows until it commits, and writers go on.
 * - `in-place`: the rows are deleted, and built in batches. Readers see them grow; a rebuild that was interrupted is finished by whoever
 *   runs the projection next.
 */
export type RebuildWay = 'atomic' | 'in-place'

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

/** How a rebuild is run. */
export interface RebuildOptions {
  /** Default `atomic`. */
  readonly way?: RebuildWay
  /** Called after each batch. */
  readonly onProgress?: (progress: RebuildProgress) => void
  /** Cancels it: an atomic one leaves the rows as they were, one in place leaves them to whoever runs the projection next. */
  readonly signal?: AbortSignal
  /** Milliseconds that an atomic rebuild may take; default 3,600,000, an hour. */
  readonly deadlineMs?: number
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

/** What a rebuild stands on. */
export interface RebuildHost {
  readonly projection: Projection
  readonly keys: readonly ProjectionKey[]
  readonly recorder: ProjectionRecorder
  readonly source: ProjectionSource
  readonly limits: BatchLimits
  readonly owner: string
}

const defaultDeadlineMs = 3_600_000

/** A transaction of so many events holds all other writers up where there is one writer. */
const mostEventsForOneWriter = 20_000n

/** Builds the rows anew. @throws what a handler throws: errors are never skipped, and nothing is put aside */
export async function rebuild(host: RebuildHost, options: RebuildOptions): Promise<RebuildResult> {
  const { way = 'atomic', signal } = options
  const { name } = host.projection
  if (way !== 'atomic' && way !== 'in-place') {
    throw new NotSupportedError(
      `Could not rebuild projection ${name} by way '${String(way)}': there are 'atomic', and 'in-place'. ` +
        'For rows without a pause beside the old ones, give it a greater version and a model of its own.',
    )
  }
  if (host.projection.empty === undefined) {
    throw new ProgrammingError(`Could not rebuild projection ${name}: name the models that it writes, in \`models\`.`)
  }
  if (signal?.aborted === true) throw cancelled(host)
  const target = await host.source.end()
  if (way === 'atomic' && host.recorder.singleWriter && target > mostEventsForOneWriter) {
    throw new NotSupportedError(
      `Could not rebuild projection ${name} in one transaction: its log has ${target} positions, and this database has one ` +
        "writer, so that all others would wait for it. Use way: 'in-place'.",
    )
  }
  const leases = await seizeAll(host)
  const renewal = setInterval(() => {
    host.recorder.renew(host.owner, [name], host.limits.leaseMs).catch(() => undefined)
  }, host.limits.leaseMs / 3)
  try {
    const run = new RebuildRun(host, options, target)
    return way === 'atomic' ? await run.atomically(leases) : await run.inPlace(leases)
  } finally {
    clearInterval(renewal)
    for (const [key, lease] of leases) await host.recorder.release(key, lease.epoch).catch(() => undefined)
  }
}

type Leases = ReadonlyMap<ProjectionKey, ProjectionLease>

/** Takes the leases from whoever has them: a batch that is under way elsewhere is finished first, and the next one finds that out. */
async function seizeAll({ recorder, keys, owner, limits, projection }: RebuildHost): Promise<Leases> {
  const leases = new Map<ProjectionKey, ProjectionLease>()
  for (const key of keys) {
    await recorder.add(key, projection.partitions)
    const lease = await recorder.seize(key, owner, limits.leaseMs)
    if (lease === undefined) {
      throw new LeaseLostError(`Could not rebuild projection ${key.name}: a greater version of it is there.`)
    }
    leases.set(key, lease)
  }
  return leases
}

class RebuildRun {
  readonly #host: RebuildHost
  readonly #options: RebuildOptions
  readonly #target: bigint
  readonly #begun = performance.now()
  #position = 0n
  #events = 0

  constructor(host: RebuildHost, options: RebuildOptions, target: bigint) {
    this.#host = host
    this.#options = options
    this.#target = target
  }

  async atomically(leases: Leases): Promise<RebuildResult> {
    const { recorder, projection, source } = this.#host
    const { deadlineMs = defaultDeadlineMs } = this.#options
    const { name, version } = projection
    await recorder.together(deadlineMs, async (client) => {
      await projection.empty?.(client)
      await recorder.unpark(name, version)
      for (let page = await this.#nextPage(); page !== undefined; page = await this.#nextPage()) {
        const events = await source.read(page.items)
        await projection.apply(events.map((event, index) => ({ event, position: page?.items[index]?.id })))
        this.#moved(page)
      }
      // Last, so that others can see meanwhile that the lease is in force. Who has lost it stores nothing.
      for (const [key, { epoch }] of leases) {
        if (!(await recorder.reposition(key, epoch, this.#target))) throw lost(key)
      }
      await recorder.change(name, version, { status: 'live', reason: null, failedPosition: null, target: null })
    })
    return this.#result()
  }

  async inPlace(leases: Leases): Promise<RebuildResult> {
    const { recorder, projection } = this.#host
    const { name, version } = projection
    await recorder.together(this.#options.deadlineMs ?? defaultDeadlineMs, async (client) => {
      for (const [key, { epoch }] of leases) if (!(await recorder.reposition(key, epoch, 0n))) throw lost(key)
      await projection.empty?.(client)
      await recorder.unpark(name, version)
      await recorder.change(name, version, { status: 'building', target: this.#target, reason: null })
    })
    const works = [...leases].map(([key, lease]) => this.#workOn(key, { ...lease, position: 0n }))
    for (let page = await this.#nextPage(); page !== undefined; page = await this.#nextPage()) {
      for (const work of works) {
        const outcome = await work.process(page)
        if ('error' in outcome) throw outcome.error
      }
      this.#moved(page)
    }
    await recorder.change(name, version, { status: 'live', failedPosition: null, target: null })
    return this.#result()
  }

  #workOn(key: ProjectionKey, lease: ProjectionLease): BatchWork {
    const { projection, recorder, source, limits } = this.#host
    const strict = { ...projection, onError: 'block' as const }
    const mayGoOn = async (): Promise<boolean> => {
      this.#assertGoingOn()
      return true
    }
    return new BatchWork(
      { projection: strict, key, recorder, source, limits: { ...limits, attempts: 1 }, mayGoOn },
      lease,
    )
  }

  async #nextPage(): Promise<LogPage | undefined> {
    this.#assertGoingOn()
    if (this.#position >= this.#target) return undefined
    const { source, projection, limits } = this.#host
    const topics = projection.topics === undefined ? undefined : new Set(projection.topics)
    const page = await source.page({ after: this.#position, limit: limits.maxEvents, topics })
    const items = page.items.filter(({ id }) => id <= this.#target)
    const isCut = items.length < page.items.length || page.end >= this.#target || page.end <= this.#position
    return { items, end: isCut ? this.#target : page.end }
  }

  #moved({ items, end }: LogPage): void {
    this.#position = end
    this.#events += items.length
    const elapsedMs = performance.now() - this.#begun
    const done = Number(end) / Math.max(1, Number(this.#target))
    this.#options.onProgress?.({
      position: end,
      target: this.#target,
      events: this.#events,
      rate: this.#events / Math.max(0.001, elapsedMs / 1000),
      restMs: done > 0 ? elapsedMs / done - elapsedMs : undefined,
    })
  }

  #assertGoingOn(): void {
    if (this.#options.signal?.aborted === true) throw cancelled(this.#host, this.#options.signal)
  }

  #result(): RebuildResult {
    return { position: this.#target, events: this.#events, durationMs: performance.now() - this.#begun }
  }
}

function cancelled({ projection }: RebuildHost, signal?: AbortSignal): WaitInterruptedError {
  return new WaitInterruptedError(`The rebuild of projection ${projection.name} was cancelled.`, {
    cause: signal?.reason,
  })
}

function lost({ name }: ProjectionKey): LeaseLostError {
  return new LeaseLostError(
    `Could not rebuild projection ${name}: another runner has taken it meanwhile. Its rows are as they were.`,
  )
}
