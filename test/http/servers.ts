/** The same routes on each framework. */
import { once } from 'node:events'
import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import express5, { type Express, type Request, type RequestHandler, type Response } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
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

/** All that are supported. */
export const frameworks: readonly Framework[] = [
  fastify,
  express('Express 5', () => express5(), express5.json),
  express('Express 4', () => express4(), express4.json),
]
