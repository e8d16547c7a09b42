/** The servers whose requests are compared: each with the middleware, and without. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, preparedStatementName } from 'eventsourcing-prisma'
import { transactions as expressTransactions } from 'eventsourcing-prisma/express'
import { transactions as fastifyTransactions } from 'eventsourcing-prisma/fastify'
import express, { type Express } from 'express'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import type { Served } from './http.js'
import {
  byDriver,
  byMiddleware,
  byModelRead,
  byModels,
  byTransaction,
  onOneStream,
  statementsOfLibrary,
  streamIds,
  type Work,
} from './http-postgresql.js'

/** Where a server listens, and what it is to be asked. */
export interface Target {
  readonly url: string
  readonly method: 'GET' | 'POST'
  readonly paths: readonly string[]
  close(): Promise<void>
}

type Start = (databaseUrl: string) => Promise<Target>

const answer = { hello: 'world' }

/** By name. */
export const httpServers: Readonly<Record<string, Start>> = {
  Fastify: async () => await listenFastify(withRoute(Fastify())),
  async 'Fastify with transactions'(databaseUrl) {
    const server = Fastify()
    await server.register(fastifyTransactions, { datastore: unused(databaseUrl) })
    return await listenFastify(withRoute(server))
  },
  Express: async () => await listenExpress(express()),
  'Express with transactions': async (databaseUrl) =>
    await listenExpress(express().use(expressTransactions(unused(databaseUrl)))),
  // The least that a middleware with an async context does.
  'Fastify with AsyncLocalStorage': async () => {
    const server = Fastify()
    const storage = new AsyncLocalStorage<object>()
    server.addHook('preHandler', (_request, _reply, next) => storage.run({}, next))
    return await listenFastify(withRoute(server))
  },
  'Express with AsyncLocalStorage': async () => {
    const storage = new AsyncLocalStorage<object>()
    return await listenExpress(express().use((_request, _response, next) => storage.run({}, next)))
  },
  'Prisma $transaction': async (databaseUrl) => {
    const ids = await streamIds(databaseUrl)
    return await listenStreams(
      byTransaction(databaseUrl, (n) => ids[Number(n) % ids.length] ?? '', statementsOfLibrary).server,
    )
  },
  'Prisma $transaction, models': async (databaseUrl) => {
    const ids = await streamIds(databaseUrl)
    return await listenStreams(byModels(databaseUrl, (n) => ids[Number(n) % ids.length] ?? ''))
  },
  'transactions, row by model': async (databaseUrl) =>
    await listenStreams((await ours(databaseUrl, { byModel: true })).server),
  prepared: async (databaseUrl) => await listenStreams((await ours(databaseUrl, {}, preparedStatementName)).server),
  transactions: async (databaseUrl) => await listenStreams((await ours(databaseUrl, {})).server),
  'transactions, row only, 10 ms': async (databaseUrl) => await awaiting(databaseUrl, false),
  'transactions, 10 ms': async (databaseUrl) => await awaiting(databaseUrl, true),
  'prepared, row only, 10 ms': async (databaseUrl) => await awaiting(databaseUrl, false, preparedStatementName),
  'prepared, 10 ms': async (databaseUrl) => await awaiting(databaseUrl, true, preparedStatementName),
  'model read': async (databaseUrl) => await listenFastify(await byModelRead(databaseUrl, 'nothing')),
  'model read with AsyncLocalStorage': async (databaseUrl) =>
    await listenFastify(await byModelRead(databaseUrl, 'async context')),
  'model read with transactions': async (databaseUrl) =>
    await listenFastify(await byModelRead(databaseUrl, 'transactions')),
  pg: async (databaseUrl) => await byHand(databaseUrl),
  'one stream, retried by the server': async (databaseUrl) => await oneStream(databaseUrl, 10),
  'one stream, retried by clients': async (databaseUrl) => await oneStream(databaseUrl, 0),
}

/** Statements of node-postgres, prepared by their names. */
async function byHand(databaseUrl: string): Promise<Target> {
  const ids = await streamIds(databaseUrl)
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 16 })
  return await listenStreams(byDriver(pool, (n) => ids[Number(n) % ids.length] ?? '', true).server)
}

async function oneStream(databaseUrl: string, retries: number): Promise<Target> {
  const ids = await streamIds(databaseUrl)
  return await listenStreams(await onOneStream(databaseUrl, (n) => ids[Number(n) % ids.length] ?? '', retries))
}

/** On a database that is never asked. */
function unused(databaseUrl: string): PrismaDatastore {
  return new PrismaDatastore({ adapter: new PrismaPg({ connectionString: databaseUrl }) })
}

type NameGenerator = typeof preparedStatementName

/** 10 ms of something else before the row is written. */
async function awaiting(databaseUrl: string, events: boolean, nameGenerator?: NameGenerator): Promise<Target> {
  return await listenStreams((await ours(databaseUrl, { between: () => delay(10), events }, nameGenerator)).server)
}

async function ours(databaseUrl: string, work: Work, nameGenerator?: NameGenerator): Promise<Served> {
  const ids = await streamIds(databaseUrl)
  const prepared = nameGenerator === undefined ? {} : { statementNameGenerator: nameGenerator }
  const adapter = new PrismaPg({ connectionString: databaseUrl, max: 16 }, prepared)
  return await byMiddleware('transactions', adapter, (n) => ids[Number(n) % ids.length] ?? '', work)
}

function withRoute(server: FastifyInstance): FastifyInstance {
  server.get('/', async () => answer)
  return server
}

async function listenFastify(server: FastifyInstance): Promise<Target> {
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return { url, method: 'GET', paths: ['/'], close: () => server.close() }
}

async function listenStreams(server: FastifyInstance): Promise<Target> {
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  const paths = Array.from({ length: 100 }, (_, n) => `/streams/${n}`)
  return { url, method: 'POST', paths, close: () => server.close() }
}

async function listenExpress(app: Express): Promise<Target> {
  app.get('/', (_request, response) => {
    response.json(answer)
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async (): Promise<void> => {
    server.close()
    await once(server, 'close')
  }
  return { url: `http://127.0.0.1:${port}`, method: 'GET', paths: ['/'], close }
}
