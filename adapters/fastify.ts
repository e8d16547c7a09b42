/** Fastify: one transaction per request, committed before the response leaves. */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { ProgrammingError } from '../src/index.js'
import { serve } from './deferred-request.js'
import type { ServedRequest } from './exchange.js'
import { FastifyExchange, headersOf, resetHeaders } from './fastify-exchange.js'
import { prepareRequests, servedOf } from './fastify-served.js'
import {
  assertBodyFits,
  assertDatastore,
  isWebSocket,
  mergeOptions,
  type RouteTransactionOptions,
  type TransactionalDatastore,
  withStatus,
} from './http.js'
import { hasKey, RequestTransaction } from './request-transaction.js'

export { problemDetails } from './fastify-problems.js'
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
export type { Answer } from './whole-response.js'

/** Options of the plugin. */
export interface TransactionsOptions extends RouteTransactionOptions<FastifyRequest> {
  /** Whose transactions they are. */
  readonly datastore: TransactionalDatastore
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route's own options for its transaction, `false` for none. */
    transaction?: false | RouteTransactionOptions<FastifyRequest>
  }
}

/**
 * Gives each request a transaction: it is begun by the first use of the database, commits when the handler has succeeded and
 * the status is below 400, before the first byte leaves, and rolls back in every other case. When the commit fails, the
 * response is dropped and the error goes to the error handler.
 *
 * The transaction is open from the `preHandler` hooks that are added after the plugin to the last `onSend` hook, for hijacked
 * replies to the first byte. In the hooks before, the database is used outside of it. A handler with `onAbort: 'finish'`
 * has to return a value, since Fastify does not send an empty reply to a client that is gone.
 *
 * @example
 * await fastify.register(transactions, { datastore })
 */
export const transactions: FastifyPluginCallback<TransactionsOptions> = fastifyPlugin(registerHooks, {
  name: 'eventsourcing-prisma',
  fastify: '5.x',
})

/**
 * Why the response is held below Fastify, instead of in an `onSend` hook: hooks of others that come later would run after the
 * commit, a handler that does not return its reply would send a second one meanwhile, and a hijacked reply has no hooks.
 */
function registerHooks(fastify: FastifyInstance, options: TransactionsOptions, done: (error?: Error) => void): void {
  const { datastore, ...appOptions } = options
  prepareRequests(fastify)
  const transactionOf: TransactionOf = (request) => servedOf(request).find((served) => served.datastore === datastore)
  try {
    assertDatastore(datastore)
    assertBodyFits(appOptions)
    registerOnce(fastify, datastore)
  } catch (error) {
    return done(error as Error)
  }
  const lacksRetries = prepareRoutes(fastify, appOptions, transactionOf)
  fastify.addHook('preHandler', (request, reply, next) => {
    const { transaction: own } = request.routeOptions.config
    if (own === false || isWebSocket(request)) return next()
    const ownOptions = mergeOptions(appOptions, own)
    if (lacksRetries(request, ownOptions)) return next(unprepared(request))
    // `reply.callNotFound()` comes here a second time.
    const known = transactionOf(request)
    const transaction = known ?? serve(datastore, ownOptions, new FastifyExchange(reply))
    if (known === undefined && ownOptions.stream === 'refuse') refuseStreams(reply, transaction)
    if (known === undefined && hasKey(transaction)) void startOnce(transaction, next)
    // The context of `next` is that of the handler, whatever the hooks before have done to theirs.
    else transaction.run(next)
  })
  fastify.addHook('onError', (request, _reply, error, next) => {
    withStatus(error)
    // Not awaited, as the response waits for it: while hooks of this kind run, a second error, such as that of a handler
    // timeout, would be thrown where nobody catches it.
    void transactionOf(request)?.rollBack()
    next()
  })
  done()
}

/** Looks at what is sent before any hook has changed it: one that compresses makes a stream of everything. */
function refuseStreams(reply: FastifyReply, transaction: ServedRequest<FastifyRequest>): void {
  const send = reply.send.bind(reply)
  reply.send = (payload?: unknown) => {
    try {
      if (isStream(payload)) transaction.checkStream()
    } catch (error) {
      return send(withStatus(error))
    }
    return send(payload)
  }
}

/** On an instance: the datastores of the plugin there. What is registered inside has them from it. */
const datastoresKey = Symbol('eventsourcing-prisma')

/** @throws `ProgrammingError` where requests would have two transactions on one datastore, of which one is never committed */
function registerOnce(fastify: FastifyInstance, datastore: TransactionalDatastore): void {
  // Nobody else has the key.
  const known = (Reflect.get(fastify, datastoresKey) ?? []) as readonly TransactionalDatastore[]
  if (known.includes(datastore)) {
    throw new ProgrammingError(
      `Could not register the plugin for ${datastore.name}: it is registered for it here or further out. ` +
        'Give routes options of their own by `config.transaction`, or register it in plugins side by side.',
    )
  }
  Reflect.set(fastify, datastoresKey, [...known, datastore])
}

type TransactionOf = (request: FastifyRequest) => ServedRequest<FastifyRequest> | undefined

/**
 * Lets the handlers of routes that have retries be run again.
 *
 * @returns tells whether the route of a request should have been prepared and was not
 */
function prepareRoutes(
  fastify: FastifyInstance,
  appOptions: RouteTransactionOptions<FastifyRequest>,
  transactionOf: TransactionOf,
): (request: FastifyRequest, options: RouteTransactionOptions<FastifyRequest>) => boolean {
  /** In the configuration of a route: its handler can be run again. */
  const prepared = Symbol('prepared')
  fastify.addHook('onRoute', (route) => {
    const own = route.config?.transaction
    // The route for HEAD comes with the handler and the configuration of the one for GET.
    if (own === false || (route.config !== undefined && prepared in route.config)) return
    if ((mergeOptions(appOptions, own).retries ?? 0) === 0) return
    route.handler = runAgain(route.handler, transactionOf)
    route.config = Object.assign({ [prepared]: true }, route.config)
  })
  return (request, { retries = 0 }) => retries > 0 && !request.is404 && !(prepared in request.routeOptions.config)
}

/** Goes on with the request, unless it is refused, or answered as it was before. */
async function startOnce(
  transaction: RequestTransaction<FastifyRequest>,
  next: (error?: Error) => void,
): Promise<void> {
  try {
    if (await transaction.claim()) transaction.run(next)
  } catch (error) {
    // Of the claim, or of the option `metadata`.
    next(withStatus(error))
  }
}

/** Fastify tells a plugin nothing of the routes before it. */
function unprepared({ method, routeOptions }: FastifyRequest): ProgrammingError {
  return new ProgrammingError(
    `Could not give ${method} ${routeOptions.url} its retries: the route was added before the plugin was loaded. ` +
      'Await fastify.register(transactions, { datastore }) before the routes.',
  )
}

/** A handler that is run again as long as its transaction says so. */
function runAgain(handler: RouteHandlerMethod, transactionOf: TransactionOf): RouteHandlerMethod {
  return function (request, reply) {
    const transaction = transactionOf(request)
    // A body that is a stream can be read once.
    if (!(transaction instanceof RequestTransaction) || isStream(request.body))
      return handler.call(this, request, reply)
    const headersBefore = headersOf(reply)
    const attempt = (): unknown => {
      const result: unknown = handler.call(this, request, reply)
      return isThenable(result) ? answerOf(result).catch(failed) : result
    }
    const failed = async (error: unknown): Promise<unknown> => {
      if (!(await transaction.again(error))) throw error
      return await attemptAgain()
    }
    const attemptAgain = async (): Promise<unknown> => {
      resetHeaders(reply, headersBefore)
      let isToBeServed: boolean
      try {
        isToBeServed = await transaction.claimAgain()
      } catch (error) {
        return await failed(error)
      }
      return isToBeServed ? await transaction.runAgain(attempt) : reply
    }
    transaction.rerunBy(() => void answered(reply, attemptAgain))
    return attempt()
  }
}

/** A call of Prisma is none of JavaScript's promises, and Fastify awaits it as well. */
function isThenable(result: unknown): result is PromiseLike<unknown> {
  return typeof result === 'object' && result !== null && 'then' in result && typeof result.then === 'function'
}

async function answerOf(result: PromiseLike<unknown>): Promise<unknown> {
  return await result
}

/** As Fastify does with what a handler gives, for one that Fastify has not called. */
async function answered(reply: FastifyReply, run: () => Promise<unknown>): Promise<void> {
  try {
    const payload = await run()
    if (payload !== undefined && payload !== reply && !reply.sent) void reply.send(payload)
  } catch (error) {
    void reply.send(error)
  }
}

function isStream(payload: unknown): boolean {
  if (typeof payload !== 'object' || payload === null) return false
  return 'pipe' in payload || 'getReader' in payload || payload instanceof Response
}
