/** Chooses the Prisma driver adapter that a database URL asks for; the adapters are optional and loaded when needed. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError } from '../errors.js'
import type { SqlDriverAdapterFactory } from './driver.js'

/** What the adapter is for. */
export interface AdapterFromUrlOptions {
  /**
   * Whether it runs migrations: then it has one connection, which stays open between statements, and takes scripts of
   * several statements. Default false: a pool for an application.
   */
  readonly forMigrations?: boolean
}

type Load = (url: string, forMigrations: boolean) => Promise<SqlDriverAdapterFactory>

const loaders: Readonly<Record<string, Load>> = {
  'file:': loadSqlite,
  'postgres:': loadPostgresql,
  'postgresql:': loadPostgresql,
  'mysql:': loadMariadb,
  'mariadb:': loadMariadb,
}

/**
 * Makes the driver adapter for a URL: `file:` better-sqlite3, or libsql where that is not installed; `postgresql:`
 * and `postgres:` node-postgres; `mysql:` and `mariadb:` the MariaDB connector. Nothing is connected yet.
 *
 * @param url - such as `file:./dev.db` (from the current directory), `file::memory:`, `postgresql://user@host/db?schema=dogs`
 * @throws `EnvironmentError` for another scheme, and when the adapter's package is not installed
 */
export async function adapterFromUrl(
  url: string,
  options: AdapterFromUrlOptions = {},
): Promise<SqlDriverAdapterFactory> {
  const load = loaders[url.slice(0, url.indexOf(':') + 1).toLowerCase()]
  if (load !== undefined) return await load(url, options.forMigrations ?? false)
  throw new EnvironmentError(
    `Could not choose a driver adapter for the database URL: its scheme is none of ${Object.keys(loaders).join(', ')}.`,
  )
}

async function loadSqlite(url: string): Promise<SqlDriverAdapterFactory> {
  // Parameters that Prisma's engine took before version 7 would become a part of the file's name.
  const file = url.includes('?cache=') ? url : url.replace(/\?.*$/, '')
  const reasons: unknown[] = []
  for (const { name, className, driver } of sqliteAdapters) {
    try {
      const adapter = await loadClass(name, className)
      // It may be installed without its native part, where that could be neither downloaded nor compiled.
      if (driver !== undefined) Reflect.construct(await loadClass(driver, 'default'), [':memory:'])
      return new adapter({ url: file })
    } catch (error) {
      reasons.push(error)
    }
  }
  throw notInstalled('@prisma/adapter-better-sqlite3 or @prisma/adapter-libsql', new AggregateError(reasons))
}

/** In the order of preference. */
const sqliteAdapters = [
  { name: '@prisma/adapter-better-sqlite3', className: 'PrismaBetterSqlite3', driver: 'better-sqlite3' },
  { name: '@prisma/adapter-libsql', className: 'PrismaLibSql', driver: undefined },
] as const

async function loadPostgresql(url: string, forMigrations: boolean): Promise<SqlDriverAdapterFactory> {
  const parsed = parse(url)
  const schema = parsed.searchParams.get('schema')
  parsed.searchParams.delete('schema')
  const config = {
    connectionString: schema === null ? url : parsed.href,
    ...(forMigrations ? { max: 1, idleTimeoutMillis: 0 } : {}),
    // As Prisma has it: names without a schema are of this one.
    ...(schema === null ? {} : { options: `-c search_path=${searchPath(schema)}` }),
  }
  const adapter = await loadInstalled('@prisma/adapter-pg', 'PrismaPg')
  return schema === null ? new adapter(config) : new adapter(config, { schema })
}

async function loadMariadb(url: string, forMigrations: boolean): Promise<SqlDriverAdapterFactory> {
  const parsed = parse(url)
  if (forMigrations) {
    parsed.searchParams.set('connectionLimit', '1')
    parsed.searchParams.set('multipleStatements', 'true')
  }
  const adapter = await loadInstalled('@prisma/adapter-mariadb', 'PrismaMariaDb')
  // Prepared statements would cost a round trip more for each statement, since the adapter keeps none.
  const database = decodeURIComponent(parsed.pathname.slice(1))
  return new adapter(parsed.href, { useTextProtocol: true, ...(database === '' ? {} : { database }) })
}

/** The name as an identifier, escaped once more for the start-up option that it is part of. */
function searchPath(schema: string): string {
  return `"${schema.replaceAll('"', '""')}"`.replace(/[\\ ]/g, '\\$&')
}

function parse(url: string): URL {
  try {
    return new URL(url)
  } catch (error) {
    // The URL may hold a password, so neither it nor the reason, which repeats it, is shown.
    throw new EnvironmentError(
      'Could not read the database URL: it is none. Write special characters of a password percent-encoded.',
      { cause: error instanceof Error ? error.name : undefined },
    )
  }
}

type AdapterClass = new (config: unknown, options?: unknown) => SqlDriverAdapterFactory

async function loadInstalled(name: string, className: string): Promise<AdapterClass> {
  try {
    return await loadClass(name, className)
  } catch (error) {
    throw notInstalled(name, error)
  }
}

function notInstalled(name: string, cause: unknown): EnvironmentError {
  return new EnvironmentError(
    `Could not load the driver adapter for the database URL: install ${name} (npm install ${name.split(' ')[0]}).`,
    { cause },
  )
}

async function loadClass(name: string, className: string): Promise<AdapterClass> {
  const loaded = (await import(locationOf(name))) as Record<string, unknown> // a module namespace is an object of its exports
  const nested = loaded['default'] as Record<string, unknown> | undefined // so that a CommonJS build shows its exports
  const found = loaded[className] ?? nested?.[className]
  if (typeof found !== 'function') throw new TypeError(`${name} exports no ${className}`)
  return found as AdapterClass // by the package's documentation; what is not, fails at connect()
}

/** The project's own copy first: its package manager may hide it from this library, which may be linked from elsewhere. */
function locationOf(name: string): string {
  try {
    return pathToFileURL(createRequire(join(process.cwd(), 'package.json')).resolve(name)).href
  } catch {
    return name
  }
}
