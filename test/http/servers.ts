/** The same routes on each framework. */
import { once } from 'node:events'
import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { type HttpBindings, serve } from '@hono/node-server'
import express5, { type Express, type Request, type RequestHandler, type Response } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { type Context, Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import * as honoAdapter from '../../adapters/hono.js'
import type { ProblemOptions, RouteTransactionOptions, TransactionalDatastore } from '../../adapters/http.js'

/** What a handler of a test does with its request, in words that all frameworks have. */
export interface Exchange {
  readonly body: Record<string, unknown>
  readonly method: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly send: (status: number, body?: unknown, headers?: Record<string, string>) => void
  readonly stream: (status: number, body: Readable) => void
  /** The response below the framework: for Fastify it is hijacked. */
  readonly raw: () => ServerResponse
}

type Options = RouteTransactionOptions

export interface Route {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly transaction?: false | Options
  readonly handle: (exchange: Exchange) => Promise<void>
}

export interface ServerOptions extends Options {
  /** Answers errors with problem details; default true. Otherwise the framework's own handler does. */
  readonly problems?: boolean
  /** Runs before the transactions begin. */
  readonly before?: (response: ServerResponse) => Promise<void>
  /** What errors mean beside what they say. */
  readonly describe?: ProblemOptions['describe']
}

export interface RunningServer {
  readonly port: number
  readonly url: string
  close(): Promise<void>
}

type Datastores = TransactionalDatastore | readonly TransactionalDatastore[]

export interface Framework {
  readonly name: string
  /** Why there is no response to write below the framework, and none that a handler sends before it is over; undefined where there is one. */
  readonly answersByValue?: string
  /** @param datastores - one, or several in the order in which they are registered */
  start(datastores: Datastores, routes: readonly Route[], options?: ServerOptions): Promise<RunningServer>
}

const fastify: Framework = {
  name: 'Fastify 5',
  async start(datastores, routes, { problems = true, describe, before, ...options } = {}) {
    const server = Fastify({ forceCloseConnections: true })
    if (before !== undefined) server.addHook('onRequest', async (_request, reply) => await before(reply.raw))
    for (const datastore of [datastores].flat()) {
      await server.register(fastifyAdapter.transactions, { datastore, ...options })
    }
    if (problems) server.setErrorHandler(fastifyAdapter.problemDetails(describe === undefined ? {} : { describe }))
    for (const { method, path, handle, transaction } of routes) {
      server.route({
        method,
        url: path,
        ...(transaction === undefined ? {} : { config: { transaction } }),
        async handler(request, reply) {
          await handle({
            body: (request.body ?? {}) as Record<string, unknown>,
            method: request.method,
            headers: request.headers,
            send: (status, body, headers = {}) => void reply.code(status).headers(headers).send(body),
            stream: (status, body) => void reply.code(status).send(body),
            raw() {
              reply.hijack()
              return reply.raw
            },
          })
          return reply
        },
      })
    }
    const url = await server.listen({ host: '127.0.0.1', port: 0 })
    return { url, port: Number(new URL(url).port), close: async () => await server.close() }
  },
}

/** Gives the error handlers what a handler rejects with, which Express 4 does not do. */
export function passingErrors(handle: (...args: Parameters<RequestHandler>) => Promise<unknown>): RequestHandler {
  return async (request, response, next) => {
    try {
      await handle(request, response, next)
    } catch (error) {
      next(error)
    }
  }
}

function express(name: string, makeApp: () => Express, json: typeof express5.json): Framework {
  return {
    name,
    async start(datastores, routes, { problems = true, describe, before, ...options } = {}) {
      const app = makeApp()
      app.use(json())
      app.use(
        passingErrors(async (_request, response, next) => {
          await before?.(response)
          next()
        }),
      )
      const all = [datastores].flat()
      for (const datastore of all) app.use(expressAdapter.transactions(datastore, options))
      // The options of a route are for the first one.
      const own = (...given: [Options | false, RequestHandler?]): RequestHandler[] =>
        all.slice(0, 1).map((datastore) => expressAdapter.transactions(datastore, ...given))
      for (const { method, path, handle, transaction } of routes) {
        const handler = passingErrors((request, response) => handle(exchangeOf(request, response)))
        const hasRetries = transaction !== undefined && transaction !== false && (transaction.retries ?? 0) > 0
        const handlers =
          transaction === undefined
            ? [handler]
            : hasRetries
              ? own(transaction, handler)
              : [...own(transaction), handler]
        if (method === 'GET') app.get(path, ...handlers)
        else app.post(path, ...handlers)
      }
      if (problems) app.use(expressAdapter.problemDetails(describe === undefined ? {} : { describe }))
      else app.set('env', 'test')
      const server: Server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      return {
        port,
        url: `http://127.0.0.1:${port}`,
        async close() {
          server.closeAllConnections()
          await new Promise((resolve) => server.close(resolve))
        },
      }
    },
  }
}

function exchangeOf(request: Request, response: Response): Exchange {
  return {
    body: (request.body ?? {}) as Record<string, unknown>,
    method: request.method,
    headers: request.headers,
    send(status, body, headers = {}) {
      response.status(status).set(headers)
      if (body === undefined) response.end()
      else response.send(body)
    },
    stream(status, body) {
      response.status(status)
      body.pipe(response)
    },
    raw: () => response,
  }
}

const hono: Framework = {
  name: 'Hono 4',
  answersByValue: 'a handler of Hono answers by what it returns',
  async start(datastores, routes, { problems = true, describe, before, ...given } = {}) {
    const { stream: _, ...options } = given
    const app = new Hono<{ Bindings: HttpBindings }>()
    app.use(async ({ env }, next) => {
      await before?.(env.outgoing as ServerResponse)
      await next()
    })
    const all = [datastores].flat()
    for (const datastore of all) app.use(honoAdapter.transactions(datastore, forContexts(options)))
    const answer = honoAdapter.problemDetails(describe === undefined ? {} : { describe })
    if (problems) app.onError((error, context) => quietly(() => answer(error, context)))
    for (const { method, path, handle, transaction } of routes) {
      const handler = async (context: Context): Promise<globalThis.Response> => await answerOf(context, handle)
      const own = all.slice(0, 1).map((datastore) => {
        if (transaction === undefined) return []
        const hasRetries = transaction !== false && (transaction.retries ?? 0) > 0
        return [
          honoAdapter.transactions(
            datastore,
            transaction && forContexts(transaction),
            ...(hasRetries ? [handler] : []),
          ),
        ]
      })
      app.on(method, [path], ...own.flat(), handler)
    }
    const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
    if (!server.listening) await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return {
      port,
      url: `http://127.0.0.1:${port}`,
      async close() {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
}

/** Options whose functions are given what they find in requests of the other frameworks. */
function forContexts({ metadata, idempotency, ...options }: Options): honoAdapter.TransactionsOptions {
  const { stream: _, ...others } = options
  const given =
    <Result>(fn: (request: unknown) => Result) =>
    ({ req }: Context): Result =>
      fn({ method: req.method, url: req.path, headers: req.header() })
  const keys =
    typeof idempotency === 'object'
      ? Object.fromEntries(
          Object.entries(idempotency).map(([name, value]) => [
            name,
            typeof value === 'function' ? given(value as (request: unknown) => unknown) : value,
          ]),
        )
      : idempotency
  return {
    ...others,
    ...(metadata === undefined ? {} : { metadata: given(metadata) }),
    ...(keys === undefined ? {} : { idempotency: keys }),
  } as honoAdapter.TransactionsOptions
}

/** The handler prints what it answers with 500. */
function quietly<T>(run: () => T): T {
  const { error } = console
  console.error = () => undefined
  try {
    return run()
  } finally {
    console.error = error
  }
}

/** The answer that a handler sends, which may go on afterwards. */
async function answerOf(context: Context, handle: (exchange: Exchange) => Promise<void>): Promise<globalThis.Response> {
  const { req } = context
  let body: Record<string, unknown> = {}
  if (req.header('content-type') === 'application/json') {
    body = await req.json<Record<string, unknown>>().catch(() => {
      throw new HTTPException(400)
    })
  }
  return await new Promise((resolve, reject) => {
    const exchange: Exchange = {
      body,
      method: req.method,
      headers: req.header(),
      send(status, given, headers = {}) {
        for (const [name, value] of Object.entries(headers)) context.header(name, value)
        if (given === undefined) resolve(context.body(null, status as 200))
        else if (typeof given === 'string') resolve(context.text(given, status as 200))
        else resolve(context.json(given, status as 200))
      },
      stream: (status, given) => resolve(context.body(Readable.toWeb(given) as ReadableStream, status as 200)),
      raw() {
        throw new Error('Hono has no response below it')
      },
    }
    handle(exchange).then(() => resolve(context.body(null)), reject)
  })
}

/** All that are supported. */
export const frameworks: readonly Framework[] = [
  fastify,
  express('Express 5', () => express5(), express5.json),
  express('Express 4', () => express4(), express4.json),
  hono,
]
