/** A server of its own process, which a signal ends: `shutdown-worker.ts <provider> <url> [fastify]`. It tells what it does line by line. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import express from 'express'
import Fastify from 'fastify'
import { problemDetails, transactions } from '../../adapters/express.js'
import { transactions as fastifyTransactions } from '../../adapters/fastify.js'
import { closeServer } from '../../examples/shutdown.js'
import { closeWithServer } from '../../examples/shutdown-fastify.js'
import { PrismaDatastore } from '../../src/index.js'
import { PrismaClient as PostgresqlClient } from '../support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../support/generated/sqlite/client.js'

const [provider, url = '', framework] = process.argv.slice(2)
const isPostgresql = provider === 'postgresql'
const datastore = new PrismaDatastore<PostgresqlClient>({
  adapter: isPostgresql ? new PrismaPg({ connectionString: url }) : new PrismaLibSql({ url }),
  client: (adapter) => {
    // The clients of the two databases are alike; the types of one stand for both.
    return (isPostgresql ? new PostgresqlClient({ adapter }) : new SqliteClient({ adapter })) as PostgresqlClient
  },
})

const storedAndAnswered = async (dog: string, ms: number): Promise<void> => {
  await datastore.client.owner.create({ data: { name: 'Ann', dog } })
  console.log(`stored ${dog}`)
  await delay(ms)
}
const sendEvents = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const timer = setInterval(() => response.write('data: 1\n\n'), 100)
  response.on('close', () => clearInterval(timer))
}
const timeoutMs = 1_500

async function startExpress(): Promise<number> {
  const app = express()
  app.use(transactions(datastore, { skip: ({ path }) => path === '/events' }))
  app.get('/events', (_request, response) => sendEvents(response))
  app.post('/dogs/:name', async (request, response) => {
    await storedAndAnswered(request.params.name, Number(request.query['ms'] ?? 0))
    response.status(201).json({})
  })
  app.use(problemDetails())
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.once('SIGTERM', () => {
    void closeServer(server, datastore, timeoutMs)
    console.log('closing')
  })
  // It listens on a port.
  return (server.address() as AddressInfo).port
}

async function startFastify(): Promise<number> {
  const fastify = Fastify()
  closeWithServer(fastify, datastore, timeoutMs)
  await fastify.register(fastifyTransactions, { datastore })
  fastify.get('/events', { config: { transaction: false } }, (_request, reply) => {
    reply.hijack()
    sendEvents(reply.raw)
  })
  fastify.post<{ Params: { name: string }; Querystring: { ms?: string } }>('/dogs/:name', async (request, reply) => {
    await storedAndAnswered(request.params.name, Number(request.query.ms ?? 0))
    return await reply.code(201).send({})
  })
  const url = await fastify.listen({ host: '127.0.0.1', port: 0 })
  process.once('SIGTERM', () => {
    void fastify.close()
    console.log('closing')
  })
  return Number(new URL(url).port)
}

console.log(`listening ${await (framework === 'fastify' ? startFastify() : startExpress())}`)
