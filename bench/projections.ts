/** `npm run bench -- --projections`: how fast rows are built from a log, and how soon they are seen. */
import { randomBytes, randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, type PrismaDatastoreOptions, ProjectionRunner } from 'eventsourcing-prisma'
import pg from 'pg'
import { PrismaClient as PostgresqlClient } from '../test/support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../test/support/generated/sqlite/client.js'
import { tableStatements } from '../test/support/tables.js'
import { median } from './measure.js'
import {
  Copies,
  type CountRow,
  Ledgers,
  ledgers,
  type ProjectedDatabase,
  projectionContenders,
  react,
  sums,
} from './projection-contenders.js'

type Adapter = PrismaDatastoreOptions<object>['adapter']
type Client = PostgresqlClient

const { values } = parseArgs({
  options: {
    projections: { type: 'boolean' },
    database: { type: 'string' },
    events: { type: 'string', default: '20000' },
    upserts: { type: 'string', default: '500' },
    rows: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'string' },
  },
})
const [count, rowCount, rounds] = [Number(values.events), Number(values.rows), Number(values.rounds)]
/** Of them those that are handled one by one, which takes long. */
const upserts = Number(values.upserts)
/** What runs for the first time is slow. */
const warmUpRounds = 2
const perCommand = 10
const report: object[] = []

interface Place {
  readonly name: string
  readonly adapter: () => Adapter
  readonly newClient: (adapter: Adapter) => Client
  readonly batch: ProjectedDatabase['batch']
  readonly listen?: NonNullable<PrismaDatastoreOptions<Client>['listen']>
}

function opened(place: Place, listens = false): PrismaDatastore<Client> {
  const { listen } = place
  return new PrismaDatastore<Client>({
    adapter: place.adapter(),
    client: (adapter) => place.newClient(adapter as Adapter),
    ...(listens && listen !== undefined ? { listen } : {}),
  })
}

async function bench(place: Place): Promise<void> {
  const datastore = opened(place)
  const application = new Ledgers({ datastore, env: { CREATE_TABLE: 'yes' } })
  await application.ready()
  await writeLog(application)
  const plain = place.newClient(place.adapter())
  try {
    await compare(place, { datastore, plain, application, batch: place.batch })
    await compareReactions(place.name, datastore, application)
    await showDelays(place.name, 'in the same process', datastore, datastore)
    if (place.listen !== undefined) {
      // The other one shares nothing with it but the database.
      const [reader, writer] = [opened(place, true), opened(place, true)]
      await showDelays(place.name, 'with LISTEN, written through another datastore', reader, writer)
      await reader.close()
      await writer.close()
    }
  } finally {
    await plain.$disconnect()
    await datastore.close()
  }
}

/** Changes come in no order, as in a log that many have written. */
async function writeLog(application: Ledgers): Promise<void> {
  const ids = Array.from({ length: rowCount }, () => randomUUID())
  for (let written = 0; written < count; written += perCommand) {
    const id = ids[Math.floor(Math.random() * rowCount)] ?? ''
    const amounts = Array.from({ length: perCommand }, (_, index) => 1 + ((written + index) % 9))
    await application.execute(ledgers, id, 'change', amounts)
  }
}

async function compare(place: Place, database: ProjectedDatabase): Promise<void> {
  const contenders = projectionContenders(database, upserts)
  const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round < warmUpRounds + rounds; round += 1) {
    // Another one goes first each time.
    for (const [index] of contenders.entries()) {
      const contender = contenders[(index + round) % contenders.length]
      if (contender === undefined) continue
      const { name, count: wanted = count } = contender
      await database.datastore.outside(() => database.datastore.client.trickCount.deleteMany())
      const start = performance.now()
      const handled = await contender.build()
      const seconds = (performance.now() - start) / 1000
      if (handled !== wanted) throw new Error(`${name} has handled ${handled} events instead of ${wanted}`)
      if (round >= warmUpRounds) rates.get(name)?.push(handled / seconds)
    }
  }
  const medians = Object.fromEntries([...rates].map(([name, all]) => [name, median(all)]))
  const ours = medians['rows'] ?? Number.NaN
  console.log(`\n${place.name}: ${count} events into ${rowCount} rows, median of ${rounds}`)
  console.table(
    Object.fromEntries(
      Object.entries(medians).map(([name, rate]) => [
        name,
        { 'events/s': Math.round(rate), 'rows is … times that': (ours / rate).toFixed(2) },
      ]),
    ),
  )
  report.push({ database: place.name, events: count, rows: rowCount, rates: medians })
}

/** What it costs a reaction that it saves something for each event. */
async function compareReactions(name: string, datastore: PrismaDatastore<Client>, application: Ledgers): Promise<void> {
  const copies = new Copies({ datastore, env: { CREATE_TABLE: 'yes' } })
  await copies.ready()
  const rates = new Map<'nothing' | 'an aggregate', number[]>([
    ['nothing', []],
    ['an aggregate', []],
  ])
  for (let round = 0; round < warmUpRounds + rounds; round += 1) {
    for (const what of round % 2 === 0 ? [...rates.keys()] : [...rates.keys()].toReversed()) {
      const start = performance.now()
      const saves = what === 'nothing' ? undefined : copies
      const handled = await react({ datastore, application }, `${what.slice(0, 2)}-${round}`.replace(' ', ''), saves)
      const seconds = (performance.now() - start) / 1000
      if (handled !== count) throw new Error(`The reaction has handled ${handled} events instead of ${count}`)
      if (round >= warmUpRounds) rates.get(what)?.push(handled / seconds)
    }
  }
  const medians = Object.fromEntries([...rates].map(([what, all]) => [what, median(all)]))
  const without = medians['nothing'] ?? Number.NaN
  console.log(`${name}: a reaction to ${count} events that saves, for each of them`)
  console.table(
    Object.fromEntries(
      Object.entries(medians).map(([what, rate]) => [
        what,
        { 'events/s': Math.round(rate), 'of that without': (rate / without).toFixed(2) },
      ]),
    ),
  )
  report.push({ database: name, reactions: medians })
}

/** From the end of a save until the row is committed. */
async function showDelays(
  name: string,
  how: string,
  reader: PrismaDatastore<Client>,
  writer: PrismaDatastore<Client>,
): Promise<void> {
  const application = new Ledgers({ datastore: reader })
  const elsewhere = new Ledgers({ datastore: writer })
  const runner = new ProjectionRunner({ application, datastore: reader, projections: [sums(reader.client)] })
  await runner.start()
  await runner.wait('sums', await application.recorder.maxNotificationId(), { timeoutMs: 60_000 })
  await delay(1_500)
  const delays: number[] = []
  let handled = 0
  let committed: (() => void) | undefined
  const onBatch = (batch: unknown): void => {
    handled += Number(Reflect.get(Object(batch), 'events'))
    committed?.()
  }
  subscribe('eventsourcing-prisma:projection.batch', onBatch)
  for (let n = 0; n < 20 + 100; n += 1) {
    const before = handled
    const isCommitted = new Promise<void>((resolve) => {
      committed = () => {
        if (handled > before) resolve()
      }
    })
    await elsewhere.execute(ledgers, randomUUID(), 'change', [1])
    const start = performance.now()
    await isCommitted
    if (n >= 20) delays.push(performance.now() - start)
    // Now and then the log is idle for a while.
    await delay(n % 10 === 0 ? 1_200 : 50)
  }
  unsubscribe('eventsourcing-prisma:projection.batch', onBatch)
  await runner.stop()
  const sorted = delays.toSorted((a, b) => a - b)
  const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(1)
  console.log(`${name}, from the commit to the row, ${how}: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`)
  report.push({ database: name, how, p50: Number(at(0.5)), p90: Number(at(0.9)), p99: Number(at(0.99)) })
}

const update = 'DO UPDATE SET name = excluded.name, tricks = excluded.tricks'

async function benchPostgresql(server: string): Promise<void> {
  const name = `es_bench_${randomBytes(4).toString('hex')}`
  const url = new URL(server)
  url.pathname = `/${name}`
  const admin = new pg.Client(server)
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  try {
    const own = new pg.Client(url.href)
    await own.connect()
    for (const sql of tableStatements('postgresql')) await own.query(sql)
    await own.end()
    await bench({
      name: 'PostgreSQL',
      adapter: () => new PrismaPg({ connectionString: url.href, max: 16 }),
      newClient: (adapter) => new PostgresqlClient({ adapter }),
      listen: () => new pg.Client({ connectionString: url.href }),
      batch: (rows) => ({
        sql: `INSERT INTO trick_counts (dog, name, tricks) SELECT * FROM unnest($1::text[], $2::text[], $3::int[]) ON CONFLICT (dog) ${update}`,
        args: [rows.map(({ dog }) => dog), rows.map((row) => row.name), rows.map(({ tricks }) => tricks)],
      }),
    })
  } finally {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  }
}

async function benchSqlite(): Promise<void> {
  const require = createRequire(import.meta.url)
  const { PrismaBetterSqlite3 } = require('@prisma/adapter-better-sqlite3')
  const Database = require('better-sqlite3')
  const folder = mkdtempSync(join(tmpdir(), 'es-bench-'))
  const file = join(folder, 'bench.db')
  try {
    const own = new Database(file)
    own.pragma('journal_mode = WAL')
    for (const sql of tableStatements('sqlite')) own.exec(sql)
    own.close()
    await bench({
      name: 'SQLite (better-sqlite3)',
      adapter: () => new PrismaBetterSqlite3({ url: `file:${file}` }),
      // The clients of all databases are alike.
      newClient: (adapter) => new SqliteClient({ adapter }) as unknown as Client,
      batch: (rows) => ({
        sql: `INSERT INTO trick_counts (dog, name, tricks) VALUES ${rows.map(() => '(?, ?, ?)').join(', ')} ON CONFLICT (dog) ${update}`,
        args: rows.flatMap(({ dog, name, tricks }: CountRow) => [dog, name, tricks]),
      }),
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const { TEST_POSTGRES_URL } = process.env
if (TEST_POSTGRES_URL !== undefined && values.database !== 'better-sqlite3') await benchPostgresql(TEST_POSTGRES_URL)
if (values.database !== 'postgresql') await benchSqlite()
const machine = { node: process.version, cores: cpus().length, model: cpus()[0]?.model }
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ machine, results: report }, null, 2))
