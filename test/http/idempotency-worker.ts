/**
 * One of several processes that serve the same requests: it says its URL, and ends when its input does.
 *
 * Argument: the database's URL. A request with the header `x-hangs` is never answered; the process says that it has begun.
 */
import Fastify from 'fastify'
import { problemDetails, transactions } from '../../adapters/fastify.js'
import { PrismaApplicationRecorder, PrismaDatastore } from '../../src/index.js'
import { adapterFromUrl } from '../../src/prisma/factory.js'
import { storedEvent } from '../contracts/stored-events.js'

const datastore = new PrismaDatastore({ adapter: await adapterFromUrl(process.argv[2] ?? ''), deadlineMs: 30_000 })
const recorder = new PrismaApplicationRecorder(datastore)
const fastify = Fastify({ forceCloseConnections: true })
await fastify.register(transactions, { datastore, idempotency: { scope: 'public', required: true } })
fastify.setErrorHandler(problemDetails())
fastify.post('/', async ({ headers }) => {
  await recorder.insertEvents([storedEvent(crypto.randomUUID(), 1)])
  if (headers['x-hangs'] !== undefined) {
    process.stdout.write('hangs\n')
    await new Promise(() => undefined)
  }
  return { pid: process.pid }
})
process.stdout.write(`${await fastify.listen({ host: '127.0.0.1', port: 0 })}\n`)
process.stdin.resume()
process.stdin.once('end', () => process.exit())
