/** `npm run bench -- --http`: what a request costs with the middleware, beside the same without it. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { type ComparedCost, type Comparison, compareCosts } from './http-cost.js'
import { compareRetries, type OneStreamResult } from './http-one-stream.js'
import { prepareStreams } from './http-postgresql.js'
import { assertSameStatements } from './same-statements.js'

const { values } = parseArgs({
  options: {
    http: { type: 'boolean' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '9' },
    starts: { type: 'string', default: '5' },
    json: { type: 'string' },
  },
})
const extent = { starts: Number(values.starts), rounds: Number(values.rounds) }
const comparisons: readonly Comparison[] = [
  // How far the others can be trusted.
  { name: 'the same twice, Fastify', servers: ['Fastify', 'Fastify'], amount: 4_000 },
  { name: 'the same twice, Express', servers: ['Express', 'Express'], amount: 4_000 },
  { name: 'no database, Fastify', servers: ['Fastify', 'Fastify with transactions'], amount: 4_000 },
  { name: 'no database, Express', servers: ['Express', 'Express with transactions'], amount: 4_000 },
  { name: 'only an async context, Fastify', servers: ['Fastify', 'Fastify with AsyncLocalStorage'], amount: 4_000 },
  { name: 'only an async context, Express', servers: ['Express', 'Express with AsyncLocalStorage'], amount: 4_000 },
  { name: 'command and row', servers: ['Prisma $transaction', 'transactions'], amount: 800 },
  { name: 'command and row, by hand on node-postgres', servers: ['pg', 'prepared'], amount: 800 },
  {
    name: 'command and row, by models',
    servers: ['Prisma $transaction, models', 'transactions, row by model'],
    amount: 800,
  },
  { name: 'model read', servers: ['model read', 'model read with transactions'], amount: 2_000 },
  {
    name: 'model read, only an async context',
    servers: ['model read', 'model read with AsyncLocalStorage'],
    amount: 2_000,
  },
  {
    name: 'command and row, awaiting 10 ms',
    servers: ['transactions, row only, 10 ms', 'transactions, 10 ms'],
    amount: 800,
  },
  {
    name: 'command and row, awaiting 10 ms, statements prepared',
    servers: ['prepared, row only, 10 ms', 'prepared, 10 ms'],
    amount: 800,
  },
]
const { TEST_POSTGRES_URL: server } = process.env
if (server === undefined) throw new Error('This compares requests on PostgreSQL: name a server in TEST_POSTGRES_URL.')
const name = `es_bench_${randomBytes(4).toString('hex')}`
const url = new URL(server)
url.pathname = `/${name}`
const admin = new pg.Client(server)
await admin.connect()
await admin.query(`CREATE DATABASE ${name}`)
const compared: ComparedCost[] = []
let oneStream: OneStreamResult | undefined
try {
  await prepareStreams(url.href)
  await assertSameStatements(['Prisma $transaction', 'transactions'], url.href)
  for (const comparison of comparisons) {
    if (!comparison.name.includes(values.only ?? '')) continue
    compared.push(await compareCosts(comparison, extent, url.href))
    show(compared.slice(-1))
  }
  if ('one stream'.includes(values.only ?? '')) {
    oneStream = await compareRetries(extent.rounds, url.href)
    console.log('\n16 clients on one stream, conflicts retried by')
    console.table(
      Object.fromEntries(
        Object.entries(oneStream).map(([way, { successesPerSecond, sentPerSuccess, givenUp }]) => [
          way,
          {
            'successes/s': successesPerSecond.toFixed(1),
            'sent per success': sentPerSuccess.toFixed(2),
            'given up': `${(givenUp * 100).toFixed(1)} %`,
          },
        ]),
      ),
    )
  }
} finally {
  await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
  await admin.end()
}
if (values.json !== undefined) {
  const machine = { node: process.version, cores: cpus().length, model: cpus()[0]?.model }
  writeFileSync(values.json, JSON.stringify({ machine, ...extent, compared, oneStream }, null, 2))
}

function show(costs: readonly ComparedCost[]): void {
  for (const { name: comparison, costs: each, requestsPerSecond, cpuPerRequest } of costs) {
    console.log(
      `\n${comparison}: requests/s ${requestsPerSecond.toFixed(3)}, processor time ${cpuPerRequest.toFixed(3)}`,
    )
    console.table(
      Object.fromEntries(
        Object.entries(each).map(([server, cost]) => [
          server,
          {
            'requests/s': cost.requestsPerSecond.toFixed(0),
            'processor µs per request': cost.cpuPerRequest.toFixed(1),
          },
        ]),
      ),
    )
  }
}
