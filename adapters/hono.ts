/** Hono, on Node: one transaction per request, committed before the response leaves. */
import type { Context, ErrorHandler, MiddlewareHandler, Next } from 'hono'
import { matchedRoutes } from 'hono/route'
import { callable, checkOptions } from '../src/checked-options.js'
import { EventSourcingError, ProgrammingError, type ProjectionRunner } from '../src/index.js'
import { withStatus } from './error-status.js'
import { exchangeOf, HonoExchange } from './hono-exchange.js'
import {
  assertBodyFits,
  assertDatastore,
  mergeOptions,
  requestMetadata as metadataOf,
  type ProblemOptions,
  problemHeadersFor,
  problemOf,
  problemOptionTypes,
  type RouteTransactionOptions,
  routeOptionTypes,
  type ServedRequest,
  type TransactionalDatastore,
} from './http.js'
import { assertIdempotency } from './idempotency.js'
import { hasKey, looksAtAnswers, type RequestTransaction, serve } from './request-transaction.js'
import {
  assertProjections,
  projectionHealth as healthOf,
  positionHeader,
  type UpToDateOptions,
  upToDateOptionTypes,
  waitUntilUpToDate,
} from './up-to-date.js'

export type { RetryAfterSeconds } from './error-status.js'
export {
  assertIfMatch,
  etagOf,
  type IfMatchOptions,
  isNotModified,
  type Problem,
  type ProblemOptions,
  problemHeaders,
  problemOf,
  type RequestWithHeaders,
  type RouteTransactionOptions,
  type TransactionalDatastore,
  type Versioned,
} from './http.js'
export type { IdempotencyOptions, IdempotencyScope } from './idempotency.js'
export type { Answer } from './response-parts.js'
export type { UpToDateOptions } from './up-to-date.js'

/** Options of the middleware. `stream` is left out: a `Response` does not tell whether its body is a stream. */
export interface TransactionsOptions extends Omit<RouteTransactionOptions<Context>, 'stream'> {
  /** Requests that get no transaction, such as those of server-sent events; default: none. */
  readonly skip?: (context: Context) => boolean
}

/** A handler that is given to the middleware, since it may be run again. */
export type RepeatableHandler = (context: Context) => Response | Promise<Response>

const { stream: _, ...optionTypes } = { ...routeOptionTypes, skip: callable }

/**
 * Gives each request a transaction: it is begun by the first use of the database, commits when the handler has succeeded and the
 * status is below 400, before the response goes on to the middlewares before this one, and rolls back in every other case. When the commit
 * fails, the response is dropped and the error goes to `app.onError`.
 *
 * Use it before the routes. A route sets options of its own, or `false` for no transaction, by using it again:
 * `app.get('/dogs', transactions(datastore, { readOnly: true }), handler)`. With `idempotency` it comes right before the handler, after
 * whatever guards the route.
 *
 * With `retries` the handler is given to it, since Hono runs what comes after a middleware once:
 * `app.post('/dogs', transactions(datastore, { retries: 3 }, handler))`.
 *
 * @throws `ProgrammingError` without a datastore, for retries without a handler, and for options that there are not
 *
 * @example
 * app.use(transactions(datastore))
 */
export function transactions(
  datastore: TransactionalDatastore,
  options: TransactionsOptions | false = {},
  handler?: RepeatableHandler,
): MiddlewareHandler {
  assertDatastore(datastore)
  if (options !== false) {
    checkOptions('make the middleware `transactions`', options, optionTypes)
    assertBodyFits(options)
    if (options.idempotency === true) assertIdempotency(true)
    if ((options.retries ?? 0) > 0 && handler === undefined) {
      throw new ProgrammingError(
        'Could not make a middleware with retries: Hono runs what comes after it once. Give it the handler: ' +
          'app.post(path, transactions(datastore, { retries: 3 }, handler)).',
      )
    }
  }
  const middleware: MiddlewareHandler = async (context, next) => {
    const goOn = handler === undefined ? next : async () => void (context.res = await handler(context))
    const known = exchangeOf(context)?.served.find((served) => served.datastore === datastore)
    const isWithout = options === false || options.skip?.(context) === true
    if (known !== undefined) {
      await known.giveWay()
      if (isWithout) return await known.outside(goOn)
    } else if (isWithout) return await datastore.outside(goOn)
    const merged = known === undefined ? options : mergeOptions(known.options, options)
    const serving = { datastore, options: merged, context, goOn, handler }
    const outer = exchangeOf(context)
    const run = async (): Promise<Response | undefined> =>
      outer === undefined ? await serveOutermost(serving) : await begin(serving, outer)
    return known === undefined ? await run() : await known.outside(run)
  }
  ours.add(middleware)
  return middleware
}

/** Middlewares of this file: a key is claimed before the function that follows on them. */
const ours = new WeakSet<object>()

interface Serving {
  readonly datastore: TransactionalDatastore
  readonly options: RouteTransactionOptions<Context>
  readonly context: Context
  readonly goOn: Next
  readonly handler: RepeatableHandler | undefined
}

/** The first middleware of a request sees to its answer, for the transactions of all datastores. */
async function serveOutermost(serving: Serving): Promise<Response | undefined> {
  const { context } = serving
  const exchange = new HonoExchange(context)
  rollBackOnError(context, exchange)
  let answer: Response | undefined
  try {
    answer = await Promise.race([begin(serving, exchange), exchange.outcome.then(nothing)])
    if (answer !== undefined) context.res = answer
    if (context.error === undefined && exchange.served.some((served) => hasBegun(served))) {
      await Promise.all([exchange.offer(context.res, isWhole(exchange)), exchange.outcome])
    }
  } catch (error) {
    await rollBack(exchange)
    exchange.drop()
    throw withStatus(error)
  } finally {
    exchange.over()
  }
  if (context.error !== undefined) await rollBack(exchange)
  return undefined
}

/** Gives a request the transaction of one datastore, and goes on in it. */
async function begin(serving: Serving, exchange: HonoExchange): Promise<Response | undefined> {
  const { context, goOn, handler, datastore, options } = serving
  const transaction = serve(datastore, withFingerprint(options, exchange), exchange)
  if (hasKey(transaction)) {
    if (handler === undefined) assertAtHandler(context)
    await exchange.readBody()
    if (!(await transaction.claim())) return exchange.replayed
  }
  if (handler === undefined || !transaction.hasBegun) await transaction.run(goOn)
  else await runAgain(transaction, exchange, handler)
  return undefined
}

/** Runs a handler until an attempt has come to an answer that could be committed. */
async function runAgain(
  transaction: RequestTransaction<Context>,
  exchange: HonoExchange,
  handler: RepeatableHandler,
): Promise<void> {
  const context = exchange.request
  const attempt = async (run: (work: RepeatableHandler) => ReturnType<RepeatableHandler>): Promise<void> => {
    try {
      context.res = await run(handler)
    } catch (error) {
      if (!(await transaction.again(error))) throw error
      await next()
    }
  }
  const next = async (): Promise<void> => {
    exchange.drop()
    if (await transaction.claimAgain()) await attempt((work) => transaction.runAgain(() => work(context)))
    else if (exchange.replayed !== undefined) context.res = exchange.replayed
  }
  const rerun = async (): Promise<void> => {
    try {
      await next()
      await exchange.offer(context.res, isWhole(exchange))
    } catch (error) {
      exchange.fail(withStatus(error))
    }
  }
  transaction.rerunBy(() => void rerun())
  await attempt((work) => transaction.run(() => work(context)))
}

/** Hono asks the error handlers where the error was thrown, before this middleware sees it: from then on nothing is stored. */
function rollBackOnError(context: Context, exchange: HonoExchange): void {
  let { error } = context
  Object.defineProperty(context, 'error', {
    get: () => error,
    set(thrown: Error | undefined) {
      error = thrown
      withStatus(thrown)
      if (thrown !== undefined) void rollBack(exchange)
    },
    configurable: true,
    enumerable: true,
  })
}

async function rollBack({ served }: HonoExchange): Promise<void> {
  for (const each of served) if (hasBegun(each)) await each.rollBack()
}

function hasBegun(served: ServedRequest<Context>): boolean {
  // Given by `serve`.
  return (served as RequestTransaction<Context>).hasBegun
}

function isWhole({ served }: HonoExchange): boolean {
  return served.some((each) => hasBegun(each) && (hasKey(each) || looksAtAnswers(each.options)))
}

function withFingerprint(
  options: RouteTransactionOptions<Context>,
  exchange: HonoExchange,
): RouteTransactionOptions<Context> {
  const { idempotency } = options
  if (typeof idempotency !== 'object' || idempotency.fingerprint !== undefined) return options
  return { ...options, idempotency: { ...idempotency, fingerprint: () => exchange.fingerprint() } }
}

/** @throws `ProgrammingError` where a guard may come after the middleware: it would not be asked before a stored answer is given */
function assertAtHandler(context: Context): void {
  const next = matchedRoutes(context)
    .slice(context.req.routeIndex + 1)
    .map(({ handler }) => unwrapped(handler))
    .find((handler) => !ours.has(handler))
  if (next === undefined || next.length < 2) return
  throw new ProgrammingError(
    'Could not serve the request once: it has an idempotency key, which is claimed where the middleware `transactions` is, and another ' +
      `middleware${next.name === '' ? '' : ` (${next.name})`} comes after it, such as a guard. Use it right before the handler: ` +
      'app.post(path, guard, transactions(datastore, options), handler). A handler takes no `next`.',
  )
}

/** Hono puts functions around those of an app that has an error handler of its own. */
function unwrapped(handler: (...args: never[]) => unknown): (...args: never[]) => unknown {
  const composed: unknown = Reflect.get(handler, '__COMPOSED_HANDLER')
  return typeof composed === 'function' ? (composed as typeof handler) : handler
}

function nothing(): undefined {
  return undefined
}

/**
 * An error handler that answers with problem details (RFC 9457): 404 for an aggregate that is not there, 409 for a conflict,
 * 412 for another version than If-Match has, of Prisma's errors 409 for P2002 and 404 for P2025, 503 with Retry-After for what may pass; the status that an error says itself;
 * else 500. An `HTTPException` with a response of its own is answered with that.
 *
 * @param options - `describe` says what errors of your own mean
 *
 * @example
 * app.onError(problemDetails({ describe: (error) => (error instanceof EventDataError ? { status: 422 } : undefined) }))
 */
export function problemDetails(options: ProblemOptions = {}): ErrorHandler {
  checkOptions('make `problemDetails`', options, problemOptionTypes)
  return (error) => {
    if ('getResponse' in error && 'res' in error && error.res instanceof Response) return error.getResponse()
    return problemResponse(error, options)
  }
}

function problemResponse(error: unknown, options: ProblemOptions): Response {
  const problem = problemOf(error, options)
  // As Hono itself does it.
  // oxlint-disable-next-line no-console -- an app of Hono has no log
  if (problem.status >= 500) console.error(error)
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: problemHeadersFor(error, problem, options),
  })
}

// What Hono asks an error for where nobody handles it.
Object.defineProperty(EventSourcingError.prototype, 'getResponse', {
  configurable: true,
  enumerable: false,
  get(this: EventSourcingError): (() => Response) | undefined {
    return () => problemResponse(this, {})
  },
})

/**
 * What identifies a request: as `correlationId` its header `x-request-id`, and its `traceparent`. For the option `metadata`.
 *
 * @example
 * app.use(transactions(datastore, { metadata: (c) => ({ ...requestMetadata(c), user: c.get('user') }) }))
 */
export function requestMetadata({ req }: Context): Readonly<Record<string, unknown>> {
  return metadataOf({ headers: req.header() })
}

/**
 * Lets requests that say `es-wait-for` wait until projections show what an earlier answer has stored. Use it before `transactions`: a request
 * waits without a transaction, and holds no connection.
 *
 * @param names - of the projections that the route shows
 *
 * @example
 * app.get('/dogs', upToDate(runner, ['dog-list']), async (c) => c.json(await db.dogList.findMany()))
 */
export function upToDate(
  runner: ProjectionRunner,
  names: readonly string[],
  options: UpToDateOptions = {},
): MiddlewareHandler {
  checkOptions('make the middleware `upToDate`', options, upToDateOptionTypes)
  assertProjections(runner, names)
  return async ({ req, header }, next) => {
    const asked = { ...options, runner, names, headers: req.header(), signal: req.raw.signal }
    const reached = await waitUntilUpToDate(asked)
    if (reached !== undefined) header(positionHeader, reached)
    await next()
  }
}

/**
 * A handler for a health check: 200 while every projection goes on, else 503, with what they have done.
 *
 * @example
 * app.get('/health', projectionHealth(runner))
 */
export function projectionHealth(runner: ProjectionRunner): () => Response {
  return () => {
    const { status, body } = healthOf(runner)
    return new Response(body, { status, headers: { 'content-type': 'application/json' } })
  }
}
