/** Middlewares that set headers, change bodies or refuse requests: before and after that of the transactions. */
import fastifyCompress from '@fastify/compress'
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import fastifyRateLimit from '@fastify/rate-limit'
import compression from 'compression'
import cors from 'cors'
import type { RequestHandler } from 'express'
import { rateLimit } from 'express-rate-limit'
import type { FastifyInstance } from 'fastify'
import helmet from 'helmet'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../../adapters/express.js'
import * as fastifyAdapter from '../../../adapters/fastify.js'
import type { Listening } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { databases } from '../../support/databases.js'
import { expresses, Kennel, startExpress, startFastify } from './apps.js'

/** What each of them leaves in an answer. */
const headers = {
  helmet: 'x-content-type-options',
  cors: 'access-control-allow-origin',
  compression: 'content-encoding',
  'a rate limit': 'x-ratelimit-limit',
} as const
const names = Object.keys(headers) as Array<keyof typeof headers>
const middlewares: Readonly<Record<(typeof names)[number], () => RequestHandler>> = {
  helmet: () => helmet(),
  cors: () => cors({ origin: 'https://a.example' }),
  compression: () => compression({ threshold: 0 }),
  'a rate limit': () => rateLimit({ limit: 2, windowMs: 60_000 }),
}
const plugins: Readonly<Record<(typeof names)[number], (app: FastifyInstance) => Promise<unknown>>> = {
  helmet: async (app) => await app.register(fastifyHelmet),
  cors: async (app) => await app.register(fastifyCors, { origin: 'https://a.example' }),
  compression: async (app) => await app.register(fastifyCompress, { threshold: 0 }),
  'a rate limit': async (app) => await app.register(fastifyRateLimit, { max: 2, timeWindow: 60_000 }),
}
const cases = names.flatMap((name) => (['before', 'after'] as const).map((order) => ({ name, order })))

describe.each(databases.slice(0, 1))('on $name', (kind) => {
  let kennel: Kennel
  let server: Listening | undefined
  beforeAll(async () => {
    kennel = await Kennel.open(kind)
  })
  beforeEach(async () => {
    await kennel.clear()
  })
  afterEach(async () => {
    await server?.close()
  })
  afterAll(async () => {
    await kennel.close()
  })

  /** One success, one refusal, and a third request, which a rate limit refuses. */
  const expectToHold = async (url: string, name: (typeof names)[number]): Promise<void> => {
    const post = async (dog: string, status: number): Promise<Response> =>
      await fetch(`${url}/dogs?dog=${dog}&status=${status}`, {
        method: 'POST',
        headers: { origin: 'https://a.example', 'accept-encoding': 'gzip' },
      })
    const created = await post('a', 201)
    expect([created.status, await created.json()]).toEqual([201, { text: 'x'.repeat(2_000) }])
    expect(created.headers.get(headers[name])).not.toBeNull()
    expect((await post('b', 409)).status).toBe(409)
    expect((await post('c', 201)).status).toBe(name === 'a rate limit' ? 429 : 201)
    expect(await kennel.open.dogs()).toEqual(name === 'a rate limit' ? ['a'] : ['a', 'c'])
  }
  const work = async ({ dog, status }: Record<string, string>): Promise<number> => {
    await kennel.register(dog ?? '')
    return Number(status)
  }

  describe.each(expresses)('$name', ({ makeApp }) => {
    it.each(cases)('keeps its promise with $name $order it', async ({ name, order }) => {
      const app = makeApp()
      if (order === 'before') app.use(middlewares[name]())
      app.use(transactions(kennel.open.datastore))
      if (order === 'after') app.use(middlewares[name]())
      app.post(
        '/dogs',
        passingErrors(async (request, response) => {
          const status = await work(request.query as Record<string, string>)
          response.status(status).json({ text: 'x'.repeat(2_000) })
        }),
      )
      server = await startExpress(app)
      await expectToHold(server.url, name)
    })
  })

  describe('Fastify', () => {
    it.each(cases)('keeps its promise with $name $order it', async ({ name, order }) => {
      server = await startFastify(async (app) => {
        if (order === 'before') await plugins[name](app)
        await app.register(fastifyAdapter.transactions, { datastore: kennel.open.datastore })
        if (order === 'after') await plugins[name](app)
        app.post('/dogs', async (request, reply) => {
          const status = await work(request.query as Record<string, string>)
          return reply.code(status).send({ text: 'x'.repeat(2_000) })
        })
      })
      await expectToHold(server.url, name)
    })
  })
})
