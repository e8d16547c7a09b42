/** `npm run bench -- --decisions`: what tags cost a save, what `lock` gains where many want one tag, and how a long tag is read. */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, type PrismaDatastoreOptions } from 'eventsourcing-prisma'
import { createPool } from 'mariadb'
import pg from 'pg'
import { DecidingApplication, Note, TaggedNote } from './decision-subjects.js'
import { medians } from './measure.js'

type Adapter = PrismaDatastoreOptions<object>['adapter']

const require = createRequire(import.meta.url)
const { values } = parseArgs({
  options: {
    decisions: { type: 'boolean' },
    database: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '15' },
    seconds: { type: 'string', default: '5' },
    writers: { type: 'string', default: '16' },
    events: { type: 'string', default: '10000' },
    json: { type: 'string' },
  },
})
const [rounds, seconds, writers, count] = [values.rounds, values.seconds, values.writers, values.events].map(
  Number,
) as [number, number, number, number]
const perRound = 20
const report: object[] = []

interface Place {
  readonly name: string
  readonly adapter: () => Adapter
  /** Explains how a statement is carried out, where the database tells. */
  readonly explain?: (statement: Sent) => Promise<readonly string[]>
}

interface Sent {
  readonly sql: string
  readonly args: readonly unknown[]
}

async function bench(place: Place): Promise<void> {
  const sent: Sent[] = []
  const datastore = new PrismaDatastore({ adapter: telling(place.adapter(), sent), deadlineMs: 60_000 })
  const application = new DecidingApplication({ name: '', datastore, env: { CREATE_TABLE: 'yes' } })
  await application.ready()
  console.log(`\n${place.name}`)
  try {
    await compareSaves(place.name, datastore, application)
    await compareHot(place.name, datastore, application)
    await readLong(place, application, sent)
  } finally {
    await datastore.close()
  }
}

async function compareSaves(
  database: string,
  datastore: PrismaDatastore,
  application: DecidingApplication,
): Promise<void> {
  const saves: ReadonlyArray<readonly [name: string, save: () => Promise<unknown>]> = [
    ['no tags', () => application.save(new Note(randomUUID()))],
    ['two tags', () => application.save(new TaggedNote(randomUUID()))],
    ['unless', () => application.saveUnless(randomUUID())],
    ['decide, four facts', () => application.subscribeStudent(randomUUID(), randomUUID())],
  ]
  // As a request that writes something else as well, before.
  const inRequest = (save: () => Promise<unknown>) => () =>
    datastore.transaction(async (tx) => {
      await application.save(new Note(randomUUID()))
      await tx.flush()
      await save()
    })
  for (const [where, around] of [
    ['alone', (save: () => Promise<unknown>) => save],
    ['in a transaction that has written', inRequest],
  ] as const) {
    const timed = saves.map(([contender, save]) => {
      const work = around(save)
      return {
        contender,
        async work() {
          for (let number = 0; number < perRound; number += 1) await work()
        },
      }
    })
    const found = await medians(rounds, timed, perRound)
    const base = found.get('no tags')?.wall ?? Number.NaN
    const rows = [...found].map(([save, { wall }]) => ({
      [`save ${where}`]: save,
      'per second': Math.round(1e6 / wall),
      'of no tags': Number((base / wall).toFixed(2)),
    }))
    console.table(rows)
    report.push({ database, where, rows })
  }
}

async function compareHot(
  database: string,
  datastore: PrismaDatastore,
  application: DecidingApplication,
): Promise<void> {
  const rows = []
  for (const lock of [false, true, false, true]) {
    const invoices = randomUUID()
    const took: number[] = []
    let failed = 0
    const end = performance.now() + seconds * 1_000
    const write = async (): Promise<void> => {
      while (performance.now() < end) {
        const begun = performance.now()
        await datastore
          .transaction(() => application.createInvoice(invoices, lock), { retries: 100 })
          .then(
            () => took.push(performance.now() - begun),
            () => (failed += 1),
          )
      }
    }
    await Promise.all(Array.from({ length: writers }, write))
    const gaps = (await application.lastInvoice(invoices)) - took.length
    took.sort((a, b) => a - b)
    const quantile = (part: number): number => Math.round(took[Math.floor(took.length * part)] ?? Number.NaN)
    rows.push({
      'hot tag': lock ? 'lock' : 'retries',
      'per second': Math.round(took.length / seconds),
      'p50 ms': quantile(0.5),
      'p99 ms': quantile(0.99),
      failed,
      gaps,
    })
  }
  console.table(rows)
  report.push({ database, rows })
}

async function readLong({ name, explain }: Place, application: DecidingApplication, sent: Sent[]): Promise<void> {
  const [course, others] = [randomUUID(), randomUUID()]
  for (let done = 0; done < count; done += 1_000) {
    await application.fill(course, Math.min(1_000, count - done))
    await application.fill(others, 1_000)
  }
  if (explain !== undefined) await explain({ sql: 'VACUUM ANALYZE', args: [] })
  const timed = [
    { contender: 'all', work: () => application.join(course, randomUUID()) },
    { contender: 'only the last', work: () => application.joinAfterLast(course, randomUUID()) },
  ]
  const found = await medians(Math.max(5, rounds), timed)
  const rows = [...found].map(([facts, { wall }]) => ({
    facts: `${facts} of ${count}`,
    ms: Number((wall / 1_000).toFixed(1)),
  }))
  console.table(rows)
  report.push({ database: name, rows })
  sent.length = 0
  await application.join(course, randomUUID())
  if (explain === undefined) return
  for (const statement of sent.filter(({ sql }) => sql.includes('_tags'))) {
    const plan = await explain(statement)
    console.log(`\n${statement.sql.slice(0, 400)}\n${plan.join('\n')}`)
    report.push({ database: name, plan })
  }
}

/** An adapter that puts each statement with its arguments into the list. */
function telling(adapter: Adapter, sent: Sent[]): Adapter {
  const proxied = <T extends object>(sender: T): T =>
    new Proxy(sender, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property)
        if (typeof value !== 'function') return value
        if (property === 'queryRaw' || property === 'executeRaw') {
          return (query: Sent) => {
            sent.push(query)
            return Reflect.apply(value, target, [query]) as unknown
          }
        }
        if (property === 'startTransaction' || property === 'connect') {
          return async (...args: unknown[]) => proxied((await Reflect.apply(value, target, args)) as object)
        }
        return value.bind(target) as unknown
      },
    })
  return proxied(adapter)
}

const newName = (): string => `es_bench_${randomBytes(4).toString('hex')}`
const isWanted = (database: string): boolean => values.database?.includes(database) ?? true

async function onPostgresql(server: string): Promise<void> {
  const name = newName()
  const url = new URL(server)
  url.pathname = `/${name}`
  const admin = new pg.Client(server)
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  const own = new pg.Client(url.href)
  await own.connect()
  try {
    await bench({
      name: 'PostgreSQL',
      adapter: () => new PrismaPg({ connectionString: url.href, max: 16 }),
      async explain({ sql, args }) {
        if (args.length === 0) {
          await own.query(sql)
          return []
        }
        await own.query('BEGIN')
        const { rows } = await own.query(`EXPLAIN (ANALYZE, BUFFERS) ${sql}`, [...args])
        await own.query('ROLLBACK')
        return rows.map((row: Record<string, unknown>) => String(row['QUERY PLAN']))
      },
    })
  } finally {
    await own.end()
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  }
}

async function onMariadb(server: string): Promise<void> {
  const name = newName()
  const { hostname: host, port, username: user, password } = new URL(server)
  const connection = { host, port: Number(port), user, password }
  const admin = createPool({ ...connection, connectionLimit: 1 })
  await admin.query(`CREATE DATABASE ${name}`)
  try {
    const adapter = (): Adapter => new PrismaMariaDb({ ...connection, database: name, connectionLimit: 16 })
    await bench({ name: 'MariaDB', adapter })
  } finally {
    await admin.query(`DROP DATABASE ${name}`)
    await admin.end()
  }
}

async function onSqlite(name: string, adapter: (url: string) => Adapter): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'es-bench-'))
  try {
    await bench({ name: `SQLite (${name})`, adapter: () => adapter(`file:${join(folder, 'bench.db')}`) })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const { TEST_POSTGRES_URL, TEST_MARIADB_URL } = process.env
if (TEST_POSTGRES_URL && isWanted('postgresql')) await onPostgresql(TEST_POSTGRES_URL)
if (TEST_MARIADB_URL && isWanted('mariadb')) await onMariadb(TEST_MARIADB_URL)
if (isWanted('better-sqlite3')) {
  const { PrismaBetterSqlite3 } = require('@prisma/adapter-better-sqlite3')
  await onSqlite('better-sqlite3', (url) => new PrismaBetterSqlite3({ url }))
}
if (values.database?.includes('libsql')) await onSqlite('libsql', (url) => new PrismaLibSql({ url }))
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report, null, 2))
