/** Express: one transaction per request, committed before the response leaves. For Express 5 and 4. */
import type { NextFunction, Request, RequestHandler, Response } from 'express'
import { ProgrammingError, type RecordedResponse } from '../src/index.js'
import { type ServedRequest, serve } from './deferred-request.js'
import { addTransaction, transactionsOf } from './express-transactions.js'
import {
  assertBodyFits,
  isWebSocket,
  mergeOptions,
  type RouteTransactionOptions,
  type TransactionalDatastore,
} from './http.js'
import { replayedHeader } from './idempotency.js'
import { RequestTransaction } from './request-transaction.js'

export { problemDetails, rollbackOnError } from './express-problems.js'
export {
  type IdentifiedRequest,
  type Problem,
  type ProblemOptions,
  problemHeaders,
  problemOf,
  type RouteTransactionOptions,
  requestMetadata,
  type TransactionalDatastore,
} from './http.js'
export type { IdempotencyOptions } from './idempotency.js'
export {
  assertIfMatch,
  etagOf,
  type IfMatchOptions,
  isNotModified,
  type RequestWithHeaders,
  type Versioned,
} from './preconditions.js'

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
 * @throws `ProgrammingError` for retries without a handler, and for those of a handler that reads the body by itself
 *
 * @example
 * app.use(transactions(datastore))
 */
export function transactions(
  datastore: TransactionalDatastore,
  options: TransactionsOptions | false = {},
  handler?: RequestHandler,
): RequestHandler {
  if (options !== false && (options.retries ?? 0) > 0 && handler === undefined) {
    throw new ProgrammingError(
      'Could not make a middleware with retries: Express runs what comes after it once. Give it the handler: ' +
        'app.post(path, transactions(datastore, { retries: 3 }, handler)).',
    )
  }
  if (options !== false) assertBodyFits(options)
  return (request, response, next) => {
    const exchange = { request, response, next, handler }
    const known = transactionsOf(request)?.get(datastore)
    if (known !== undefined) void restart(known, datastore, options, exchange)
    else if (options === false || isSkipped(request, options)) proceed(exchange)
    else begin(datastore, options, exchange)
  }
}

interface Exchange {
  readonly request: Request
  readonly response: Response
  readonly next: NextFunction
  /** What is run instead of what comes after. */
  readonly handler: RequestHandler | undefined
}

/** Goes on with the request, without a transaction. */
function proceed({ request, response, next, handler }: Exchange): void {
  if (handler === undefined) next()
  else call(handler, { request, response, next }, next)
}

/** Runs a handler, and gives every failure of it to `failed`: Express 4 does not do that for what is rejected. */
function call(
  handler: RequestHandler,
  { request, response, next }: Omit<Exchange, 'handler'>,
  failed: NextFunction,
): void {
  const pass = (error?: unknown): void => {
    if (error === undefined || error === null || error === 'route' || error === 'router') next(error)
    else failed(error)
  }
  try {
    const result: unknown = handler(request, response, pass)
    if (result instanceof Promise) result.catch(failed)
  } catch (error) {
    failed(error)
  }
}

function begin(
  datastore: TransactionalDatastore,
  options: RouteTransactionOptions<Request>,
  { request, response, next, handler }: Exchange,
): void {
  const fail = (error: Error): boolean => {
    next(error)
    return true
  }
  const replay = (answer: RecordedResponse): void => send(response, answer)
  // The route is known when it has been found, which is after this.
  const label = (): string => labelOf(request)
  const exchange = { request, label, response, streamsByWriting: true, fail, replay }
  let transaction: ServedRequest<Request>
  try {
    transaction = serve({ datastore, options, response, exchange: () => exchange })
  } catch (error) {
    next(error)
    return
  }
  addTransaction(request, datastore, transaction)
  if (handler === undefined || !(transaction instanceof RequestTransaction)) {
    start(transaction, () => proceed({ request, response, next, handler }), next)
  } else runAgain(transaction, { request, response, next }, handler)
}

/** Serves a request by a handler that can be run again. */
function runAgain(
  transaction: RequestTransaction<Request>,
  { request, response, next }: Omit<Exchange, 'handler'>,
  handler: RequestHandler,
): void {
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
  const attempt = (): void => call(handler, { request, response, next: passOn }, failed)
  const rerun = (): void =>
    void startOnce(
      () => transaction.claimAgain(),
      () => transaction.runAgain(attempt),
      failed,
    )
  transaction.rerunBy(rerun)
  start(transaction, attempt, failed)
}

/** Runs what serves the request in its transaction, unless it is answered as it was before. */
function start(transaction: ServedRequest<Request>, handle: () => void, failed: (error: unknown) => void): void {
  const run = (): void => transaction.run(handle)
  if (transaction.hasKey) void startOnce(() => transaction.claim(), run, failed)
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

/** Sends an answer that was stored, byte for byte. */
function send(response: Response, { status, headers, body }: RecordedResponse): void {
  response.status(status)
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  response.setHeader(replayedHeader, 'true')
  if (body.byteLength === 0) response.end()
  else response.end(body)
}

/** A route with options of its own, below an app that has begun a transaction: it is replaced. */
async function restart(
  known: ServedRequest<Request>,
  datastore: TransactionalDatastore,
  options: TransactionsOptions | false,
  exchange: Exchange,
): Promise<void> {
  const { request, next } = exchange
  try {
    if (options !== false && options.idempotency !== undefined && known.hasKey) throw tooLateError()
    await known.giveWay()
    transactionsOf(request)?.delete(datastore)
    known.outside(() => {
      if (options === false || isSkipped(request, options)) proceed(exchange)
      else begin(datastore, mergeOptions(known.options, options), exchange)
    })
  } catch (error) {
    next(error)
  }
}

/** `POST /dogs/:name`: the pattern of the route, with the path of its router. */
function labelOf({ method, baseUrl, path, route }: Request): string {
  // Typed as always there and of any type.
  const pattern = (route as { readonly path?: unknown } | undefined)?.path
  return `${method} ${baseUrl}${typeof pattern === 'string' ? pattern : path}`
}

function tooLateError(): Error {
  return new ProgrammingError(
    "Could not apply the route's own `idempotency`: the key has been claimed as the app says, before the route was known. " +
      'In Express, set the option for the app or for its routes.',
  )
}

function isSkipped(request: Request, { skip }: TransactionsOptions): boolean {
  return isWebSocket(request) || skip?.(request) === true
}
