/** Runs the benches: every row by each contender, in turns, as ratios of medians to the raw driver. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, preparedStatementName } from 'eventsourcing-prisma'
import { createPool } from 'mariadb'
import pg from 'pg'
import { PrismaClient as MysqlClient } from '../test/support/generated/mysql/client.js'
import { PrismaClient as PostgresqlClient } from '../test/support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../test/support/generated/sqlite/client.js'
import type { Contender } from './contender.js'
import { runHistory } from './history.js'
import { runHttp } from './http.js'
import { postgresqlServers } from './http-postgresql.js'
import type { Result } from './measure.js'
import { ours } from './ours.js'
import { queryRaw, type RawClient } from './query-raw.js'
import { rawMariadb } from './raw-mariadb.js'
import { rawPostgresql } from './raw-postgresql.js'
import { rawSqlite, type SqliteDriver } from './raw-sqlite.js'
import { runTelemetry } from './telemetry.js'
import { type Effort, rowNames, runWorkloads } from './workloads.js'

const require = createRequire(import.meta.url)
const { values } = parseArgs({
  options: {
    database: { type: 'string', multiple: true },
    only: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const sizes = values.quick ? { rounds: 5, size: 0.5, logSize: 10_000 } : { rounds: 9, size: 1, logSize: 100_000 }
const effort: Effort = { ...sizes, rounds: Number(values.rounds ?? sizes.rounds) }
const begins = (row: string, name: string): boolean => `${row} `.startsWith(`${name} `)
const isWanted = (row: string): boolean => values.only?.some((name) => begins(row, name)) ?? true
const isWantedDatabase = (name: string): boolean => values.database?.includes(name) ?? true
const report: Array<{ database: string; workload: string; base: string; microseconds: object }> = []

assertKnown('only', [...rowNames, 'load with a history', 'POST'])
assertKnown('database', ['none', 'postgresql', 'postgresql-prepared', 'better-sqlite3', 'libsql', 'mariadb'])

/** A run of nothing is no run. */
function assertKnown(option: 'only' | 'database', known: readonly string[]): void {
  for (const given of values[option] ?? []) {
    if (known.some((name) => begins(name, given))) continue
    throw new Error(`--${option} ${given}: there is no such. Give one of ${known.join(', ')}, or how it begins.`)
  }
}

async function bench(database: string, base: string, contenders: readonly Contender[]): Promise<void> {
  console.log(`\n${database}`)
  try {
    show(database, base, await runWorkloads(contenders, effort, isWanted))
  } finally {
    for (const contender of contenders) await contender.close()
  }
}

async function benchHistory(database: string, datastore: PrismaDatastore): Promise<void> {
  try {
    if (isWanted('load with a history')) show(database, '100 events', [await runHistory(datastore, effort.rounds)])
  } finally {
    await datastore.close()
  }
}

/** For each contender: how often its operations are done in a second, and what one takes of the processor, in brackets beside the base. */
function show(database: string, base: string, results: readonly Result[]): void {
  if (results.length === 0) return
  const table: Record<string, Record<string, string>> = {}
  for (const { workload, medians } of results) {
    const of = medians.get(base)
    const row: Record<string, string> = {}
    for (const [name, { wall, processor }] of medians) {
      row[`${name}: per second`] = `${shortened(1e6 / wall)} (${((of?.wall ?? Number.NaN) / wall).toFixed(2)})`
      row[`${name}: processor µs`] =
        `${shortened(processor)} (${(processor / (of?.processor ?? Number.NaN)).toFixed(2)})`
    }
    table[workload] = row
    report.push({ database, workload, base, microseconds: Object.fromEntries(medians) })
  }
  console.table(table)
}

function shortened(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

function newName(): string {
  return `es_bench_${randomBytes(4).toString('hex')}`
}

async function benchPostgresql(server: string, prepared: boolean): Promise<void> {
  const name = newName()
  const title = prepared ? 'PostgreSQL, statements prepared' : 'PostgreSQL'
  const url = new URL(server)
  url.pathname = `/${name}`
  const admin = new pg.Client(server)
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  try {
    const options = prepared ? { statementNameGenerator: preparedStatementName } : undefined
    const adapter = (): PrismaPg => new PrismaPg({ connectionString: url.href, max: 16 }, options)
    const mine = await ours(adapter())
    const raw = await rawPostgresql(url.href, prepared)
    // By hand the statements get names as well.
    const named = { statementNameGenerator: ({ sql }: { sql: string }) => `hand_${sql.length}` }
    const client = new PostgresqlClient({
      adapter: new PrismaPg({ connectionString: url.href, max: 16 }, prepared ? named : undefined),
    })
    // The structural type has one signature where Prisma's has overloads.
    await bench(title, 'pg', [mine, raw, queryRaw(client as unknown as RawClient, 'postgresql')])
    await benchHistory(title, new PrismaDatastore({ adapter: adapter() }))
    if (!prepared && isWanted('POST')) {
      show(title, 'pg', [await runHttp(await postgresqlServers(url.href), values.quick ? 5 : 15)])
    }
  } finally {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  }
}

async function benchMariadb(server: string): Promise<void> {
  const name = newName()
  const url = new URL(server)
  url.pathname = `/${name}`
  const { hostname: host, port, username: user, password } = url
  const admin = createPool({ host, port: Number(port), user, password, connectionLimit: 1 })
  await admin.query(`CREATE DATABASE ${name}`)
  try {
    const options = { host, port: Number(port), user, password, database: name, connectionLimit: 16 }
    const mine = await ours(new PrismaMariaDb(options))
    const raw = await rawMariadb(url.href)
    const client = new MysqlClient({ adapter: new PrismaMariaDb(options) })
    await bench('MariaDB', 'mariadb', [mine, raw, queryRaw(client as unknown as RawClient, 'mariadb')])
    await benchHistory('MariaDB', new PrismaDatastore({ adapter: new PrismaMariaDb(options) }))
  } finally {
    await admin.query(`DROP DATABASE ${name}`)
    await admin.end()
  }
}

async function benchSqlite(
  name: 'better-sqlite3' | 'libsql',
  adapter: (url: string) => ConstructorParameters<typeof SqliteClient>[0]['adapter'],
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'es-bench-'))
  const file = join(folder, 'bench.db')
  const title = `SQLite (${name})`
  try {
    const Driver: new (path: string) => SqliteDriver = require(name)
    const newAdapter = (): NonNullable<ReturnType<typeof adapter>> => {
      const made = adapter(`file:${file}`)
      if (made === undefined) throw new Error('no adapter')
      return made
    }
    const mine = await ours(newAdapter())
    const raw = rawSqlite(name, new Driver(file))
    const client = new SqliteClient({ adapter: newAdapter() })
    // The same durability for all: this adapter's own choice would survive a crash, but no loss of power.
    await client.$queryRawUnsafe('PRAGMA synchronous = FULL')
    await bench(title, name, [mine, raw, queryRaw(client as unknown as RawClient, 'sqlite')])
    await benchHistory(title, new PrismaDatastore({ adapter: newAdapter() }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

if (isWantedDatabase('none')) show('none', 'unwatchable', [await runTelemetry(effort.rounds * 10)])
const { TEST_POSTGRES_URL, TEST_MARIADB_URL } = process.env
if (TEST_POSTGRES_URL) {
  if (isWantedDatabase('postgresql')) await benchPostgresql(TEST_POSTGRES_URL, false)
  if (isWantedDatabase('postgresql-prepared')) await benchPostgresql(TEST_POSTGRES_URL, true)
}
if (isWantedDatabase('better-sqlite3')) {
  const { PrismaBetterSqlite3 } = require('@prisma/adapter-better-sqlite3')
  await benchSqlite('better-sqlite3', (url) => new PrismaBetterSqlite3({ url }))
}
if (isWantedDatabase('libsql')) await benchSqlite('libsql', (url) => new PrismaLibSql({ url }))
if (TEST_MARIADB_URL && isWantedDatabase('mariadb')) await benchMariadb(TEST_MARIADB_URL)

if (values.json !== undefined) {
  const machine = { node: process.version, cores: cpus().length, model: cpus()[0]?.model }
  writeFileSync(values.json, JSON.stringify({ machine, effort, results: report }, null, 2))
}
