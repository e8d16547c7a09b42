/** Requests that wait until projections show what an earlier one has stored: the rules, once for all frameworks. */
import type { IncomingHttpHeaders } from 'node:http'
import { milliseconds, type OptionTypesOf, oneOf } from '../src/checked-options.js'
import {
  isEventSourcingError,
  PositionError,
  ProgrammingError,
  type ProjectionRunner,
  ProjectionStaleError,
} from '../src/index.js'
import { awaitedPosition, formatPositions, preferredWaitMs } from './positions.js'

/** How requests wait for projections. */
export interface UpToDateOptions {
  /** How long a request waits at the most, in milliseconds; default 1,000. A client may ask for less by `Prefer: wait=2` (RFC 7240). */
  readonly waitMs?: number
  /**
   * What a request gets whose projections are not there in time: `answer` (default), what they show now, with the header
   * `es-position` of how far they are; or `refuse`, 503 with Retry-After.
   */
  readonly onStale?: 'answer' | 'refuse'
}

/** What the options of a wait are. */
export const upToDateOptionTypes: OptionTypesOf<UpToDateOptions> = {
  waitMs: milliseconds,
  onStale: oneOf('answer', 'refuse'),
}

/** What one request waits for. */
export interface UpToDateRequest extends UpToDateOptions {
  readonly runner: ProjectionRunner
  readonly names: readonly string[]
  readonly headers: IncomingHttpHeaders
  /** Aborts when the client goes away. */
  readonly signal?: AbortSignal
}

const defaultWaitMs = 1_000

/** These say that a projection is not there in time. */
const staleCodes = new Set(['ES_WAIT_TIMEOUT', 'ES_PROJECTION_BLOCKED'])

/**
 * Waits for what a request asks for. No connection is held meanwhile.
 *
 * @returns the header `es-position` of the answer, where the projections are not there in time and it is sent all the same
 * @throws `PositionError` for what is no position, and for one that the log does not have
 * @throws `ProjectionStaleError` where a late answer is refused
 */
export async function waitUntilUpToDate(request: UpToDateRequest): Promise<string | undefined> {
  const { runner, names, headers, signal, waitMs = defaultWaitMs, onStale = 'answer' } = request
  const awaited = awaitedPosition(headers, runner.upstream)
  if (awaited === undefined) return undefined
  const { position, isOfCookie } = awaited
  const end = await runner.end()
  // After a restore a browser may still have the cookie.
  if (position > end && isOfCookie) return undefined
  if (position > end) {
    throw new PositionError(
      `Could not wait for position ${position} of ${runner.upstream}: the log ends at ${end}. Send a position that an answer has given.`,
    )
  }
  const timeoutMs = Math.min(waitMs, preferredWaitMs(headers) ?? waitMs)
  const options = { timeoutMs, ...(signal === undefined ? {} : { signal }) }
  try {
    await Promise.all(names.map(async (name) => await runner.wait(name, position, options)))
    return undefined
  } catch (error) {
    if (!isEventSourcingError(error) || !staleCodes.has(error.code)) throw error
    const reached = await runner.positionOf(names)
    if (onStale === 'answer') return formatPositions([[runner.upstream, reached]])
    throw new ProjectionStaleError(
      `Could not show position ${position} of ${runner.upstream} within ${timeoutMs} ms: ${names.join(', ')} ` +
        `came to ${reached}. Send the request again.`,
      { cause: error },
    )
  }
}

/** @throws `ProgrammingError` for projections that the runner does not have, and for what is no runner, at registration */
export function assertProjections(runner: ProjectionRunner, names: readonly string[]): void {
  if (typeof runner?.wait !== 'function') {
    throw new ProgrammingError('Could not let requests wait for projections: no ProjectionRunner was given.')
  }
  const known = runner.projections.map(({ name }) => name)
  const unknown = names.find((name) => !known.includes(name))
  if (unknown === undefined && names.length > 0) return
  throw new ProgrammingError(
    names.length === 0
      ? 'Could not let requests wait for projections: none was named.'
      : `Could not let requests wait for projection '${unknown}': the runner has ${known.join(', ') || 'none'}.`,
  )
}

/** What a health check answers: 200 while every projection goes on, else 503. */
export function projectionHealth(runner: ProjectionRunner): { readonly status: number; readonly body: string } {
  const isHealthy = runner.healthy()
  const projections = runner.stats
  // Positions are bigints.
  const body = JSON.stringify({ healthy: isHealthy, projections }, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  )
  return { status: isHealthy ? 200 : 503, body }
}
