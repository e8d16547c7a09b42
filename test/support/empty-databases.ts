/** Databases without any table, and what is in them afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SqlDriverAdapter, statement } from '../../src/prisma/driver.js'
import { adapterFromUrl } from '../../src/prisma/factory.js'
import { databases, type TestDatabaseKind } from './databases.js'

/** As a Prisma schema spells it. */
export type Provider = TestDatabaseKind['provider']

/** The kinds of databases that this run has, each once. */
export const providers: readonly Provider[] = [...new Set(databases.map(({ provider }) => provider))]

/** One fresh database. */
export interface EmptyDatabase {
  readonly url: string
  drop(): Promise<void>
}

/** Makes a database without tables. */
export async function emptyDatabase(provider: Provider): Promise<EmptyDatabase> {
  if (provider === 'sqlite') {
    const folder = mkdtempSync(join(tmpdir(), 'es-empty-'))
    return { url: `file:${join(folder, 'test.db')}`, drop: async () => rmSync(folder, { recursive: true }) }
  }
  const kind = databases.find((candidate) => candidate.provider === provider)
  if (kind === undefined) throw new Error(`This run has no database of ${provider}.`)
  const database = await kind.createDatabase()
  const name = new URL(database.url).pathname.slice(1)
  if (provider === 'mysql') await database.query(`DROP DATABASE ${name}`)
  const clear =
    provider === 'mysql' ? [`CREATE DATABASE ${name}`] : ['DROP SCHEMA public CASCADE', 'CREATE SCHEMA public']
  await (provider === 'mysql' ? onServer(database.url, clear) : runAll(database.url, clear))
  return { url: database.url, drop: () => database.drop() }
}

/** Runs statements one after the other on a connection of their own. */
export async function runAll(url: string, statements: readonly string[]): Promise<void> {
  await connected(url, async (adapter) => {
    for (const sql of statements) await adapter.executeRaw(statement(sql))
  })
}

/** Reads rows on a connection of its own. */
export async function rowsOf(url: string, sql: string): Promise<unknown[][]> {
  return await connected(url, async (adapter) => (await adapter.queryRaw(statement(sql))).rows)
}

/** Everything that a database says of its tables but the history of migrations. */
export async function catalogOf(provider: Provider, url: string, schema: string = 'public'): Promise<unknown> {
  if (provider === 'sqlite') {
    return await rowsOf(
      url,
      `SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~' AND tbl_name <> '_prisma_migrations' ORDER BY name`,
    )
  }
  if (provider === 'mysql') {
    const tables: unknown[] = []
    for (const [name] of await rowsOf(url, 'SHOW TABLES')) {
      if (name !== '_prisma_migrations') tables.push(...(await rowsOf(url, `SHOW CREATE TABLE \`${String(name)}\``)))
    }
    return tables
  }
  const among = `WHERE n.nspname = '${schema}' AND c.relname <> '_prisma_migrations'`
  const named = `pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace`
  const columns = await rowsOf(
    url,
    `SELECT c.relname::text, a.attname::text, a.attnum::int, format_type(a.atttypid, a.atttypmod), a.attnotnull, ` +
      `a.attidentity::text, pg_get_expr(d.adbin, d.adrelid) FROM ${named} JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid ` +
      `LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum ${among} ` +
      `AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 3`,
  )
  const indexes = await rowsOf(
    url,
    `SELECT c.relname::text, pg_get_indexdef(i.indexrelid) FROM ${named} JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid ` +
      `JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid ${among} AND t.relname <> '_prisma_migrations' ORDER BY 1`,
  )
  // From version 18 on NOT NULL is one as well, whose name has a number by the order of the tables; the columns tell of it.
  const constraints = await rowsOf(
    url,
    `SELECT c.relname::text, o.conname::text, pg_get_constraintdef(o.oid) FROM ${named} JOIN pg_catalog.pg_constraint AS o ` +
      `ON o.conrelid = c.oid ${among} AND o.contype <> 'n' ORDER BY 1, 2`,
  )
  const sequences = await rowsOf(
    url,
    `SELECT c.relname::text, format_type(s.seqtypid, NULL), s.seqcycle FROM ${named} JOIN pg_catalog.pg_sequence AS s ` +
      `ON s.seqrelid = c.oid ${among} ORDER BY 1`,
  )
  return { columns, indexes, constraints, sequences }
}

async function onServer(url: string, statements: readonly string[]): Promise<void> {
  const server = new URL(url)
  server.pathname = '/information_schema'
  await runAll(server.href, statements)
}

async function connected<T>(url: string, work: (adapter: SqlDriverAdapter) => Promise<T>): Promise<T> {
  const adapter = await (await adapterFromUrl(url, { forMigrations: true })).connect()
  try {
    return await work(adapter)
  } finally {
    await adapter.dispose()
  }
}
