/** The databases that the tests run on: a loop over `databases` is the matrix. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { createPool } from 'mariadb'
import pg from 'pg'
import type { PrismaDatastoreOptions } from '../../src/index.js'
import { PrismaClient as MysqlClient } from './generated/mysql/client.js'
import { PrismaClient as PostgresqlClient } from './generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from './generated/sqlite/client.js'
import { giveBack, keep, takeKept } from './kept-databases.js'
import { tableStatements } from './tables.js'

/** A driver adapter as a datastore takes it. */
export type Adapter = PrismaDatastoreOptions<object>['adapter']

/** Options of Prisma's that the clients of all databases have. */
export interface ClientOptions {
  readonly transactionOptions?: {
    readonly isolationLevel?: 'Serializable'
    readonly timeout?: number
    readonly maxWait?: number
  }
  readonly log?: Array<{ readonly emit: 'event'; readonly level: 'query' }>
}

type Row = Record<string, unknown>

/** One fresh database. */
export interface TestDatabase {
  readonly url: string
  /** A new adapter on the database, from Prisma. */
  adapter(): Adapter
  /** A client of the test schema on an adapter, with further options of Prisma's. */
  newClient(adapter: Adapter, options?: ClientOptions): object
  /** Runs a statement on a connection that has nothing to do with the adapters: an observer. */
  query(sql: string, params?: unknown[]): Promise<Row[]>
  drop(): Promise<void>
}

/** One kind of database, with the adapter it is used through. */
export interface TestDatabaseKind {
  readonly name: string
  readonly provider: 'postgresql' | 'sqlite' | 'mysql'
  readonly createDatabase: () => Promise<TestDatabase>
}

const require = createRequire(import.meta.url)
const newName = (): string => `es_test_${randomBytes(6).toString('hex')}`

/**
 * PostgreSQL at a URL.
 *
 * @param isKept - that a database which a test has left clean is kept for another
 */
export function postgresql(server: string, isKept = false): TestDatabaseKind {
  return {
    name: 'PostgreSQL',
    provider: 'postgresql',
    async createDatabase() {
      let kept = isKept ? takeKept() : undefined
      const name = kept?.name ?? newName()
      const url = new URL(server)
      url.pathname = `/${name}`
      if (kept === undefined) await onServer(server, `CREATE DATABASE ${name}`)
      const pool = new pg.Pool({ connectionString: url.href, max: 2 })
      pool.on('error', () => undefined)
      if (kept === undefined) {
        await pool.query(tableStatements('postgresql').join('; '))
        if (isKept) kept = await keep(name, pool)
      }
      return {
        url: url.href,
        adapter: () => new PrismaPg({ connectionString: url.href }),
        newClient: (adapter, options) => new PostgresqlClient({ ...options, adapter }),
        query: async (sql, params = []) => (await pool.query<Row>(sql, params)).rows,
        async drop() {
          const isGivenBack = kept !== undefined && (await giveBack(kept, pool))
          await pool.end()
          if (!isGivenBack) await onServer(server, `DROP DATABASE ${name} WITH (FORCE)`)
        },
      }
    },
  }
}

async function onServer(server: string, sql: string): Promise<void> {
  const client = new pg.Client(server)
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}

/** MariaDB at a URL. */
export function mariadb(server: string): TestDatabaseKind {
  return {
    name: 'MariaDB',
    provider: 'mysql',
    async createDatabase() {
      const name = newName()
      const url = new URL(server)
      url.pathname = `/${name}`
      const { hostname: host, username: user, password } = url
      const pool = createPool({
        host,
        port: Number(url.port || 3306),
        user,
        password,
        connectionLimit: 2,
        multipleStatements: true,
      })
      await pool.query(`CREATE DATABASE ${name}`)
      for (const sql of tableStatements('mysql')) await pool.query(`USE ${name}; ${sql}`)
      return {
        url: url.href,
        adapter: () => new PrismaMariaDb(url.href),
        newClient: (adapter, options) => new MysqlClient({ ...options, adapter }),
        async query(sql, params = []) {
          const connection = await pool.getConnection()
          try {
            await connection.query(`USE ${name}`)
            const result: unknown = await connection.query(sql, params)
            return Array.isArray(result) ? result : []
          } finally {
            await connection.release()
          }
        },
        async drop() {
          await pool.query(`DROP DATABASE ${name}`)
          await pool.end()
        },
      }
    },
  }
}

/** An SQLite driver: `better-sqlite3`, or `libsql`, which has the same interface. */
interface SqliteDriver {
  exec(sql: string): unknown
  prepare(sql: string): {
    readonly reader?: boolean
    all(...params: unknown[]): Row[]
    run(...params: unknown[]): unknown
  }
  close(): unknown
}

function sqlite(
  name: string,
  newAdapter: (url: string) => Adapter,
  Driver: new (file: string) => SqliteDriver,
): TestDatabaseKind {
  return {
    name,
    provider: 'sqlite',
    async createDatabase() {
      const folder = mkdtempSync(join(tmpdir(), 'es-test-'))
      const file = join(folder, 'test.db')
      const observer = new Driver(file)
      observer.exec('PRAGMA journal_mode = WAL')
      observer.exec('PRAGMA busy_timeout = 5000')
      for (const sql of tableStatements('sqlite')) observer.exec(sql)
      return {
        url: `file:${file}`,
        adapter: () => newAdapter(`file:${file}`),
        newClient: (adapter, options) => new SqliteClient({ ...options, adapter }),
        async query(sql, params = []) {
          const statement = observer.prepare(sql)
          if (/^\s*(select|pragma|with|explain)/i.test(sql)) return statement.all(...params)
          statement.run(...params)
          return []
        },
        async drop() {
          observer.close()
          rmSync(folder, { recursive: true })
        },
      }
    },
  }
}

function betterSqlite3(): TestDatabaseKind[] {
  try {
    const Driver: new (file: string) => SqliteDriver = require('better-sqlite3')
    new Driver(':memory:').close()
    const {
      PrismaBetterSqlite3,
    }: { PrismaBetterSqlite3: new (options: { url: string }) => Adapter } = require('@prisma/adapter-better-sqlite3')
    return [sqlite('SQLite (better-sqlite3)', (url) => new PrismaBetterSqlite3({ url }), Driver)]
  } catch (error) {
    // An optional package, which needs a download or a compiler.
    if (process.env.CI === 'true') throw error
    return []
  }
}

const { TEST_POSTGRES_URL, TEST_MARIADB_URL } = process.env
if (process.env.CI === 'true' && (TEST_POSTGRES_URL === undefined || TEST_MARIADB_URL === undefined)) {
  throw new Error('All databases are obligatory here: set TEST_POSTGRES_URL and TEST_MARIADB_URL.')
}

/** Whether this run is the short form of the suite: fewer databases, and fewer cases on them. */
const isShort = process.env.TEST_SHORT === 'true'

/** SQLite through each of its drivers; in the short form through one. */
function sqlites(): TestDatabaseKind[] {
  const all = [...betterSqlite3(), sqlite('SQLite (libsql)', (url) => new PrismaLibSql({ url }), require('libsql'))]
  return isShort ? all.slice(0, 1) : all
}

/** All that this run has: SQLite always, the others where a server is named. */
export const databases: readonly TestDatabaseKind[] = [
  ...(TEST_POSTGRES_URL === undefined ? [] : [postgresql(TEST_POSTGRES_URL, true)]),
  ...sqlites(),
  ...(TEST_MARIADB_URL === undefined ? [] : [mariadb(TEST_MARIADB_URL)]),
]

/** Those of the databases that are of one kind. */
export function databasesOf(...providers: ReadonlyArray<TestDatabaseKind['provider']>): TestDatabaseKind[] {
  return databases.filter((database) => providers.includes(database.provider))
}

/**
 * One of each kind: for what is about processes and servers, and for what stands on the recorders or on transactions, such as
 * requests. The drivers of SQLite are sent the same statements; where they can answer differently, tests run on all of
 * `databases`.
 */
export const oneOfEach: readonly TestDatabaseKind[] = databases.filter(
  ({ provider }, index) => databases.findIndex((other) => other.provider === provider) === index,
)

/** Those of `oneOfEach` that are of one kind. */
export function oneOf(...providers: ReadonlyArray<TestDatabaseKind['provider']>): TestDatabaseKind[] {
  return oneOfEach.filter(({ provider }) => providers.includes(provider))
}

/**
 * Cases, frameworks for example, whose code is the same for each database: all of them on the first database, and one on each
 * other one. In the short form they are shared out between the first two databases: each runs on one.
 */
export function casesOn<T>(kind: TestDatabaseKind, cases: readonly T[]): readonly T[] {
  const index = databases.indexOf(kind)
  if (isShort && databases.length > 1) {
    const half = Math.ceil(cases.length / 2)
    return index <= 0 ? cases.slice(0, half) : cases.slice(half)
  }
  return index <= 0 ? cases : cases.filter((_case, n) => n === (index - 1) % cases.length)
}
