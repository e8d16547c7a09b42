/** Servers of both frameworks that serve the log of an application, below the transactions of the requests. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express5, { type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import * as forExpress from '../../adapters/express.js'
import * as forFastify from '../../adapters/fastify.js'
import type { Application } from '../../src/index.js'

export interface Running {
  /** What comes before the section. */
  readonly url: string
  close(): Promise<void>
}

/** Starts a server. `/admitted` serves the same to those who say `x-key: secret`. */
export type Start = (application: Application, datastore: forFastify.TransactionalDatastore) => Promise<Running>

const onFastify: Start = async (application, datastore) => {
  const server = Fastify()
  await server.register(forFastify.transactions, { datastore, deadlineMs: 500 })
  await server.register(forFastify.notificationLog, { application, path: '/log' })
  await server.register(async (scope) => {
    scope.addHook('onRequest', async (request, reply) => {
      if (request.headers['x-key'] !== 'secret') return await reply.code(401).send()
    })
    await scope.register(forFastify.notificationLog, { application, path: '/admitted', cache: 'private' })
  })
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  return { url: `${url}/log`, close: async () => await server.close() }
}

const onExpress =
  (make: () => Express): Start =>
  async (application, datastore) => {
    const app = make()
    app.set('env', 'test')
    const ending = new AbortController()
    const { signal } = ending
    app.use(forExpress.transactions(datastore, { deadlineMs: 500 }))
    app.get('/log/:section', forExpress.notificationLogRoute(application, { signal }))
    app.use(
      '/admitted',
      (request, response, next) => {
        if (request.get('x-key') === 'secret') next()
        else response.status(401).end()
      },
      forExpress.notificationLogRoute(application, { cache: 'private', signal }),
    )
    app.use(forExpress.problemDetails())
    const server: Server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/log`,
      async close() {
        ending.abort()
        server.close()
        server.closeIdleConnections()
        await once(server, 'close')
      },
    }
  }

export const starts: Readonly<Record<string, Start>> = {
  'Fastify 5': onFastify,
  'Express 5': onExpress(express5),
  // Its types are those of Express 5, as far as they are used here.
  'Express 4': onExpress(express4 as unknown as () => Express),
}
