/** Builds the rows of a projection anew, while it holds the leases of all its parts. */
import {
  abortSignal,
  callable,
  checkOptions,
  flag,
  milliseconds,
  type OptionTypesOf,
  text,
} from '../checked-options.js'
import { NotSupportedError, ProgrammingError } from '../errors.js'
import type { ProjectionKey, ProjectionLease } from '../persistence/projection-recorder.js'
import { BatchWork } from './batch-work.js'
import type { Projection } from './projection.js'
import {
  type Leases,
  type LeasesHost,
  RebuildPages,
  type RebuildProgress,
  type RebuildResult,
  rebuildInShadow,
  reposition,
  withLeases,
} from './shadow-rebuild.js'
import type { ProjectionSource } from './source.js'

/**
 * How rows are built anew:
 *
 * - `atomic` (default): in one transaction. Readers see the old rows until it commits, and writers go on.
 * - `in-place`: the rows are deleted, and built in batches. Readers see them grow; a rebuild that was interrupted is finished by whoever
 *   runs the projection next.
 * - `shadow`: in batches into tables beside those in use, in a schema (PostgreSQL) or database (MariaDB) that is made for it, while the
 *   projection goes on; then they are copied into those in use in one transaction. Readers see the old rows until it commits.
 */
export type RebuildWay = 'atomic' | 'in-place' | 'shadow'

/** How a rebuild is run. */
export interface RebuildOptions {
  /** Default `atomic`. */
  readonly way?: RebuildWay
  /** Called after each batch. */
  readonly onProgress?: (progress: RebuildProgress) => void
  /**
   * Cancels it: an atomic one leaves the rows as they were, one in place leaves them to whoever runs the projection next, and one in a shadow
   * leaves the shadow as well, to be resumed.
   */
  readonly signal?: AbortSignal
  /**
   * By way `shadow`: goes on with what one has built that was cancelled, or whose process has ended, instead of beginning anew. Only with the
   * same handlers: rows that are there are not built again. Without such a shadow it begins one.
   */
  readonly resume?: boolean
  /** Milliseconds that an atomic rebuild, or the last transaction of one in a shadow, may take; default 3,600,000, an hour. */
  readonly deadlineMs?: number
}

const optionTypes: OptionTypesOf<RebuildOptions> = {
  way: text, // which there are is checked where one is chosen
  onProgress: callable,
  signal: abortSignal,
  resume: flag,
  deadlineMs: milliseconds,
}

/** What a rebuild stands on. */
export interface RebuildHost extends LeasesHost {
  readonly source: ProjectionSource
}

const defaultDeadlineMs = 3_600_000

/** A transaction of so many events holds all other writers up where there is one writer. */
const mostEventsForOneWriter = 20_000n

/** Builds the rows anew. @throws what a handler throws: errors are never skipped, and nothing is put aside */
export async function rebuild(host: RebuildHost, options: RebuildOptions): Promise<RebuildResult> {
  checkOptions(`rebuild the projection ${host.projection.name}`, options, optionTypes)
  const { way = 'atomic', deadlineMs = defaultDeadlineMs, onProgress, signal } = options
  const { projection, source, limits } = host
  checkWay(projection, options)
  const target = await source.end()
  const pages = new RebuildPages({ projection, source, limits, onProgress, signal, target })
  pages.assertGoingOn()
  if (way === 'shadow') return await rebuildInShadow(host, { ...options, deadlineMs })
  if (way === 'atomic' && host.recorder.singleWriter && target > mostEventsForOneWriter) {
    throw new NotSupportedError(
      `Could not rebuild projection ${projection.name} in one transaction: its log has ${target} positions, and this database has one ` +
        "writer, so that all others would wait for it. Use way: 'in-place'.",
    )
  }
  return await withLeases(host, async (leases) => {
    if (way === 'atomic') await atomically(host, { leases, pages, deadlineMs })
    else await inPlace(host, { leases, pages, target, deadlineMs })
    return pages.result
  })
}

function checkWay({ name, empty }: Projection, { way = 'atomic', resume = false }: RebuildOptions): void {
  if (way !== 'atomic' && way !== 'in-place' && way !== 'shadow') {
    throw new NotSupportedError(
      `Could not rebuild projection ${name} by way '${String(way)}': there are 'atomic', 'in-place' and 'shadow'. ` +
        'For rows without a pause beside the old ones, give it a greater version and a model of its own.',
    )
  }
  if (resume && way !== 'shadow') {
    throw new NotSupportedError(
      `Could not resume a rebuild of projection ${name} by way '${way}': one by way 'shadow' can be resumed; one in place is finished by ` +
        'whoever runs the projection next.',
    )
  }
  if (empty === undefined) {
    throw new ProgrammingError(`Could not rebuild projection ${name}: name the models that it writes, in \`models\`.`)
  }
}

interface Building {
  readonly leases: Leases
  readonly pages: RebuildPages
  readonly deadlineMs: number
}

async function atomically(
  { recorder, projection, source }: RebuildHost,
  { leases, pages, deadlineMs }: Building,
): Promise<void> {
  const { name, version } = projection
  await recorder.together(deadlineMs, async (client) => {
    await projection.empty?.(client)
    await recorder.unpark(name, version)
    for (let page = await pages.next(); page !== undefined; page = await pages.next()) {
      const { items } = page
      const events = await source.read(items)
      const positioned = events.map((event, index) => ({ event, position: items[index]?.id }))
      await projection.apply(positioned, { log: source.name })
      pages.moved(page)
    }
    await reposition(recorder, leases, pages.position)
    await recorder.change(name, version, { status: 'live', reason: null, failedPosition: null, target: null })
  })
}

async function inPlace(
  host: RebuildHost,
  { leases, pages, target, deadlineMs }: Building & { readonly target: bigint },
): Promise<void> {
  const { recorder, projection } = host
  const { name, version } = projection
  await recorder.together(deadlineMs, async (client) => {
    await reposition(recorder, leases, 0n)
    await projection.empty?.(client)
    await recorder.unpark(name, version)
    await recorder.change(name, version, { status: 'building', target, reason: null, failedPosition: null })
  })
  const works = [...leases].map(([key, lease]) => workOn(host, key, { lease: { ...lease, position: 0n }, pages }))
  for (let page = await pages.next(); page !== undefined; page = await pages.next()) {
    for (const work of works) {
      const outcome = await work.process(page)
      if ('error' in outcome) throw outcome.error
    }
    pages.moved(page)
  }
  await recorder.change(name, version, { status: 'live', target: null })
}

function workOn(
  { projection, recorder, source, limits }: RebuildHost,
  key: ProjectionKey,
  { lease, pages }: { readonly lease: ProjectionLease; readonly pages: RebuildPages },
): BatchWork {
  const strict = { ...projection, onError: 'block' as const }
  const mayGoOn = async (): Promise<boolean> => {
    pages.assertGoingOn()
    return true
  }
  return new BatchWork(
    { projection: strict, key, recorder, source, limits: { ...limits, attempts: 1 }, mayGoOn },
    lease,
  )
}
