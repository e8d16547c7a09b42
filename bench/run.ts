/** Runs the benches: every workload by each contender, in turns, as ratios of medians to the raw driver. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, preparedStatementName } from 'eventsourcing-prisma'
import pg from 'pg'
import { PrismaClient as PostgresqlClient } from '../test/support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../test/support/generated/sqlite/client.js'
import type { Contender } from './contender.js'
import { runHistory } from './history.js'
import { runHttp } from './http.js'
import { postgresqlServers } from './http-postgresql.js'
import { ours } from './ours.js'
import { queryRaw, type RawClient } from './query-raw.js'
import { rawPostgresql } from './raw-postgresql.js'
import { rawSqlite, type SqliteDriver } from './raw-sqlite.js'
import { runTelemetry } from './telemetry.js'
import { type Result, runWorkloads } from './workloads.js'

const require = createRequire(import.meta.url)
const { values } = parseArgs({
  options: { database: { type: 'string' }, quick: { type: 'boolean', default: false }, json: { type: 'string' } },
})
const effort = values.quick ? { rounds: 60, logSize: 10_000 } : { rounds: 400, logSize: 100_000 }
const report: Array<{ database: string; workload: string; raw: string; microseconds: Record<string, number> }> = []

async function bench(database: string, raw: string, contenders: readonly Contender[]): Promise<void> {
  console.log(`\n${database}`)
  try {
    show(database, raw, await runWorkloads(contenders, effort))
  } finally {
    for (const contender of contenders) await contender.close()
  }
}

async function benchHistory(database: string, datastore: PrismaDatastore): Promise<void> {
  try {
    show(database, '100 events', [await runHistory(datastore, effort.rounds)])
  } finally {
    await datastore.close()
  }
}

function show(database: string, raw: string, results: readonly Result[]): void {
  console.table(
    Object.fromEntries(
      results.map(({ workload, medians }) => {
        const base = medians.get(raw) ?? Number.NaN
        const cells = [...medians].map(([name, time]) => [
          name,
          `${(time / base).toFixed(2)} (${time.toFixed(time < 100 ? 1 : 0)} µs)`,
        ])
        return [workload, Object.fromEntries(cells)]
      }),
    ),
  )
  for (const { workload, medians } of results) {
    report.push({ database, workload, raw, microseconds: Object.fromEntries(medians) })
  }
}

async function benchPostgresql(server: string): Promise<void> {
  const name = `es_bench_${randomBytes(4).toString('hex')}`
  const url = new URL(server)
  url.pathname = `/${name}`
  const admin = new pg.Client(server)
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  try {
    const adapter = (): PrismaPg => new PrismaPg({ connectionString: url.href, max: 16 })
    const client = new PostgresqlClient({ adapter: adapter() })
    // The structural type has one signature where Prisma's has overloads.
    const byQueryRaw = queryRaw(client as unknown as RawClient, 'postgresql')
    const options = { statementNameGenerator: preparedStatementName }
    const prepared = new PrismaPg({ connectionString: url.href, max: 16 }, options)
    const contenders = [await ours(adapter()), await ours(prepared, 'prepared'), rawPostgresql(url.href), byQueryRaw]
    await bench('PostgreSQL', 'pg', contenders)
    await benchHistory('PostgreSQL', new PrismaDatastore({ adapter: adapter() }))
    show('PostgreSQL', 'pg', [await runHttp(await postgresqlServers(url.href), values.quick ? 5 : 15)])
  } finally {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  }
}

async function benchSqlite(
  name: 'better-sqlite3' | 'libsql',
  adapter: (url: string) => ConstructorParameters<typeof SqliteClient>[0]['adapter'],
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'es-bench-'))
  const file = join(folder, 'bench.db')
  try {
    const Driver: new (path: string) => SqliteDriver = require(name)
    const newAdapter = (): NonNullable<ReturnType<typeof adapter>> => {
      const made = adapter(`file:${file}`)
      if (made === undefined) throw new Error('no adapter')
      return made
    }
    const mine = await ours(newAdapter())
    const client = new SqliteClient({ adapter: newAdapter() })
    // The same durability for all: this adapter's own choice would survive a crash, but no loss of power.
    await client.$queryRawUnsafe('PRAGMA synchronous = FULL')
    const byQueryRaw = queryRaw(client as unknown as RawClient, 'sqlite')
    await bench(`SQLite (${name})`, name, [mine, rawSqlite(name, new Driver(file)), byQueryRaw])
    await benchHistory(`SQLite (${name})`, new PrismaDatastore({ adapter: newAdapter() }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const wanted = (name: string): boolean => values.database === undefined || values.database === name
if (wanted('none')) show('none', 'unwatchable', [await runTelemetry(effort.rounds)])
const { TEST_POSTGRES_URL } = process.env
if (TEST_POSTGRES_URL !== undefined && wanted('postgresql')) await benchPostgresql(TEST_POSTGRES_URL)
if (wanted('better-sqlite3')) {
  const { PrismaBetterSqlite3 } = require('@prisma/adapter-better-sqlite3')
  await benchSqlite('better-sqlite3', (url) => new PrismaBetterSqlite3({ url }))
}
if (wanted('libsql')) await benchSqlite('libsql', (url) => new PrismaLibSql({ url }))

const machine = { node: process.version, cores: cpus().length, model: cpus()[0]?.model }
const json = JSON.stringify({ machine, effort, results: report }, null, 2)
console.log(json)
if (values.json !== undefined) writeFileSync(values.json, json)
