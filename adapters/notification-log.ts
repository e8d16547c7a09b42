/** The log of an application over HTTP: the rules, once for all frameworks. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { having, milliseconds, type OptionType, type OptionTypesOf, oneOf } from '../src/checked-options.js'
import { type Application, PositionError, sectionToJSON } from '../src/index.js'
import { problemHeaders, problemOf } from './http.js'
import { greatestPosition, preferredWaitMs } from './up-to-date.js'

/** How a log is served. */
export interface NotificationLogOptions {
  /**
   * How long a request waits at the most for something new, in milliseconds, where it says `Prefer: wait=20` (RFC 7240); default 30,000. 0:
   * no request waits.
   */
  readonly maxWaitMs?: number
  /**
   * Who may keep full sections, which never change: `private`, the reader alone, or `public`, also caches that stand between. Default: `private` for
   * requests with `Authorization` or a cookie, `public` for all others. Where requests are admitted by anything else, such as a header of your own, say `private`.
   */
  readonly cache?: 'public' | 'private'
}

/** What the options are. */
export const notificationLogOptionTypes: OptionTypesOf<NotificationLogOptions> = {
  maxWaitMs: milliseconds,
  cache: oneOf('public', 'private'),
}

/** Whose log it is. */
export const applicationType: OptionType = having('subscribe', 'the application whose log is served')

/** What is asked for. */
export interface SectionRequest extends NotificationLogOptions {
  readonly application: Application
  /** As the path has it, such as `1,10`. */
  readonly sectionId: string
  readonly headers: IncomingHttpHeaders
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
  /** Those that wait at this server. */
  readonly waits: Waits
}

/** The requests that wait at a server: thousands, for which one signal has too many listeners. */
export class Waits {
  readonly #ends = new Set<() => void>()
  #isOver = false

  /** Ends all of them, and those that come later at once. */
  end(): void {
    this.#isOver = true
    for (const end of this.#ends) end()
  }

  /** @returns what takes it out again */
  add(end: () => void): () => void {
    this.#ends.add(end)
    if (this.#isOver) end()
    return () => void this.#ends.delete(end)
  }
}

/** What is answered. */
export interface SectionAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const defaultMaxWaitMs = 30_000
const secondsOfYear = 31_536_000

/**
 * Answers a request for a section. A full one never changes, and says so. The last one has an ETag, and is waited for where the client wishes it and has all that there is:
 * outside of transactions, and without a connection of the database.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7240#section-4.3, https://www.rfc-editor.org/rfc/rfc8246
 */
export async function answerSection(request: SectionRequest): Promise<SectionAnswer> {
  const { application, sectionId, headers, maxWaitMs = defaultMaxWaitMs } = request
  const range = rangeOf(sectionId)
  if (range === undefined) return malformed(sectionId)
  let section = await application.notificationLog.section(sectionId)
  if (section.nextId !== null) return ok(sectionToJSON(section), { 'cache-control': lasting(request) })
  const wishedMs = preferredWaitMs(headers)
  const waitMs = range.start > range.end ? 0 : Math.min(maxWaitMs, wishedMs ?? 0)
  let body = sectionToJSON(section)
  if (waitMs > 0 && (section.items.length === 0 || isKnown(body, headers))) {
    const last = section.items.at(-1)?.id ?? range.start - 1n
    if (await hasMoreAfter(request, last, waitMs)) {
      section = await application.notificationLog.section(sectionId)
      body = sectionToJSON(section)
    }
  }
  const applied = waitMs > 0 ? { 'preference-applied': `wait=${Math.floor(waitMs / 1_000)}` } : {}
  if (section.nextId !== null) return ok(body, { 'cache-control': lasting(request), ...applied })
  const ends = { 'cache-control': 'no-cache', etag: etagOf(body), vary: 'Prefer', ...applied }
  return isKnown(body, headers) ? { status: 304, headers: ends, body: '' } : ok(body, ends)
}

function ok(body: string, headers: Readonly<Record<string, string>>): SectionAnswer {
  return { status: 200, headers: { 'content-type': 'application/json; charset=utf-8', ...headers }, body }
}

/** The first and the last position that are asked for; undefined for an id that is malformed. */
function rangeOf(sectionId: string): { readonly start: bigint; readonly end: bigint } | undefined {
  const [, first, last] = /^(\d{1,19}),(\d{1,19})$/.exec(sectionId) ?? []
  if (first === undefined || last === undefined) return undefined
  const [start, end] = [BigInt(first), BigInt(last)]
  if (start > greatestPosition || end > greatestPosition) return undefined
  return { start: start < 1n ? 1n : start, end }
}

function malformed(sectionId: string): SectionAnswer {
  const error = new PositionError(
    `Could not read the section ${JSON.stringify(sectionId.slice(0, 50))}: ask for a first and a last position, such as 1,10.`,
  )
  const problem = problemOf(error)
  return { status: problem.status, headers: problemHeaders(problem), body: JSON.stringify(problem) }
}

function lasting({ headers, cache }: SectionRequest): string {
  const isAdmitted = headers.authorization !== undefined || headers.cookie !== undefined
  return `${cache ?? (isAdmitted ? 'private' : 'public')}, max-age=${secondsOfYear}, immutable`
}

function etagOf(body: string): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
}

function isKnown(body: string, { 'if-none-match': known }: IncomingHttpHeaders): boolean {
  if (known === undefined) return false
  const etag = etagOf(body)
  // By the weak comparison, as If-None-Match asks for: a proxy that compresses makes tags weak.
  return known.split(',').some((each) => each.trim().replace(/^W\//, '') === etag)
}

/** Waits until something is recorded after a position, with all others who follow the log in this process. */
async function hasMoreAfter(
  { application, signal, waits }: SectionRequest,
  position: bigint,
  waitMs: number,
): Promise<boolean> {
  const over = new AbortController()
  const end = (): void => over.abort()
  const timer = setTimeout(end, waitMs)
  signal.addEventListener('abort', end)
  const leave = waits.add(end)
  if (signal.aborted) end()
  const subscription = application.recorder.subscribe({ gt: position, signal: over.signal })
  try {
    for await (const { items } of subscription.pages()) if (items.length > 0) return true
    return false
  } finally {
    await subscription[Symbol.asyncDispose]()
    clearTimeout(timer)
    leave()
    signal.removeEventListener('abort', end)
  }
}
