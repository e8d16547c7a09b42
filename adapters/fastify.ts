/** Fastify: one transaction per request, committed before the response leaves. */
import type {
  FastifyError,
  FastifyInstance,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest,
  RouteOptions,
} from 'fastify'
import fastifyPlugin from 'fastify-plugin'
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
 * Register it with `await` before the routes: then its `onSend` hook is the last one, so that those of others still find
 * the transaction open. It is open from the `preHandler` hooks on.
 *
 * @example
 * await fastify.register(transactions, { datastore })
 */
export const transactions: FastifyPluginCallback<TransactionsOptions> = fastifyPlugin(registerHooks, {
  name: 'eventsourcing-prisma',
  fastify: '5.x',
})

/** Marks the routes that settle in a hook of their own. */
const hasOwnHook = Symbol('settles in its own hook')

type Requests = WeakMap<FastifyRequest, RequestTransaction<FastifyRequest>>

function registerHooks(fastify: FastifyInstance, options: TransactionsOptions, done: () => void): void {
  const { datastore, ...appOptions } = options
  const requests: Requests = new WeakMap()
  const settle = async (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> => {
    await settleBefore(requests.get(request), reply, payload)
    return payload
  }

  fastify.addHook('onRoute', (route: RouteOptions) => {
    // A hook of the route comes after all others.
    route.onSend = [...[route.onSend ?? []].flat(), settle]
    route.config = Object.assign(route.config ?? {}, { [hasOwnHook]: true })
  })
  fastify.addHook('preHandler', (request, reply, next) => {
    const { transaction: own } = request.routeOptions.config
    if (own === false) return next()
    const transaction = new RequestTransaction(datastore, mergeOptions(appOptions, own), request)
    requests.set(request, transaction)
    watch(transaction, request, reply)
    // The context of `next` is that of the handler, whatever the hooks before have done to theirs.
    transaction.run(next)
  })
  fastify.addHook('onError', async (request, _reply, error) => {
    withStatus(error)
    await requests.get(request)?.fail()
  })
  fastify.addHook('onSend', async (request, reply, payload) => {
    // Routes that were there before the plugin have no hook of their own.
    return hasOwnHook in request.routeOptions.config ? payload : await settle(request, reply, payload)
  })
  done()
}

function watch(transaction: RequestTransaction<FastifyRequest>, request: FastifyRequest, reply: FastifyReply): void {
  const headers = { ...reply.getHeaders() }
  headersBefore.set(reply, headers)
  transaction.onExpired((error) => {
    if (!reply.sent && !reply.raw.headersSent) void reply.send(error)
  })
  // A hijacked reply comes by no other hook; and the hook for aborted requests knows only those whose body was not read.
  reply.raw.once('close', () => {
    if (reply.raw.writableFinished) void transaction.abandon(`${request.method} ${request.url}`)
    else void transaction.clientGone()
  })
}

const headersBefore = new WeakMap<FastifyReply, Record<string, unknown>>()

async function settleBefore(
  transaction: RequestTransaction<FastifyRequest> | undefined,
  reply: FastifyReply,
  payload: unknown,
): Promise<void> {
  if (transaction === undefined) return
  try {
    if (transaction.options.stream === 'refuse' && !transaction.isSettled && transaction.isUsed && isStream(payload)) {
      await transaction.fail()
      throw new Error(
        'The body of this response is a stream, which the options of the transaction refuse: send it whole, or use `transaction: false`.',
      )
    }
    const { statusCode } = reply
    if (await transaction.settle(statusCode)) {
      // Meanwhile a second reply may have set another one.
      reply.code(statusCode)
      return
    }
  } catch (error) {
    dropResponse(reply)
    throw error
  }
  reply.log.warn(`A second reply was sent for ${reply.request.method} ${reply.request.url}; the first one counts.`)
  await forever
}

/** A reply that waits for this is never sent. */
const forever = new Promise<never>(() => {})

/** Takes back what the handler has said of a response that is not sent. */
function dropResponse(reply: FastifyReply): void {
  const before = headersBefore.get(reply) ?? {}
  for (const name of Object.keys(reply.getHeaders())) if (!(name in before)) reply.removeHeader(name)
  for (const [name, value] of Object.entries(before)) reply.header(name, value)
  reply.code(500)
}

function isStream(payload: unknown): boolean {
  return typeof payload === 'object' && payload !== null && ('pipe' in payload || 'getReader' in payload)
}

/**
 * An error handler that answers with problem details (RFC 9457): 404 for an aggregate that is not there, 409 for a conflict,
 * 503 with Retry-After for what may pass; the status that an error says itself; else 500.
 *
 * @example
 * fastify.setErrorHandler(problemDetails())
 */
export function problemDetails(): (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  return (error, request, reply) => {
    const problem = problemOf(error)
    if (problem.status >= 500) request.log.error(error)
    return reply.code(problem.status).headers(problemHeaders(problem)).send(JSON.stringify(problem))
  }
}
