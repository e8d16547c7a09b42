/** The browser of events: answers the page and what it asks for, for any web framework. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Application } from '../application/application.js'
import { callable, flag, having, type OptionType, type OptionTypesOf } from '../checked-options.js'
import { Aggregate, type AggregateClass } from '../domain/aggregate.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { AggregateNotFoundError, OriginatorIdError, PositionError, ProgrammingError } from '../errors.js'
import type { InfrastructureSource } from '../persistence/environment.js'
import { logPosition } from '../persistence/recorder.js'
import type { ProjectionRunner } from '../projection/projection-runner.js'
import type { DatastoreStats } from '../transaction/telemetry.js'
import { type BrowsedEvent, BrowsedLog } from './browsed-log.js'
import { html, script, style } from './page-text.js'
import { Activity, BrowsedProjections, projectionActions } from './running.js'
import { jsonOf } from './shown-values.js'

/** A decider, as far as the browser has to know it. */
export interface BrowsedDecider {
  /** What its topics begin with. */
  readonly name: string
  /** What its events do to its state. */
  readonly evolve: object
}

/** A class of aggregates, or a decider. */
export type BrowsedKind = AggregateClass | BrowsedDecider

/** A datastore, by shape. */
export interface BrowsedDatastore extends InfrastructureSource {
  /** What its transactions have come to. */
  readonly stats: DatastoreStats
}

/** What the browser shows, and what it lets its users do. */
export interface EventBrowserOptions {
  /** Whose events are shown. */
  readonly application: Application
  /** The classes and deciders whose states are shown, by the names that the page calls them: `{ Dog, accounts }`. Default: none. */
  readonly kinds?: Readonly<Record<string, BrowsedKind>>
  /** Where its events are: shows transactions and connections over the last minutes, and projections. Default: neither is shown. */
  readonly datastore?: BrowsedDatastore
  /** What runs projections in this process: lets events that were put aside be tried again. It takes a `datastore`. */
  readonly runner?: ProjectionRunner
  /** Whether projections can be paused and resumed, and blocked ones be tried again and let pass over an event; default false. */
  readonly allowChanges?: boolean
  /** Whether personal data are shown; default false: their fields say `hidden`, in events, states and snapshots. */
  readonly showPersonalData?: boolean
  /** Who may see the page, and all that it asks for: any answer but true is 403. */
  readonly authorize: unknown
}

/** What the options are that every framework has. */
export const eventBrowserOptionTypes: OptionTypesOf<EventBrowserOptions> = {
  application: having('subscribe', 'the application whose events are shown'),
  kinds: kindsType(),
  datastore: having('infrastructureFactory', 'the PrismaDatastore of the application'),
  runner: having('retry', 'a ProjectionRunner'),
  allowChanges: flag,
  showPersonalData: flag,
  authorize: callable,
}

/** A request, in whatever framework. */
export interface BrowserRequest {
  readonly method: string
  /** Below the place where the browser is, such as `/` and `/api/kinds`. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
  /** Whether whoever sends it may see the page. */
  readonly authorize: () => unknown
}

/** What is answered. */
export interface BrowserAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** A text, or parts of one that come over time. */
  readonly body: string | AsyncIterable<string>
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

// Functions, since `$` has a meaning of its own in a text.
const page = html.replace('/* style */', () => style).replace('/* script */', () => script)

const contentSecurityPolicy = [
  "default-src 'none'",
  `script-src ${hashOf(script)}`,
  `style-src ${hashOf(style)}`,
  "connect-src 'self'",
  // The icon, which is empty: browsers would ask for one elsewhere.
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Of every answer: nothing is kept, framed or taken for something else. */
const headers = {
  'cache-control': 'no-store, no-transform',
  'content-security-policy': contentSecurityPolicy,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

const aliveMs = 15_000
/** A page that follows the log asks again after so long, and is authorized again. */
const longestLiveMs = 600_000

type Found = object | undefined

/** Answers requests. */
export class EventBrowser {
  readonly #log: BrowsedLog
  readonly #info: object
  readonly #projections: BrowsedProjections | undefined
  readonly #activity: Activity | undefined
  readonly #allowsChanges: boolean
  readonly #closing = new AbortController()

  /**
   * @param attempted - completes "Could not", for messages
   * @throws `ProgrammingError` without an application or `authorize`, and for kinds that are none
   */
  constructor(attempted: string, options: EventBrowserOptions) {
    const { application, kinds = {}, datastore, runner, authorize } = options
    const { showPersonalData = false, allowChanges = false } = options
    if (application === undefined)
      throw new ProgrammingError(`Could not ${attempted} without the option \`application\`.`)
    if (authorize === undefined) {
      throw new ProgrammingError(
        `Could not ${attempted} without the option \`authorize\`: the page shows everything that is stored. Say who may see it, such as ` +
          '`authorize: (request) => request.user?.isAdmin === true`.',
      )
    }
    if (runner !== undefined && datastore === undefined) {
      throw new ProgrammingError(
        `Could not ${attempted} with \`runner\`, but without \`datastore\`, which says how far projections are.`,
      )
    }
    // What else a decider has does not matter here.
    this.#log = new BrowsedLog({ application, kinds: kinds as Record<string, SnapshotKind>, showPersonalData })
    this.#allowsChanges = allowChanges
    if (datastore !== undefined) {
      this.#projections = new BrowsedProjections({ application, datastore, runner })
      this.#activity = new Activity(datastore)
    }
    this.#info = {
      application: application.name,
      showsPersonalData: showPersonalData,
      hasDatastore: datastore !== undefined,
      allowsChanges: allowChanges && datastore !== undefined,
    }
  }

  /** Ends what is followed: for the end of the server. */
  close(): void {
    this.#closing.abort()
    this.#activity?.close()
  }

  /** @throws what `authorize` throws, and what the database throws */
  async answer(request: BrowserRequest): Promise<BrowserAnswer> {
    if ((await request.authorize()) !== true) return json(403, { error: 'You may not see this page.' })
    if (request.method === 'POST' && request.path === '/api/act') return await this.#act(request)
    if (request.method !== 'GET' && request.method !== 'HEAD') return json(405, { error: 'Only GET is answered here.' })
    if (request.path === '/') return text(page)
    try {
      if (request.path === '/api/live') return this.#live(request)
      const found = await this.#find(request)
      return found === undefined ? json(404, { error: 'There is no such thing in this log.' }) : json(200, found)
    } catch (error) {
      if (error instanceof OriginatorIdError || error instanceof AggregateNotFoundError) return json(404, told(error))
      if (error instanceof PositionError) return json(400, told(error))
      throw error
    }
  }

  /** What each path below `/api/` answers; undefined is 404. */
  readonly #answers: Readonly<Record<string, (query: URLSearchParams, id: string) => Found | Promise<Found>>> = {
    info: () => this.#info,
    kinds: async () => await this.#log.kinds(),
    streams: async (query) => await this.#log.streams(query.get('kind') ?? '', positionIn(query, 'before')),
    stream: async (query, id) => await this.#log.stream(id, versionIn(query, 'upTo')),
    find: async (query) => await this.#log.meaningOf(query.get('given') ?? ''),
    state: async (query, id) => await this.#log.state(id, versionIn(query, 'version') ?? 1),
    snapshots: async (_query, id) => await this.#log.snapshots(id),
    event: async (query) => await this.#log.event(positionIn(query, 'position') ?? 0n),
    log: async (query) => await this.#log.lastEvents(positionIn(query, 'before')),
    related: async (query) => await this.#related(query),
    projections: async () => await this.#projections?.status(),
    activity: () => (this.#activity === undefined ? undefined : { samples: this.#activity.samples }),
  }

  async #find({ path, query }: BrowserRequest): Promise<Found> {
    const [, name = ''] = /^\/api\/(\w+)$/.exec(path) ?? []
    const answer = Object.hasOwn(this.#answers, name) ? this.#answers[name] : undefined
    return await answer?.(query, query.get('id') ?? '')
  }

  /** Changes what somebody asks for from the page itself: nobody else's page can send that request. */
  async #act(request: BrowserRequest): Promise<BrowserAnswer> {
    if (!this.#allowsChanges || this.#projections === undefined) {
      return json(403, { error: 'This page can change nothing: its option allowChanges is not set.' })
    }
    if (!isFromPage(request.headers)) return json(403, { error: 'Changes are asked for by the page itself alone.' })
    const { query } = request
    const action = projectionActions.find((each) => each === query.get('action'))
    if (action === undefined) return json(400, { error: `\`action\` is one of ${projectionActions.join(', ')}.` })
    try {
      const reason = await this.#projections.act(query.get('name') ?? '', action, positionIn(query, 'position'))
      return reason === undefined ? json(200, {}) : json(409, { error: reason })
    } catch (error) {
      if (error instanceof PositionError) return json(400, told(error))
      throw error
    }
  }

  async #related(query: URLSearchParams): Promise<Found> {
    const name = query.get('name') ?? ''
    if (name !== 'causationId' && name !== 'correlationId')
      throw new PositionError('Could not search the log: `name` is causationId or correlationId.')
    return await this.#log.related(name, query.get('value') ?? '', positionIn(query, 'from') ?? 1n)
  }

  #live({ query, headers: { 'last-event-id': last }, signal }: BrowserRequest): BrowserAnswer {
    const after =
      last === undefined ? positionIn(query, 'after') : positionIn(new URLSearchParams({ last: String(last) }), 'last')
    const over = AbortSignal.any([signal, this.#closing.signal, AbortSignal.timeout(longestLiveMs)])
    const of = { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' }
    // The connection ends with what it is used for: a server that closes would wait for one that is kept alive.
    const body = messages(this.#log.follow(after, over))
    return { status: 200, headers: { ...headers, ...of, connection: 'close' }, body }
  }
}

/** Server-sent events, with a comment now and then, so that nothing between takes the connection for dead. */
async function* messages(parts: AsyncGenerator<readonly BrowsedEvent[]>): AsyncGenerator<string, void, undefined> {
  let next = parts.next()
  next.catch(() => undefined) // thrown by the race below
  yield 'retry: 2000\n\n'
  let isDue = alive()
  try {
    for (;;) {
      const part = await Promise.race([next, isDue])
      if (part === undefined) {
        isDue = alive()
        yield ': alive\n\n'
        continue
      }
      if (part.done === true) return
      const last = part.value.at(-1)?.position
      yield `${last === undefined ? '' : `id: ${last}\n`}data: ${jsonOf(part.value)}\n\n`
      next = parts.next()
      next.catch(() => undefined)
    }
  } finally {
    await parts.return(undefined)
  }
}

async function alive(): Promise<undefined> {
  return await new Promise((resolve) => setTimeout(resolve, aliveMs, undefined).unref())
}

function json(status: number, body: object): BrowserAnswer {
  return { status, headers: { ...headers, 'content-type': 'application/json; charset=utf-8' }, body: jsonOf(body) }
}

function text(body: string): BrowserAnswer {
  return { status: 200, headers: { ...headers, 'content-type': 'text/html; charset=utf-8' }, body }
}

function told(error: Error): object {
  return { error: error.message }
}

/**
 * A page of another origin cannot send the header without being allowed to, which we never do; should the application do so, the browser still says where the
 * request comes from. Where it does not say, as without TLS, the origin is compared.
 *
 * @see https://www.w3.org/TR/fetch-metadata/
 */
function isFromPage({ 'es-browser': mark, 'sec-fetch-site': site, origin, host }: IncomingHttpHeaders): boolean {
  if (mark !== '1') return false
  if (site !== undefined) return site === 'same-origin'
  return origin !== undefined && host !== undefined && URL.canParse(origin) && new URL(origin).host === host
}

function positionIn(query: URLSearchParams, name: string): bigint | undefined {
  try {
    return logPosition((query.get(name) ?? undefined) as bigint | undefined, name) ?? undefined // a text is taken as well
  } catch (cause) {
    throw new PositionError(`Could not read \`${name}\`: it is a position in the log, which is a whole number.`, {
      cause,
    })
  }
}

function versionIn(query: URLSearchParams, name: string): number | undefined {
  const given = query.get(name)
  if (given === null) return undefined
  const version = Number(given)
  if (Number.isSafeInteger(version) && version >= 0 && given !== '') return version
  throw new PositionError(`Could not read \`${name}\`: it is a whole number.`)
}

function kindsType(): OptionType {
  const fits = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return false
    return Object.values(value).every(isKind)
  }
  return { says: 'an object of classes of aggregates and deciders, such as { Dog }', fits }
}

function isKind(value: unknown): boolean {
  if (typeof value === 'function') return value.prototype instanceof Aggregate
  return typeof value === 'object' && value !== null && 'evolve' in value && 'name' in value
}
