/** The rules of HTTP, once for all frameworks: how a route says what it wants, what a request says, and what errors mean to a client. */
import { type ServerResponse, STATUS_CODES } from 'node:http'
import {
  callable,
  checkOptions,
  count,
  described,
  either,
  flag,
  milliseconds,
  type OptionTypesOf,
  oneOf,
  optionsOf,
  text,
} from '../src/checked-options.js'
import {
  isEventSourcingError,
  type ManagedTransaction,
  PreconditionFailedError,
  PreconditionRequiredError,
  ProgrammingError,
  type TransactionHost,
  type TransactionOptions,
} from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'
import {
  hasStatus,
  prismaStatusOf,
  type RetryAfterSeconds,
  retryAfterIn,
  retryAfterOf,
  statusIn,
  statusOf,
} from './error-status.js'
import { type IdempotencyOptions, idempotencyOptionTypes, mergeIdempotency } from './idempotency.js'
import type { Answer } from './response-parts.js'

/** What a request's transaction needs of a datastore. */
export interface TransactionalDatastore {
  /** What it is called in messages. */
  readonly name: string
  /** A transaction, which begins at its first use where it has a host. Nothing is sent before its first statement. */
  begin(options?: TransactionOptions, host?: TransactionHost): ManagedTransaction
  /** Runs `fn` outside of its transactions, on purpose. */
  outside<T>(fn: () => T): T
}

/**
 * How a route's transaction is run. What a route sets counts before what the app sets.
 *
 * With `retries` the handler runs again in a fresh transaction after a failure that may pass, as long as the deadline, which
 * counts for all attempts together, has not passed. With several datastores all of them begin again, unless one has committed.
 */
export interface RouteTransactionOptions<Request = unknown>
  extends Pick<
    TransactionOptions,
    'isolationLevel' | 'readOnly' | 'begin' | 'deadlineMs' | 'maxWaitMs' | 'autoflush' | 'retries' | 'label'
  > {
  /**
   * Whether a response commits; default: a status below 400. A function that declares the third parameter is asked when the
   * whole response is there, up to `maxHeldBytes` of its body, so a route that streams leaves the parameter out.
   */
  readonly commitOn?: (status: number, request: Request, answer: Answer) => boolean
  /**
   * What happens when the client goes away before the response: `rollback` (default), or `finish`, which lets the handler go
   * on and decides by what it answers in the end.
   */
  readonly onAbort?: 'rollback' | 'finish'
  /**
   * `stream` where the handler reads the body of the request by itself: what was read cannot be read again, so a route with
   * `retries` of its own is refused, and the app's do not count for it. Default `parsed`.
   */
  readonly body?: 'parsed' | 'stream'
  /**
   * Whether the position of what a request has stored, the header `es-position` of its answer, is also set as a cookie, for the
   * page that a redirect leads to; default false. `upToDate` and the plugin `projections` read both.
   */
  readonly cookie?: boolean
  /** Whether a body that is a stream is sent after the commit (`commit`, default) or refused with an error (`refuse`). */
  readonly stream?: 'commit' | 'refuse'
  /**
   * Retry-After of what is answered with 503, as the error says it (`error.headers`): a number of seconds, or the bounds between which one
   * is taken by chance; default `[1, 3]`.
   */
  readonly retryAfterSeconds?: RetryAfterSeconds
  /** Facts about the request that every event saved in it is stored with: `requestMetadata`, or a function of yours that adds the user. */
  readonly metadata?: (request: Request) => Readonly<Record<string, unknown>>
  /**
   * Whether a request with the header Idempotency-Key is served once, and gets the answer of the first time when it is sent
   * again; default false. A transaction that is `readOnly` pays no attention to it.
   */
  readonly idempotency?: boolean | IdempotencyOptions<Request>
}

/** What the options of a route are. */
export const routeOptionTypes: OptionTypesOf<RouteTransactionOptions> = {
  isolationLevel: oneOf('ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'),
  readOnly: flag,
  begin: oneOf('first-write', 'first-statement'),
  deadlineMs: milliseconds,
  maxWaitMs: milliseconds,
  autoflush: flag,
  retries: count,
  label: either(text, callable),
  commitOn: callable,
  onAbort: oneOf('rollback', 'finish'),
  body: oneOf('parsed', 'stream'),
  cookie: flag,
  stream: oneOf('commit', 'refuse'),
  retryAfterSeconds: {
    says: 'a number of seconds, or two of them as bounds',
    fits: (value) => typeof value === 'number' || Array.isArray(value),
  },
  metadata: callable,
  idempotency: either(flag, optionsOf(idempotencyOptionTypes)),
}

/** Options of routes that were checked: those of Fastify's are read with each request. */
const checked = new WeakSet<object>()

/**
 * Checks the options of a route, once.
 *
 * @param where - completes "Could not set up the transaction of"
 * @throws `ProgrammingError` for options that there are not
 */
export function checkRouteOptions(where: string, options: object): void {
  if (checked.has(options)) return
  checkOptions(`set up the transaction of ${where}`, options, routeOptionTypes)
  checked.add(options)
}

/**
 * Whether a request has become a WebSocket, as `@fastify/websocket` and `express-ws` tell: there is no response to wait for the
 * end of a transaction. The header of the request tells nothing, since any client can send it.
 */
export function isWebSocket(request: object): boolean {
  return 'ws' in request && Boolean(request.ws)
}

/**
 * The options of a route over those of the app.
 *
 * @throws `ProgrammingError` for retries of a handler that reads the body by itself
 */
export function mergeOptions<Request>(
  app: RouteTransactionOptions<Request>,
  route: RouteTransactionOptions<Request> | undefined,
): RouteTransactionOptions<Request> {
  const merged = route === undefined ? app : { ...app, ...route, ...idempotencyOf(app, route) }
  if (merged.body !== 'stream' || merged.retries === undefined) return merged
  assertBodyFits({ ...route, body: merged.body })
  return { ...merged, retries: 0 }
}

function idempotencyOf<Request>(
  app: RouteTransactionOptions<Request>,
  route: RouteTransactionOptions<Request>,
): Pick<RouteTransactionOptions<Request>, 'idempotency'> {
  const idempotency = mergeIdempotency(app.idempotency, route.idempotency)
  return idempotency === undefined ? {} : { idempotency }
}

/** @throws `ProgrammingError` for retries of a handler that reads the body by itself */
export function assertBodyFits({ body, retries = 0 }: Pick<RouteTransactionOptions, 'body' | 'retries'>): void {
  if (body !== 'stream' || retries === 0) return
  throw new ProgrammingError(
    `Could not give a handler ${retries} retries that reads the body of its request by itself (body: 'stream'): there is nothing ` +
      'to read any more when it runs again. Let a parser read the body, or leave the retries to the client.',
  )
}

/** @throws `ProgrammingError` for what is no datastore, at once and not with each request */
export function assertDatastore(datastore: unknown): void {
  if (typeof datastore === 'object' && datastore !== null && 'begin' in datastore) return
  const given =
    datastore === undefined || datastore === null ? 'no datastore was given' : `${described(datastore)} is no datastore`
  throw new ProgrammingError(
    `Could not give requests their transactions: ${given}. Make one: new PrismaDatastore({ adapter, client: (adapter) => new PrismaClient({ adapter }) }). ` +
      'Fastify: fastify.register(transactions, { datastore }); ' +
      'Express: app.use(transactions(datastore)).',
  )
}

/** A problem as RFC 9457 describes it. @see https://www.rfc-editor.org/rfc/rfc9457 */
export interface Problem {
  /** `about:blank`: the status and the code say it all, unless `describe` gives another one. */
  readonly type: string
  /**
   * The phrase of the status, as it goes with `about:blank`; a `describe` that gives another `type` gives its title too.
   *
   * @see https://www.rfc-editor.org/rfc/rfc9457#section-4.2.1
   */
  readonly title: string
  /** From 400 to 599. */
  readonly status: number
  /**
   * What happened this time: the message of the error. Not given for status 500 and above, and where the message may tell what is
   * not the client's business, as those of databases do.
   */
  readonly detail?: string
  /** The code of the error, where it is one of this package. */
  readonly code?: string
  /** Members of your own. */
  readonly [member: string]: unknown
}

/** How errors become problems. */
export interface ProblemOptions {
  /**
   * What an error means, where it means more than it says itself: members of the problem, which take the place of what
   * would be there otherwise; undefined for nothing. The message of an error of your own is not told unless you give it as
   * `detail`, or the error has a `statusCode` itself.
   */
  readonly describe?: (error: unknown) => Partial<Problem> | undefined
  /**
   * Retry-After of what is answered with 503: a number of seconds, or the bounds between which one is taken by chance; default: what the
   * error says, else `[1, 3]`.
   */
  readonly retryAfterSeconds?: RetryAfterSeconds
}

/** What the options of problems are. */
export const problemOptionTypes: OptionTypesOf<ProblemOptions> = {
  describe: callable,
  retryAfterSeconds: routeOptionTypes.retryAfterSeconds,
}

/**
 * The problem document for an error, for error handlers of your own: those that `problemDetails()` gives have it from here.
 *
 * @param error - anything that was thrown
 */
export function problemOf(error: unknown, { describe: describeError }: ProblemOptions = {}): Problem {
  const own = describeError?.(error) ?? {}
  const status = own.status ?? statusOf(error) ?? prismaStatusOf(error) ?? statusIn(error) ?? 500
  const code = isEventSourcingError(error) ? error.code : undefined
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? (status < 500 ? 'Bad Request' : 'Internal Server Error'),
    status,
    ...(status < 500 && isMessageForClients(error) ? { detail: error.message } : {}),
    ...(code === undefined ? {} : { code }),
    ...own,
  }
}

/**
 * Whether the message of an error tells nothing of what is behind the server. Those of drivers and of Prisma do: statements,
 * values, paths. So does an error of this package that was made of one, its cause. Others count that say a status of the 4xx
 * themselves, as those of frameworks, parsers and validators do, unless they say `expose: false`.
 */
function isMessageForClients(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  if (isEventSourcingError(error)) return error.cause === undefined || hasStatus(error.code)
  return (statusIn(error) ?? 500) < 500 && !('expose' in error && error.expose === false)
}

/**
 * The headers that go with a problem: its content type, and Retry-After for what may pass.
 *
 * @param options - as they were given to `problemOf`
 */
export function problemHeaders({ status }: Problem, options: ProblemOptions = {}): Readonly<Record<string, string>> {
  const type = { 'content-type': 'application/problem+json' }
  return status === 503 ? { ...type, 'retry-after': retryAfterOf(options.retryAfterSeconds) } : type
}

/** As `problemHeaders`, for an error that may say itself when to try again. */
export function problemHeadersFor(
  error: unknown,
  problem: Problem,
  options: ProblemOptions = {},
): Readonly<Record<string, string>> {
  const headers = problemHeaders(problem, options)
  const own = options.retryAfterSeconds === undefined && problem.status === 503 ? retryAfterIn(error) : undefined
  return own === undefined ? headers : { ...headers, 'retry-after': own }
}

/** What a framework keeps of a request: its transaction, or what gives it one at the first use. */
export interface ServedRequest<Request> {
  readonly datastore: TransactionalDatastore
  readonly options: RouteTransactionOptions<Request>
  readonly exchange: Exchange<Request>
  /** The transaction of the present attempt. */
  readonly managed: ManagedTransaction
  /** Whether the request was answered with an error, in place of a response that was dropped. */
  readonly isAnswered: boolean
  /** Whether another one has taken its place. */
  readonly hasGivenWay: boolean
  /** Runs `fn`, and all that it calls, in the transaction. */
  run<T>(fn: () => T): T
  /** Runs `fn`, and all that it calls, as if there were no transaction. */
  outside<T>(fn: () => T): T
  /** Lets the transaction be there from now on. */
  open(): void
  /** Rolls back, because the request has failed. Never rejects. */
  rollBack(): Promise<void>
  /** Ends what is unused, so that another one can take its place. @throws `ProgrammingError` when something was done in it */
  giveWay(): Promise<void>
  /** To be called for a body that is a stream. @throws `ProgrammingError` when the options refuse one, and it has been used */
  checkStream(): void
}

/** One request in the framework that serves it. */
export interface Exchange<Request> {
  readonly request: Request
  /** The response of Node below the framework's. */
  readonly response: ServerResponse
  /** What messages call its transactions. */
  readonly label: string
  /** The transactions that the request has so far, of all datastores, without those that another one has taken the place of. */
  readonly served: ReadonlyArray<ServedRequest<Request>>
  /** Gives the request another one. */
  addServed(served: ServedRequest<Request>): void
  /** Whether a body that is written part by part is a stream in the sense of the option `stream`; else the framework looks at it. */
  readonly streamsByWriting: boolean
  /**
   * Hands an error to the framework's error handlers, which answer in place of a response that was dropped.
   *
   * @returns false when the framework cannot answer this request any more
   */
  fail(error: Error): boolean
  /** Lets the transaction check what the framework is given to send, where a body that is a stream is known by that. */
  refuseStreams?(served: ServedRequest<Request>): void
  /** The first transaction has begun: what is not held below the framework is to be held from here on. */
  begun?(): void
  /** Answers, in the way of the framework, as the request was answered before. */
  replay(response: RecordedResponse): void
}

/** A request as far as its ids go, in any framework. */
export interface IdentifiedRequest {
  /** What the framework has numbered it with. */
  readonly id?: unknown
  /** By name, in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** Visible ASCII: no spaces and line breaks, which would forge lines of a log. */
const idPattern = /^[\x21-\x7e]{1,128}$/

/** Version, trace id, parent id and flags; later versions may add fields after these. */
const traceparentPattern = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?=$|-)/

/**
 * What identifies a request: as `correlationId` its header `x-request-id`, else the framework's own id; and its `traceparent`.
 *
 * Any client can send these headers. An id counts that has 1 to 128 visible ASCII characters; a traceparent of the form that
 * W3C gives it, of which the four fields of version 00 are kept. What has another form is left out.
 *
 * @see https://www.w3.org/TR/trace-context/#traceparent-header
 *
 * @example
 * app.use(transactions(datastore, { metadata: (request) => ({ ...requestMetadata(request), user: request.user.id }) }))
 */
export function requestMetadata({ id, headers }: IdentifiedRequest): Readonly<Record<string, unknown>> {
  const correlationId = idOf(headers['x-request-id']) ?? idOf(id)
  const traceparent = traceparentOf(headers['traceparent'])
  return {
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(traceparent === undefined ? {} : { traceparent }),
  }
}

function idOf(given: unknown): string | number | undefined {
  if (typeof given === 'number' && Number.isFinite(given)) return given
  return typeof given === 'string' && idPattern.test(given) ? given : undefined
}

function traceparentOf(header: unknown): string | undefined {
  if (typeof header !== 'string') return undefined
  const [fields] = traceparentPattern.exec(header) ?? []
  // Version 00 has no more than these.
  return header.startsWith('00') && fields !== header ? undefined : fields
}

/* Preconditions of requests: the version of an originator is its ETag, and If-Match says which version is expected. @see RFC 9110, section 13 */

/** What has a version: an aggregate, or the state of a decider's originator. */
export interface Versioned {
  /** For messages. */
  readonly id: string
  /** The version of its last event. */
  readonly version: number
}

/** A request as far as its headers go, in any framework. */
export interface RequestWithHeaders {
  /** By name, in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** What is asked of a request beside the match. */
export interface IfMatchOptions {
  /** Whether a request without If-Match is refused; default false. */
  readonly required?: boolean
}

const ifMatchOptionTypes: OptionTypesOf<IfMatchOptions> = { required: flag }

/**
 * The ETag of an originator's present version, such as `"7"`: a strong one, for the header of that name.
 *
 * @example
 * reply.header('etag', etagOf(dog))
 */
export function etagOf({ version }: Pick<Versioned, 'version'>): string {
  return `"${version}"`
}

/**
 * Refuses a request whose If-Match does not have the version of the originator as it was read, before something is done to
 * it. What is saved after that is a conflict as ever if somebody else is faster.
 *
 * @throws `PreconditionFailedError` for another version, which error handlers answer with 412; `PreconditionRequiredError` where one
 *   is required and there is none, 428; `ProgrammingError` for a header that is none
 *
 * @example
 * const dog = await school.repository.get(Dog, request.params.id)
 * assertIfMatch(request, dog)
 */
export function assertIfMatch({ headers }: RequestWithHeaders, originator: Versioned, options?: IfMatchOptions): void {
  if (options !== undefined) checkOptions('compare If-Match', options, ifMatchOptionTypes)
  const required = options?.required ?? false
  const given = headers['if-match']
  if (given === undefined) {
    if (!required) return
    throw new PreconditionRequiredError(
      `Could not change ${originator.id} without an If-Match: send the ETag of the version that the change is for.`,
    )
  }
  const expected = Array.isArray(given) ? given.join(', ') : given
  // If-Match compares strongly: a weak tag matches nothing.
  if (entityTags('If-Match', expected).some((tag) => tag === '*' || tag === etagOf(originator))) return
  throw new PreconditionFailedError(
    `Could not change ${originator.id}: If-Match is ${expected}, and the version is ${etagOf(originator)}. Get it again.`,
    { originatorId: originator.id, actualVersion: originator.version },
  )
}

/**
 * Whether a client has the present version already, as its If-None-Match says: the answer to its GET is 304 then, without a body.
 *
 * @throws `ProgrammingError` for a header that is none, which error handlers answer with 400
 *
 * @example
 * if (isNotModified(request, dog)) return reply.code(304).send()
 */
export function isNotModified({ headers }: RequestWithHeaders, originator: Pick<Versioned, 'version'>): boolean {
  const given = headers['if-none-match']
  if (given === undefined) return false
  // If-None-Match compares weakly: a proxy may have compressed what the tag was given for.
  const etag = etagOf(originator)
  return entityTags('If-None-Match', String(given)).some((tag) => tag === '*' || tag.replace(/^W\//, '') === etag)
}

const entityTag = String.raw`(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"`
const entityTagList = new RegExp(`^${entityTag}(?:\\s*,\\s*${entityTag})*$`)

/** The tags in a header, weak ones as well; they may have commas in them. */
function entityTags(name: string, header: string): string[] {
  const list = header.trim()
  if (list === '*') return [list]
  if (entityTagList.test(list)) return list.match(new RegExp(entityTag, 'g')) ?? []
  throw Object.assign(new ProgrammingError(`Could not read ${name}: ${header} is no list of entity tags.`), {
    statusCode: 400,
  })
}
