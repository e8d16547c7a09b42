/** Express: one transaction per request, committed before the response leaves. For Express 5 and 4. */
import type { ErrorRequestHandler, NextFunction, Request, RequestHandler, Response } from 'express'
import { HeldResponse } from './held-response.js'
import {
  mergeOptions,
  problemHeaders,
  problemOf,
  RequestTransaction,
  type RouteTransactionOptions,
  type TransactionalDatastore,
  withStatus,
} from './http.js'

export type { Problem, RouteTransactionOptions, TransactionalDatastore } from './http.js'

/** Options of the middleware. */
export interface TransactionsOptions extends RouteTransactionOptions<Request> {
  /** Requests that get no transaction, such as those of server-sent events; default: none. */
  readonly skip?: (request: Request) => boolean
}

/** The open transactions of a request, one for each datastore. */
const open = new WeakMap<Request, Map<TransactionalDatastore, OpenTransaction>>()

interface OpenTransaction {
  readonly transaction: RequestTransaction<Request>
  readonly held: HeldResponse
  readonly appOptions: RouteTransactionOptions<Request>
}

/**
 * Gives each request a transaction: it is begun by the first use of the database, commits when the status is below 400,
 * before the first byte leaves, and rolls back in every other case. When the commit fails, the response is dropped and the
 * error goes to the error handlers.
 *
 * Use it before the routes and after body parsers. A route sets options of its own, or `false` for no transaction, by using
 * it again: `app.get('/dogs', transactions(datastore, { readOnly: true }), handler)`.
 *
 * An error handler that answers a failed request with a status below 400 has to come after `problemDetails()` or
 * `rollbackOnError()`: only an error handler sees that the request has failed.
 *
 * @example
 * app.use(transactions(datastore))
 */
export function transactions(
  datastore: TransactionalDatastore,
  options: TransactionsOptions | false = {},
): RequestHandler {
  return (request, response, next) => {
    const known = open.get(request)?.get(datastore)
    if (known !== undefined) return restart(known, datastore, options, { request, response, next })
    if (options === false || options.skip?.(request) === true) return next()
    begin(datastore, options, { request, response, next })
  }
}

/** Passes errors on after it has rolled back: for apps whose error handlers answer with a status below 400. */
export function rollbackOnError(): ErrorRequestHandler {
  return (error, request, _response, next) => {
    void rollBack(request).then(() => next(error))
  }
}

/**
 * An error handler that answers with problem details (RFC 9457): 404 for an aggregate that is not there, 409 for a conflict,
 * 503 with Retry-After for what may pass; the status that an error says itself; else 500.
 *
 * @example
 * app.use(problemDetails())
 */
export function problemDetails(): ErrorRequestHandler {
  return (error, request, response, next) => {
    void rollBack(request).then(() => {
      // Half a response cannot become another one: Express closes the connection.
      if (response.headersSent) return next(error)
      const problem = problemOf(error)
      response.status(problem.status).set(problemHeaders(problem)).send(JSON.stringify(problem))
    })
  }
}

interface Exchange {
  readonly request: Request
  readonly response: Response
  readonly next: NextFunction
}

/** A route with options of its own, below an app that has begun a transaction: nothing was sent in it, so it is replaced. */
function restart(
  known: OpenTransaction,
  datastore: TransactionalDatastore,
  options: TransactionsOptions | false,
  exchange: Exchange,
): void {
  if (known.transaction.isUsed) {
    const reason = 'The options of this route come too late: a middleware before it has used the transaction already.'
    return exchange.next(new Error(reason))
  }
  void known.transaction.fail().then(() => {
    open.get(exchange.request)?.delete(datastore)
    known.held.release()
    if (options === false) known.transaction.outside(exchange.next)
    else begin(datastore, mergeOptions(known.appOptions, options), exchange)
  })
}

function begin(
  datastore: TransactionalDatastore,
  options: RouteTransactionOptions<Request>,
  { request, response, next }: Exchange,
): void {
  const transaction = new RequestTransaction(datastore, options, request)
  const held = new HeldResponse(response, (status) => {
    void transaction.settle(status).then(
      () => held.release(),
      (error: unknown) => {
        held.drop()
        next(error)
      },
    )
  })
  const all = open.get(request) ?? new Map<TransactionalDatastore, OpenTransaction>()
  open.set(request, all.set(datastore, { transaction, held, appOptions: options }))
  transaction.onExpired((error) => {
    // What is held already learns it from its own commit.
    if (!held.isOpen) return
    held.drop()
    held.ignoreAfterEnd()
    next(error)
  })
  response.once('close', () => {
    if (response.writableFinished) void transaction.abandon(`${request.method} ${request.url}`)
    else void transaction.clientGone()
  })
  transaction.run(next)
}

async function rollBack(request: Request): Promise<void> {
  for (const { transaction, held } of open.get(request)?.values() ?? []) {
    if (!held.isOpen) continue
    await transaction.fail()
    held.drop()
  }
}
