/** Servers of both frameworks whose list waits for a projection, for tests of read-your-writes. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express5, { type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import * as forExpress from '../../adapters/express.js'
import * as forFastify from '../../adapters/fastify.js'
import type { ProjectionRunner } from '../../src/index.js'
import type { TrainingSchool } from '../application/dogs.js'
import type { OpenDatabase } from '../prisma/open-database.js'

/** How the route of the list is late. */
export interface Options {
  readonly onStale?: 'answer' | 'refuse'
  readonly waitMs?: number
}

/** A server that listens. */
export interface Running {
  readonly url: string
  close(): Promise<void>
}

/**
 * Starts a server with `POST /dogs/:name`, `POST /forms/:name`, which redirects, `POST /nothing`, `POST /failing` and `GET /dogs`, which
 * shows the projection `owners`.
 */
export type Start = (
  open: Pick<OpenDatabase, 'datastore' | 'db'>,
  school: TrainingSchool,
  runner: ProjectionRunner,
  options: Options,
) => Promise<Running>

const onFastify: Start = async ({ datastore, db }, school, runner, { onStale, waitMs = 2_000 }) => {
  const server = Fastify({ forceCloseConnections: true })
  await server.register(forFastify.projections, { runner, start: false, health: '/health' })
  await server.register(forFastify.transactions, { datastore, cookie: true, deadlineMs: 60_000 })
  server.setErrorHandler(forFastify.problemDetails())
  server.post<{ Params: { name: string } }>('/dogs/:name', async (request, reply) => {
    await school.register(request.params.name)
    return await reply.code(201).header('set-cookie', 'a=b').send({})
  })
  server.post<{ Params: { name: string } }>('/forms/:name', async (request, reply) => {
    await school.register(request.params.name)
    return await reply.redirect('/dogs', 303)
  })
  server.post('/nothing', async () => await db.owner.create({ data: { name: 'Ann', dog: 'Ace' } }))
  server.post('/failing', async (_request, reply) => {
    await school.register('Failing')
    await datastore.currentTransaction.flush()
    return await reply.code(422).send({})
  })
  const config = { projections: ['owners'], waitMs, ...(onStale === undefined ? {} : { onStale }) }
  server.get('/dogs', { config }, async () => await db.owner.count())
  return {
    url: await server.listen({ port: 0, host: '127.0.0.1' }),
    close: () => server.close(),
  }
}

const onExpress =
  (make: () => Express): Start =>
  async ({ datastore, db }, school, runner, { onStale, waitMs = 2_000 }) => {
    const app = make()
    app.set('env', 'test')
    app.get('/health', forExpress.projectionHealth(runner))
    app.use(forExpress.transactions(datastore, { cookie: true, deadlineMs: 60_000 }))
    const answer =
      (work: (request: express5.Request, response: express5.Response) => Promise<unknown>): express5.RequestHandler =>
      async (request, response, next) => {
        try {
          await work(request, response)
        } catch (error) {
          next(error)
        }
      }
    app.post(
      '/dogs/:name',
      answer(async (request, response) => {
        await school.register(String(request.params['name']))
        response.status(201).cookie('a', 'b').json({})
      }),
    )
    app.post(
      '/forms/:name',
      answer(async (request, response) => {
        await school.register(String(request.params['name']))
        response.redirect(303, '/dogs')
      }),
    )
    app.post(
      '/nothing',
      answer(async (_request, response) => response.json(await db.owner.create({ data: { name: 'Ann', dog: 'Ace' } }))),
    )
    app.post(
      '/failing',
      answer(async (_request, response) => {
        await school.register('Failing')
        await datastore.currentTransaction.flush()
        response.status(422).json({})
      }),
    )
    const options = { waitMs, ...(onStale === undefined ? {} : { onStale }) }
    app.get(
      '/dogs',
      forExpress.upToDate(runner, ['owners'], options),
      answer(async (_request, response) => response.json(await db.owner.count())),
    )
    app.use(forExpress.problemDetails())
    const server: Server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async close() {
        server.closeAllConnections()
        server.close()
      },
    }
  }

export const starts: Readonly<Record<string, Start>> = {
  'Fastify 5': onFastify,
  'Express 5': onExpress(express5),
  // Its types are those of Express 5, as far as they are used here.
  'Express 4': onExpress(express4 as unknown as () => Express),
}
