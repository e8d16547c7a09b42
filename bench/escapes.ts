/** What escape detection costs: processor time of a request that reads, writes a row and saves an event, with it and without. */
import { randomBytes } from 'node:crypto'
import { PrismaPg } from '@prisma/adapter-pg'
import { Aggregate, Application, event, type OnEscape, PrismaDatastore } from 'eventsourcing-prisma'
import { transactions } from 'eventsourcing-prisma/fastify'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import { PrismaClient } from '../test/support/generated/postgresql/client.js'

const rounds = Number(process.argv[2] ?? 300)
const requestsPerRound = 40
const inFlight = 4
/** Without it twice: what the two differ by is noise. */
const contenders: ReadonlyArray<{ readonly name: string; readonly onEscape: OnEscape }> = [
  { name: 'off', onEscape: 'off' },
  { name: 'off, again', onEscape: 'off' },
  { name: 'warn', onEscape: 'warn' },
  { name: 'throw', onEscape: 'throw' },
]

@event('Opened')
class Stream extends Aggregate {}

async function serve(url: string, onEscape: OnEscape): Promise<FastifyInstance> {
  const datastore = new PrismaDatastore({
    adapter: new PrismaPg({ connectionString: url, max: inFlight }),
    client: (adapter) => new PrismaClient({ adapter }),
    onEscape,
  })
  const application = new Application({ name: 'Bench', datastore })
  const server = Fastify()
  await server.register(transactions, { datastore })
  server.post('/owners', async (_request, reply) => {
    const dog = randomBytes(8).toString('hex')
    await datastore.client.owner.findUnique({ where: { dog } })
    await datastore.client.owner.create({ data: { name: 'Ann', dog } })
    await application.save(new Stream())
    return await reply.code(201).send()
  })
  server.addHook('onClose', async () => await datastore.close())
  return server
}

/** Microseconds of processor time per request. */
async function processorTime(server: FastifyInstance): Promise<number> {
  let left = requestsPerRound
  const client = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const { statusCode } = await server.inject({ method: 'POST', url: '/owners' })
      if (statusCode !== 201) throw new Error(`answered ${statusCode}`)
    }
  }
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: inFlight }, client))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requestsPerRound
}

function shuffled<T>(all: readonly T[]): readonly T[] {
  return all
    .map((one) => ({ one, place: Math.random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ one }) => one)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

async function measure(url: string): Promise<void> {
  const application = new Application({
    name: 'Bench',
    datastore: new PrismaDatastore({ adapter: new PrismaPg({ connectionString: url }) }),
  })
  await application.recorder.createTable()
  const servers = await Promise.all(contenders.map(({ onEscape }) => serve(url, onEscape)))
  const times = contenders.map((): number[] => [])
  const warmUp = 10
  for (let round = 0; round < warmUp + rounds; round += 1) {
    // In any order: each one clears away what the one before it has left in memory.
    for (const [n, server] of shuffled([...servers.entries()])) {
      const time = await processorTime(server)
      if (round >= warmUp) times[n]?.push(time)
    }
  }
  const [off = []] = times
  const rows = contenders.map(({ name }, n) => {
    const own = times[n] ?? []
    const ratio = median(own.map((time, round) => time / (off[round] ?? Number.NaN)))
    const cells = {
      'per request': `${median(own).toFixed(0)} µs`,
      'against off': `${((ratio - 1) * 100).toFixed(2)} %`,
    }
    return [name, cells] as const
  })
  console.table(Object.fromEntries(rows))
  for (const server of servers) await server.close()
}

const server = process.env['TEST_POSTGRES_URL'] ?? 'postgresql://postgres@127.0.0.1:5432/postgres'
const name = `es_bench_${randomBytes(4).toString('hex')}`
const admin = new pg.Client(server)
await admin.connect()
await admin.query(`CREATE DATABASE ${name}`)
try {
  const url = new URL(server)
  url.pathname = `/${name}`
  const tables = new pg.Client(url.href)
  await tables.connect()
  await tables.query('CREATE TABLE owners (id SERIAL PRIMARY KEY, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE)')
  await tables.end()
  await measure(url.href)
} finally {
  await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
  await admin.end()
}
