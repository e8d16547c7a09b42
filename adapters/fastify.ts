/** Fastify: one transaction per request, committed before the response leaves. */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { anything, callable, checkOptions } from '../src/checked-options.js'
import { ProgrammingError, type Transaction } from '../src/index.js'
import { withStatus } from './error-status.js'
import { FastifyExchange, headersOf, isStream, prepareRequests, resetHeaders, servedOf } from './fastify-exchange.js'
import {
  assertBodyFits,
  assertDatastore,
  checkRouteOptions,
  isWebSocket,
  mergeOptions,
  type RouteTransactionOptions,
  routeOptionTypes,
  type ServedRequest,
  type TransactionalDatastore,
} from './http.js'
import { assertIdempotency } from './idempotency.js'
import {
  type InterceptedContext,
  type InterceptedHandler,
  intercept,
  isHandlerOfNest,
  missingInterceptor,
  sameAs,
} from './nest-routes.js'
import { hasKey, RequestTransaction, serve } from './request-transaction.js'

export type { RetryAfterSeconds } from './error-status.js'
export {
  type NotificationLogPluginOptions,
  notificationLog,
  type ProjectionsOptions,
  problemDetails,
  projections,
} from './fastify-routes.js'

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

/** Options of the plugin. */
export interface TransactionsOptions extends RouteTransactionOptions<FastifyRequest> {
  /** Whose transactions they are. */
  readonly datastore: TransactionalDatastore
  /** Requests that get no transaction, such as those of server-sent events; default: none. */
  readonly skip?: (request: FastifyRequest) => boolean
}

/** Fastify infers the type of a route's configuration from what is written there: without these, nothing but the run time refuses them. */
type Misnamed = {
  readonly [Name in
    | 'readonly'
    | 'timeout'
    | 'deadline'
    | 'maxWait'
    | 'isolation'
    | 'retry'
    | 'autoFlush'
    | 'propagation']?: never
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route's own options for its transaction, `false` for none. */
    transaction?: false | (RouteTransactionOptions<FastifyRequest> & Misnamed)
  }
  interface FastifyRequest {
    /**
     * The transaction of the request, on the first datastore that the plugin was registered for: its hooks, its signal, `rollbackOnly`.
     *
     * @throws `NoTransactionError` where there is none: before the `preHandler` hooks, and in a route without one
     */
    readonly transaction: Transaction
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
  assertRegistered(options)
  const { datastore, skip, ...appOptions } = options
  prepareRequests(fastify)
  const transactionOf: TransactionOf = (request) => servedOf(request).find((served) => served.datastore === datastore)
  try {
    assertDatastore(datastore)
    checkOptions('register the plugin `transactions`', options, pluginOptionTypes)
    assertBodyFits(appOptions)
    assertIdempotency(appOptions.idempotency)
    registerOnce(fastify, datastore)
  } catch (error) {
    return done(error as Error)
  }
  const isPrepared = prepareRoutes(fastify, appOptions, transactionOf)
  fastify.addHook('preHandler', (request, reply, next) => {
    const { transaction: own } = request.routeOptions.config
    if (own === false || isWebSocket(request) || skip?.(request) === true) return datastore.outside(next)
    if (own !== undefined) checkRouteOptions(`${request.method} ${request.routeOptions.url}`, own)
    const merged = mergeOptions(appOptions, own)
    // What is not found has no handler that could be served once.
    const ownOptions = request.is404 ? { ...merged, idempotency: false } : merged
    if ((ownOptions.retries ?? 0) > 0 && !isPrepared(request)) return next(unprepared(request, 'retries'))
    // `reply.callNotFound()` comes here a second time.
    const known = transactionOf(request)
    const transaction = known ?? serve(datastore, ownOptions, new FastifyExchange(reply))
    if (known === undefined && !isPrepared(request) && ownOptions.idempotency && hasKey(transaction)) {
      return next(unprepared(request, 'idempotency keys'))
    }
    // The context of `next` is that of the handler, whatever the hooks before have done to theirs.
    transaction.run(next)
  })
  fastify.addHook('onError', (request, _reply, error, next) => {
    withStatus(error, appOptions.retryAfterSeconds)
    // Not awaited, as the response waits for it: while hooks of this kind run, a second error, such as that of a handler
    // timeout, would be thrown where nobody catches it.
    void transactionOf(request)?.rollBack()
    next()
  })
  done()
}

/**
 * Claims idempotency keys in NestJS on Fastify, after the guards and before the pipes and the handler. It is needed where the
 * option `idempotency` is set, before all other global interceptors.
 *
 * @example
 * app.useGlobalInterceptors(new IdempotencyInterceptor())
 */
export class IdempotencyInterceptor {
  /** Called by Nest; what it gives never settles for a request that was answered as it had been before. */
  async intercept<Result>(context: InterceptedContext, next: InterceptedHandler<Result>): Promise<Result> {
    if (context.getType() !== 'http') return next.handle()
    // Nest's platform for Fastify gives Fastify's.
    return await intercept(servedOf(context.switchToHttp().getRequest() as FastifyRequest), next)
  }
}

/** With those that Fastify itself takes when a plugin is registered. */
const pluginOptionTypes = {
  ...routeOptionTypes,
  datastore: anything,
  skip: callable,
  prefix: anything,
  logLevel: anything,
  logSerializers: anything,
}

/** @throws `ProgrammingError` where the plugin was called instead of registered, as a middleware would be */
function assertRegistered(options: unknown): void {
  if (typeof options === 'object' && options !== null) return
  throw new ProgrammingError(
    'Could not register the plugin `transactions`: it was called. Pass it on: fastify.register(transactions, { datastore }).',
  )
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
 * Lets the handlers of routes that have retries be run again, and those of requests with idempotency keys be served once.
 *
 * @returns tells whether the route of a request was prepared
 */
function prepareRoutes(
  fastify: FastifyInstance,
  appOptions: RouteTransactionOptions<FastifyRequest>,
  transactionOf: TransactionOf,
): (request: FastifyRequest) => boolean {
  /** In the configuration of a route: its handler is ours. */
  const prepared = Symbol('prepared')
  fastify.addHook('onRoute', (route) => {
    const own = route.config?.transaction
    // The route for HEAD comes with the handler and the configuration of the one for GET.
    if (own === false || (route.config !== undefined && prepared in route.config)) return
    if (own !== undefined) checkRouteOptions(`${String(route.method)} ${route.url}`, own)
    const { retries = 0, idempotency = false } = mergeOptions(appOptions, own)
    assertIdempotency(idempotency)
    const wrap = (wrapped: RouteHandlerMethod): void => void (route.handler = sameAs(wrapped, route.handler))
    if (retries > 0) wrap(runAgain(route.handler, transactionOf))
    if (idempotency !== false) wrap(serveOnce(route.handler, transactionOf))
    if (retries === 0 && idempotency === false) return
    route.config = Object.assign({ [prepared]: true }, route.config)
  })
  return (request) => request.is404 || prepared in request.routeOptions.config
}

/** A handler that is run where the key of its request is new, after all hooks that guard the route. */
function serveOnce(handler: RouteHandlerMethod, transactionOf: TransactionOf): RouteHandlerMethod {
  const isOfNest = isHandlerOfNest(handler)
  return function (request, reply) {
    const transaction = transactionOf(request)
    if (transaction === undefined || !hasKey(transaction)) return handler.call(this, request, reply)
    if (isOfNest) {
      transaction.idempotent.unclaimed = missingInterceptor
      return handler.call(this, request, reply)
    }
    return claimed(transaction, reply, () => handler.call(this, request, reply))
  }
}

/** @returns what the handler gives; the reply where it gives nothing, so that Fastify waits for what it sends later */
async function claimed(
  transaction: RequestTransaction<FastifyRequest>,
  reply: FastifyReply,
  handle: () => unknown,
): Promise<unknown> {
  if (!(await transaction.claim())) return reply
  const result = handle()
  if (isThenable(result)) return await result
  return result === undefined ? reply : result
}

/** Fastify tells a plugin nothing of the routes before it. */
function unprepared({ method, routeOptions }: FastifyRequest, what: string): ProgrammingError {
  return new ProgrammingError(
    `Could not give ${method} ${routeOptions.url} its ${what}: the route was added before the plugin was loaded. ` +
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
