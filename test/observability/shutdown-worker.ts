/** A server of its own process, which a signal ends: `shutdown-worker.ts <provider> <url>`. It tells what it does line by line. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import express from 'express'
import { problemDetails, transactions } from '../../adapters/express.js'
import { closeServer } from '../../examples/shutdown.js'
import { PrismaDatastore } from '../../src/index.js'
import { PrismaClient as PostgresqlClient } from '../support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../support/generated/sqlite/client.js'

const [provider, url = ''] = process.argv.slice(2)
const isPostgresql = provider === 'postgresql'
const datastore = new PrismaDatastore<PostgresqlClient>({
  adapter: isPostgresql ? new PrismaPg({ connectionString: url }) : new PrismaLibSql({ url }),
  client: (adapter) => {
    // The clients of the two databases are alike; the types of one stand for both.
    return (isPostgresql ? new PostgresqlClient({ adapter }) : new SqliteClient({ adapter })) as PostgresqlClient
  },
})

const app = express()
app.use(transactions(datastore))
app.post('/dogs/:name', async (request, response) => {
  await datastore.client.owner.create({ data: { name: 'Ann', dog: request.params.name } })
  console.log(`stored ${request.params.name}`)
  await delay(Number(request.query['ms'] ?? 0))
  response.status(201).json({})
})
app.use(problemDetails())
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

process.once('SIGTERM', () => {
  void closeServer(server, datastore, 1_500)
  console.log('closing')
})
console.log(`listening ${port}`)
