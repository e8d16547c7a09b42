/** Requests that wait until projections show what an earlier one has stored, by the positions of logs: the rules, once for all frameworks. */
import type { IncomingHttpHeaders } from 'node:http'
import { milliseconds, type OptionTypesOf, oneOf } from '../src/checked-options.js'
import {
  isEventSourcingError,
  PositionError,
  ProgrammingError,
  type ProjectionRunner,
  ProjectionStaleError,
} from '../src/index.js'

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
interface UpToDateRequest extends UpToDateOptions {
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

/** A response says by it what its request has stored; also the name of the cookie that repeats it. */
export const positionHeader = 'es-position'

/** A request says by it what it wants to see. */
const awaitedHeader = 'es-wait-for'

/** For how many seconds a browser keeps the cookie: longer than a redirect takes, and than projections usually need. */
const cookieSeconds = 10

/** More logs than any request can wait for; a longer list is no list that answers have given. */
const mostPositions = 100

/** The greatest id that a database has. */
export const greatestPosition = 9_223_372_036_854_775_807n

/** As `TrainingSchool/4711, Shop/12`. */
export function formatPositions(positions: Iterable<readonly [string, bigint]>): string {
  return [...positions].map(([log, position]) => `${encodeURIComponent(log)}/${position}`).join(', ')
}

/** The cookie that gives the positions back with the next request, such as the one that a redirect leads to. */
export function positionCookie(positions: string): string {
  return `${positionHeader}=${encodeURIComponent(positions)}; Max-Age=${cookieSeconds}; Path=/; HttpOnly; SameSite=Lax`
}

/** @throws `PositionError` for a text that is no list of positions */
export function parsePositions(text: string): Map<string, bigint> {
  const positions = new Map<string, bigint>()
  const parts = text.split(',', mostPositions + 1)
  if (parts.length > mostPositions) throw noPositions(text)
  for (const part of parts) {
    const [, log, digits] = /^\s*([^\s/]+)\/(\d{1,19})\s*$/.exec(part) ?? []
    const name = log === undefined ? undefined : decoded(log)
    if (name === undefined || digits === undefined || positions.has(name) || BigInt(digits) > greatestPosition) {
      throw noPositions(text)
    }
    positions.set(name, BigInt(digits))
  }
  return positions
}

function noPositions(text: string): PositionError {
  return new PositionError(
    `Could not wait for ${JSON.stringify(text.slice(0, 100))}: ${awaitedHeader} is a list such as TrainingSchool/4711, ` +
      `as ${positionHeader} gives it, with each application once.`,
  )
}

/** What a request wants to see of a log. */
interface AwaitedPosition {
  readonly position: bigint
  /** Whether a browser has sent it by itself, so that nobody is to be told that it is wrong. */
  readonly isOfCookie: boolean
}

/**
 * What a request wants to see of a log: its header counts before the cookie.
 *
 * @throws `PositionError` for a header that is no list of positions
 */
function awaitedPosition(headers: IncomingHttpHeaders, log: string): AwaitedPosition | undefined {
  const header = headers[awaitedHeader]
  const isOfCookie = header === undefined
  const text = isOfCookie ? cookieIn(headers.cookie) : String(header)
  if (text === undefined) return undefined
  try {
    const position = parsePositions(text).get(log)
    return position === undefined ? undefined : { position, isOfCookie }
  } catch (error) {
    if (isOfCookie) return undefined
    throw error
  }
}

/**
 * Milliseconds that a client is ready to wait, undefined where it does not say.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7240#section-4.3
 */
export function preferredWaitMs({ prefer }: IncomingHttpHeaders): number | undefined {
  const [, seconds] = /(?:^|[,;\s])wait=(\d{1,6})(?=$|[,;\s])/i.exec(String(prefer ?? '')) ?? []
  return seconds === undefined ? undefined : Number(seconds) * 1_000
}

function cookieIn(cookies: string | undefined): string | undefined {
  const [, value] = new RegExp(`(?:^|;\\s*)${positionHeader}=([^;]*)`).exec(cookies ?? '') ?? []
  return value === undefined ? undefined : decoded(value)
}

/** Undefined for what was encoded in another way. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
