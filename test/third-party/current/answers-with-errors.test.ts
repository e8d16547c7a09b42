/** Servers that answer 200 or 207 with errors in the body: what has failed is not stored, and its answer arrives. */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ApolloServer } from '@apollo/server'
import { expressMiddleware } from '@as-integrations/express5'
import fastifyApollo, { fastifyApolloDrainPlugin } from '@as-integrations/fastify'
import { initTRPC } from '@trpc/server'
import { createExpressMiddleware } from '@trpc/server/adapters/express'
import { type FastifyTRPCPluginOptions, fastifyTRPCPlugin } from '@trpc/server/adapters/fastify'
import express5, { type Express, type RequestHandler } from 'express'
import express4 from 'express4'
import Fastify, { type FastifyInstance } from 'fastify'
import { createSchema, createYoga } from 'graphql-yoga'
import mercurius from 'mercurius'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import * as forExpress from '../../../adapters/express.js'
import * as forFastify from '../../../adapters/fastify.js'
import { apolloTransactions, mercuriusTransactions, yogaTransactions } from '../../../adapters/graphql.js'
import { trpcTransactions } from '../../../adapters/trpc.js'
import type { PrismaDatastore } from '../../../src/index.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../../prisma/open-database.js'
import { databases } from '../../support/databases.js'
import { expressMiddleware as expressMiddleware4 } from '../express4/apollo.js'

type Datastore = PrismaDatastore<TestClient>

const typeDefs = `
  type Query { owners: Int! }
  type Mutation { add(dog: String!): Int! addAndFail(dog: String!): Int! addOrNull(dog: String!): Int }
`

function resolversFor({ client: db }: Datastore) {
  const add = async (_root: unknown, { dog }: { dog: string }) =>
    (await db.owner.create({ data: { name: 'Ann', dog } })).id
  const addAndFail = async (root: unknown, args: { dog: string }) => {
    await add(root, args)
    throw new Error('failed after the row')
  }
  return { Query: { owners: () => db.owner.count() }, Mutation: { add, addAndFail, addOrNull: addAndFail } }
}

const t = initTRPC.create()

function routerFor(datastore: Datastore) {
  const procedure = t.procedure.use(trpcTransactions(datastore)).input(z.string())
  const add = async (dog: string) => (await datastore.client.owner.create({ data: { name: 'Ann', dog } })).id
  return t.router({
    add: procedure.mutation(async ({ input }) => await add(input)),
    addAndFail: procedure.mutation(async ({ input }) => {
      await add(input)
      throw new Error('failed after the row')
    }),
  })
}

interface Running {
  readonly url: string
  close(): Promise<void>
}

async function listen(
  listener: RequestListener | Server,
  stop: () => Promise<void> = async () => {},
): Promise<Running> {
  const server = typeof listener === 'function' ? createServer(listener) : listener
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await stop()
    },
  }
}

async function onFastify(
  datastore: Datastore,
  prepare: (fastify: FastifyInstance) => Promise<unknown>,
): Promise<Running> {
  const fastify = Fastify({ forceCloseConnections: true })
  await fastify.register(forFastify.transactions, { datastore })
  await prepare(fastify)
  const url = await fastify.listen({ port: 0, host: '127.0.0.1' })
  return { url, close: () => fastify.close() }
}

function onExpress(app: Express, datastore: Datastore): Express {
  app.set('env', 'test')
  app.use(forExpress.transactions(datastore))
  return app
}

function newApollo(datastore: Datastore): ApolloServer {
  return new ApolloServer({
    typeDefs,
    resolvers: resolversFor(datastore),
    plugins: [apolloTransactions(datastore)],
    allowBatchedHttpRequests: true,
  })
}

const newYoga = (datastore: Datastore) =>
  createYoga({
    schema: createSchema({ typeDefs, resolvers: resolversFor(datastore) }),
    plugins: [yogaTransactions(datastore)],
    batching: true,
    logging: false,
  })

type Start = (datastore: Datastore) => Promise<Running>

const graphqlServers: Readonly<Record<string, Start>> = {
  'Apollo Server on Express 5': async (datastore) => {
    const apollo = newApollo(datastore)
    await apollo.start()
    const app = express5()
    app.use(express5.json())
    onExpress(app, datastore).use('/graphql', expressMiddleware(apollo))
    return await listen(app, () => apollo.stop())
  },
  'Apollo Server on Express 4': async (datastore) => {
    const apollo = newApollo(datastore)
    await apollo.start()
    const app = express4()
    app.use(express4.json())
    // Its types are those of Express 5, which differ in nothing that is used here.
    onExpress(app as unknown as Express, datastore).use('/graphql', expressMiddleware4(apollo) as RequestHandler)
    return await listen(app, () => apollo.stop())
  },
  'Apollo Server on Fastify 5': async (datastore) =>
    await onFastify(datastore, async (fastify) => {
      const apollo = newApollo(datastore)
      apollo.addPlugin(fastifyApolloDrainPlugin(fastify))
      await apollo.start()
      await fastify.register(fastifyApollo(apollo))
    }),
  'GraphQL Yoga on Express 5': async (datastore) => {
    const app = onExpress(express5(), datastore)
    app.use('/graphql', newYoga(datastore))
    return await listen(app)
  },
  'GraphQL Yoga on Express 4': async (datastore) => {
    const app = onExpress(express4() as unknown as Express, datastore)
    app.use('/graphql', newYoga(datastore))
    return await listen(app)
  },
  'GraphQL Yoga on Fastify 5': async (datastore) =>
    await onFastify(datastore, async (fastify) => {
      const yoga = newYoga(datastore)
      fastify.route({
        url: '/graphql',
        method: ['GET', 'POST'],
        handler: async (request, reply) => await yoga.handleNodeRequestAndResponse(request, reply),
      })
    }),
  'Mercurius on Fastify 5': async (datastore) =>
    await onFastify(datastore, async (fastify) => {
      await fastify.register(mercurius, {
        schema: typeDefs,
        resolvers: resolversFor(datastore),
        allowBatchedQueries: true,
      })
      fastify.graphql.addHook('onResolution', mercuriusTransactions(datastore))
    }),
}

const trpcServers: Readonly<Record<string, Start>> = {
  'tRPC on Express 5': async (datastore) => {
    const app = onExpress(express5(), datastore)
    app.use('/trpc', createExpressMiddleware({ router: routerFor(datastore) }))
    return await listen(app)
  },
  'tRPC on Express 4': async (datastore) => {
    const app = onExpress(express4() as unknown as Express, datastore)
    app.use('/trpc', createExpressMiddleware({ router: routerFor(datastore) }))
    return await listen(app)
  },
  'tRPC on Fastify 5': async (datastore) =>
    await onFastify(datastore, async (fastify) => {
      const options: FastifyTRPCPluginOptions<ReturnType<typeof routerFor>> = {
        prefix: '/trpc',
        trpcOptions: { router: routerFor(datastore) },
      }
      await fastify.register(fastifyTRPCPlugin, options)
    }),
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

async function post(url: string, body: unknown): Promise<Answer> {
  const headers = { 'content-type': 'application/json', accept: 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  return { status: response.status, body: await response.json() }
}

describe.each(databases.slice(0, 1))('on $name', (kind) => {
  let open: OpenDatabase
  let server: Running | undefined
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())
  afterEach(async () => await server?.close())

  describe.each(Object.entries(graphqlServers))('%s', (_name, start) => {
    const mutate = async (...mutations: string[]): Promise<Answer> => {
      server = await start(open.datastore)
      const operations = mutations.map((query) => ({ query: `mutation ${query}` }))
      return await post(`${server.url}/graphql`, operations.length === 1 ? operations[0] : operations)
    }

    it('stores what a mutation did that has no errors', async () => {
      const { status, body } = await mutate('{ add(dog: "Ace") }')
      expect({ status, body }).toEqual({ status: 200, body: { data: { add: expect.any(Number) } } })
      expect(await open.dogs()).toEqual(['Ace'])
    })

    it('stores nothing of a mutation that has failed, and answers with its errors', async () => {
      const { body } = await mutate('{ add(dog: "Ace") addAndFail(dog: "Bob") }')
      expect(body).toMatchObject({ errors: [{ path: ['addAndFail'] }] })
      expect(await open.dogs()).toEqual([])
    })

    it('stores nothing of a mutation of which a part is null, answered with 200', async () => {
      const { status, body } = await mutate('{ add(dog: "Ace") addOrNull(dog: "Bob") }')
      expect(status).toBe(200)
      expect(body).toMatchObject({ data: { addOrNull: null }, errors: [{ path: ['addOrNull'] }] })
      expect(await open.dogs()).toEqual([])
    })

    it('answers with the errors of a mutation that has met a unique constraint', async () => {
      const { body } = await mutate('{ first: add(dog: "Ace") second: add(dog: "Ace") }')
      expect(body).toMatchObject({ errors: [{ path: ['second'] }] })
      expect(await open.dogs()).toEqual([])
    })

    it('undoes the whole of a batch of which one operation has failed', async () => {
      const { body } = await mutate('{ add(dog: "Ace") }', '{ addOrNull(dog: "Bob") }')
      expect(body).toMatchObject([{ data: { add: expect.any(Number) } }, { errors: [{ path: ['addOrNull'] }] }])
      expect(await open.dogs()).toEqual([])
    })
  })

  describe.each(Object.entries(trpcServers))('%s', (_name, start) => {
    const call = async (...calls: ReadonlyArray<readonly ['add' | 'addAndFail', string]>): Promise<Answer> => {
      server = await start(open.datastore)
      const path = calls.map(([procedure]) => procedure).join(',')
      return await post(`${server.url}/trpc/${path}?batch=1`, Object.fromEntries(calls.map(([, dog], i) => [i, dog])))
    }

    it('stores what a procedure did that has succeeded', async () => {
      expect(await call(['add', 'Ace'])).toMatchObject({
        status: 200,
        body: [{ result: { data: expect.any(Number) } }],
      })
      expect(await open.dogs()).toEqual(['Ace'])
    })

    it('stores nothing of a procedure that has failed', async () => {
      expect(await call(['addAndFail', 'Ace'])).toMatchObject({ status: 500, body: [{ error: {} }] })
      expect(await open.dogs()).toEqual([])
    })

    it('undoes the procedures of a batch that have failed, and stores the others', async () => {
      const { status, body } = await call(['add', 'Ace'], ['addAndFail', 'Bob'], ['add', 'Ace'], ['add', 'Cap'])
      expect(status).toBe(207)
      expect(body).toMatchObject([
        { result: {} },
        { error: { message: 'failed after the row' } },
        { error: {} },
        { result: {} },
      ])
      expect(await open.dogs()).toEqual(['Ace', 'Cap'])
    })
  })
})
