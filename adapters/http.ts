/** The rules of HTTP, once for all frameworks: how a route says what it wants, and what errors mean to a client. */

import { STATUS_CODES } from 'node:http'
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
  ProgrammingError,
  type TransactionHost,
  type TransactionOptions,
} from '../src/index.js'
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
import type { Answer } from './whole-response.js'

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

/** Whether a response with this status commits when nobody says otherwise. */
export function isSuccess(status: number): boolean {
  return status < 400
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
