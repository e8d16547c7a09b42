/** Positions of logs in HTTP: what a request has stored, and what another one waits for. */
import type { IncomingHttpHeaders } from 'node:http'
import { PositionError } from '../src/index.js'

/** A response says by it what its request has stored; also the name of the cookie that repeats it. */
export const positionHeader = 'es-position'

/** A request says by it what it wants to see. */
const awaitedHeader = 'es-wait-for'

/** For how many seconds a browser keeps the cookie: longer than a redirect takes, and than projections usually need. */
const cookieSeconds = 10

/** More logs than any request can wait for; a longer list is no list that answers have given. */
const mostPositions = 100

const greatestPosition = 9_223_372_036_854_775_807n

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
export interface AwaitedPosition {
  readonly position: bigint
  /** Whether a browser has sent it by itself, so that nobody is to be told that it is wrong. */
  readonly isOfCookie: boolean
}

/**
 * What a request wants to see of a log: its header counts before the cookie.
 *
 * @throws `PositionError` for a header that is no list of positions
 */
export function awaitedPosition(headers: IncomingHttpHeaders, log: string): AwaitedPosition | undefined {
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
