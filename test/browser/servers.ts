/** Servers of both frameworks with the browser of events, below the transactions of the requests. */
import { once } from 'node:events'
import type { IncomingHttpHeaders, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express5, { type Express, type Request } from 'express'
import express4 from 'express4'
import Fastify, { type FastifyRequest } from 'fastify'
import { browser, eventBrowser, type FastifyBrowserOptions } from '../../adapters/browser.js'
import * as forExpress from '../../adapters/express.js'
import * as forFastify from '../../adapters/fastify.js'

/** What both frameworks take. */
export interface ServedBrowser extends Omit<FastifyBrowserOptions, 'authorize' | 'prefix'> {
  authorize(headers: IncomingHttpHeaders): boolean | Promise<boolean>
}

export interface Running {
  /** Where the page is. */
  readonly url: string
  close(): Promise<void>
}

/** Starts a server. */
export type Start = (options: ServedBrowser, transactional: forFastify.TransactionalDatastore) => Promise<Running>

const onFastify: Start = async (options, datastore) => {
  const server = Fastify()
  await server.register(forFastify.transactions, { datastore })
  await server.register(browser, {
    ...options,
    prefix: '/admin/events',
    authorize: ({ headers }: FastifyRequest) => options.authorize(headers),
  })
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  return { url: `${url}/admin/events`, close: async () => await server.close() }
}

const onExpress =
  (make: () => Express): Start =>
  async (options, datastore) => {
    const app = make()
    app.set('env', 'test')
    const ending = new AbortController()
    app.use(forExpress.transactions(datastore))
    app.use(
      '/admin/events',
      eventBrowser({
        ...options,
        signal: ending.signal,
        authorize: ({ headers }: Request) => options.authorize(headers),
      }),
    )
    app.use(forExpress.problemDetails())
    const server: Server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/admin/events`,
      async close() {
        ending.abort()
        server.close()
        server.closeIdleConnections()
        await once(server, 'close')
      },
    }
  }

export const servers: ReadonlyArray<readonly [name: string, start: Start]> = [
  ['Fastify', onFastify],
  ['Express 5', onExpress(express5)],
  ['Express 4', onExpress(express4)],
]
