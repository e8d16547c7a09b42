/** Builds the rows of a projection beside those in use, in batches, while these go on; then puts them in their place at once. */
import { LeaseLostError, NotSupportedError, ProgrammingError, WaitInterruptedError } from '../errors.js'
import type { ProjectionKey, ProjectionLease, ProjectionShadow } from '../persistence/projection-recorder.js'
import { BatchWork } from './batch-work.js'
import type { Projection } from './projection.js'
import {
  type Leases,
  type LeasesHost,
  RebuildPages,
  type RebuildProgress,
  type RebuildResult,
  renewing,
  reposition,
  statusAfter,
  withLeases,
} from './rebuild-work.js'
import type { ProjectionSource } from './source.js'

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
      // Who has waited for a position of the rows in use finds it in the new ones.
      for (const { position } of leases.values()) pages.extendTo(position)
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
      const status = await statusAfter(recorder, projection)
      await recorder.change(name, version, { status, reason: null, failedPosition: null, target: null })
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
