/** Express: one transaction per request, committed before the response leaves. For Express 5 and 4. */
import type { Request, RequestHandler, Response } from 'express'
import { callable, checkOptions } from '../src/checked-options.js'
import { ProgrammingError } from '../src/index.js'
import { ExpressExchange, keepInTable, servedBy } from './express-exchange.js'
import { claimInRoute, claimsByItself } from './express-routes.js'
import {
  assertBodyFits,
  assertDatastore,
  isWebSocket,
  mergeOptions,
  type RouteTransactionOptions,
  routeOptionTypes,
  type ServedRequest,
  type TransactionalDatastore,
} from './http.js'
import { assertIdempotency } from './idempotency.js'
import { type InterceptedContext, type InterceptedHandler, intercept } from './nest-routes.js'
import { hasKey, type RequestTransaction, serve } from './request-transaction.js'
import { headersToKeep } from './stored-answer.js'

export type { RetryAfterSeconds } from './error-status.js'
export {
  type ExpressProblemOptions,
  type NotificationLogRouteOptions,
  notificationLogRoute,
  problemDetails,
  projectionHealth,
  rollbackOnError,
  upToDate,
} from './express-routes.js'

export {
  assertIfMatch,
  etagOf,
  type IdentifiedRequest,
  type IfMatchOptions,
  isNotModified,
  type Problem,
  type ProblemOptions,
  problemHeaders,
  problemOf,
  type RequestWithHeaders,
  type RouteTransactionOptions,
  requestMetadata,
  type TransactionalDatastore,
  type Versioned,
} from './http.js'
export type { IdempotencyOptions, IdempotencyScope } from './idempotency.js'
export type { InterceptedContext, InterceptedHandler } from './nest-routes.js'

export type { NotificationLogOptions } from './notification-log.js'
export type { Answer } from './response-parts.js'
export type { UpToDateOptions } from './up-to-date.js'

/** Options of the middleware. */
export interface TransactionsOptions extends RouteTransactionOptions<Request> {
  /** Requests that get no transaction, such as those of server-sent events; default: none. */
  readonly skip?: (request: Request) => boolean
}

/**
 * Gives each request a transaction: it is begun by the first use of the database, commits when the status is below 400,
 * before the first byte leaves, and rolls back in every other case. When the commit fails, the response is dropped and the
 * error goes to the error handlers.
 *
 * Use it before the routes and after body parsers, `cors` and their like: with a response that is dropped go the headers that
 * were set after it. A route sets options of its own, or `false` for no transaction, by using it again:
 * `app.get('/dogs', transactions(datastore, { readOnly: true }), handler)`.
 *
 * With `retries` a handler is run again, in a fresh transaction, after a conflict or another failure that may pass: nothing has
 * been sent by then. It is given as the last argument, since Express runs what comes after a middleware once:
 * `app.post('/dogs', transactions(datastore, { retries: 3 }, handler))`. A handler that reads the body by
 * itself is run once; `body: 'stream'` says that it does.
 *
 * An error handler that answers a failed request with a status below 400 has to come after `problemDetails()` or
 * `rollbackOnError()`: only an error handler sees that the request has failed.
 *
 * @throws `ProgrammingError` without a datastore, for retries without a handler, and for those of a handler that reads the body
 * by itself
 *
 * @example
 * app.use(transactions(datastore))
 */
export function transactions(
  datastore: TransactionalDatastore,
  options: TransactionsOptions | false = {},
  handler?: RequestHandler,
): RequestHandler {
  assertDatastore(datastore)
  if (options !== false)
    checkOptions('make the middleware `transactions`', options, { ...routeOptionTypes, skip: callable })
  if (options !== false && (options.retries ?? 0) > 0 && handler === undefined) {
    throw new ProgrammingError(
      'Could not make a middleware with retries: Express runs what comes after it once. Give it the handler: ' +
        'app.post(path, transactions(datastore, { retries: 3 }, handler)).',
    )
  }
  if (options !== false) {
    assertBodyFits(options)
    // The options of a route may leave the scope to those of the app.
    if (options.idempotency === true) assertIdempotency(true)
    if (typeof options.idempotency === 'object') headersToKeep(options.idempotency.headers)
  }
  return claimsByItself((request, response, next) => {
    const exchange = new ExpressExchange(request, response, next, handler)
    const known = exchange.served.find((served) => served.datastore === datastore)
    // A request that is sent through the app once more comes here twice.
    if (known !== undefined && known.options === options && handler === undefined) known.run(() => exchange.proceed())
    else if (known !== undefined) void restart(known, options, exchange)
    else if (options === false || isSkipped(request, options)) datastore.outside(() => exchange.proceed())
    else begin(datastore, options, exchange)
  })
}

/**
 * Claims idempotency keys in NestJS on Express, after the guards and before the pipes and the handler. It is needed where the
 * option `idempotency` is set, before all other global interceptors.
 *
 * @example
 * app.useGlobalInterceptors(new IdempotencyInterceptor())
 */
export class IdempotencyInterceptor {
  /** Called by Nest; what it gives never settles for a request that was answered as it had been before. */
  async intercept<Result>(context: InterceptedContext, next: InterceptedHandler<Result>): Promise<Result> {
    if (context.getType() !== 'http') return next.handle()
    // Nest's platform for Express gives Express's.
    return await intercept(servedBy(context.switchToHttp().getResponse() as Response), next)
  }
}

function begin(
  datastore: TransactionalDatastore,
  options: RouteTransactionOptions<Request>,
  exchange: ExpressExchange,
): void {
  const { handler, next, request, response } = exchange
  keepInTable(request)
  keepInTable(response)
  let transaction: RequestTransaction<Request>
  try {
    transaction = serve(datastore, options, exchange)
  } catch (error) {
    next(error)
    return
  }
  if (handler !== undefined && transaction.hasBegun) {
    runAgain(transaction, exchange, handler)
    return
  }
  if (hasKey(transaction)) claimInRoute(request, transaction)
  transaction.run(() => exchange.proceed())
}

/** Serves a request by a handler that can be run again. */
function runAgain(transaction: RequestTransaction<Request>, exchange: ExpressExchange, handler: RequestHandler): void {
  const { next } = exchange
  const againOrPass = async (error: unknown): Promise<void> => {
    if (await transaction.again(error)) rerun()
    else next(error)
  }
  const failed = (error: unknown): void => void againOrPass(error)
  const passOn = (error?: unknown): void => {
    // Express runs what comes after this once.
    transaction.rerun = undefined
    next(error)
  }
  const attempt = (): void => exchange.call(handler, passOn, failed)
  const rerun = (): void =>
    void startOnce(
      () => transaction.claimAgain(),
      () => transaction.runAgain(attempt),
      failed,
    )
  transaction.rerunBy(rerun)
  start(transaction, attempt, failed)
}

/** Runs a handler in its transaction, unless the request is answered as it was before. */
function start(transaction: RequestTransaction<Request>, handle: () => void, failed: (error: unknown) => void): void {
  const run = (): void => transaction.run(handle)
  if (hasKey(transaction)) void startOnce(() => transaction.claim(), run, failed)
  else run()
}

async function startOnce(
  claim: () => Promise<boolean>,
  handle: () => void,
  failed: (error: unknown) => void,
): Promise<void> {
  try {
    if (await claim()) handle()
  } catch (error) {
    // Of the claim, or of the option `metadata`.
    failed(error)
  }
}

/** A route with options of its own, below an app that has begun a transaction: it is replaced. */
async function restart(
  known: ServedRequest<Request>,
  options: TransactionsOptions | false,
  exchange: ExpressExchange,
): Promise<void> {
  const { request, next } = exchange
  try {
    await known.giveWay()
    known.outside(() => {
      if (options === false || isSkipped(request, options)) exchange.proceed()
      else begin(known.datastore, mergeOptions(known.options, options), exchange)
    })
  } catch (error) {
    next(error)
  }
}

function isSkipped(request: Request, { skip }: TransactionsOptions): boolean {
  return isWebSocket(request) || skip?.(request) === true
}
