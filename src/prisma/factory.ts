/** Makes the datastore that variables describe, with the driver adapter that its URL asks for, or one inside a transaction that somebody else manages, and an application's recorders on it. */

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  EnvironmentError,
  type EventSourcingError,
  InterfaceError,
  NoTransactionError,
  NotSupportedError,
  ProgrammingError,
} from '../errors.js'
import { resolveVariable } from '../persistence/configured.js'
import type {
  Environment,
  InfrastructureFactory,
  InfrastructureSource,
  RecorderPurpose,
} from '../persistence/environment.js'
import type { LogOrder } from '../persistence/recorder.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import type { StatementRunner } from './connections.js'
import { PrismaDatastore } from './datastore.js'
import { DatastoreFactory } from './datastore-factory.js'
import { dialectOf } from './dialects/by-provider.js'
import {
  providersByName,
  type SqlDriverAdapterFactory,
  type SqlQuery,
  type SqlResultSet,
  type TransactionClient,
} from './driver.js'
import { setEngine } from './engine.js'
import { LogWatches } from './log-signals.js'
import { NoTransaction, type Transaction } from './transaction.js'

/** What `PERSISTENCE_MODULE=eventsourcing-prisma` names: the recorders of one application on a datastore that variables describe. */
export class PrismaFactory implements InfrastructureFactory {
  readonly #environment: Environment
  #factory: InfrastructureFactory | undefined
  #own: PrismaDatastore | undefined

  constructor(environment: Environment) {
    this.#environment = environment
  }

  applicationRecorder(): ReturnType<InfrastructureFactory['applicationRecorder']> {
    return this.#prepared.applicationRecorder()
  }

  aggregateRecorder(purpose: RecorderPurpose): ReturnType<InfrastructureFactory['aggregateRecorder']> {
    return this.#prepared.aggregateRecorder(purpose)
  }

  trackingRecorder(): ReturnType<InfrastructureFactory['trackingRecorder']> {
    return this.#prepared.trackingRecorder()
  }

  processRecorder(): ReturnType<InfrastructureFactory['processRecorder']> {
    return this.#prepared.processRecorder()
  }

  subjectKeyRecorder(): ReturnType<NonNullable<InfrastructureFactory['subjectKeyRecorder']>> {
    return this.#prepared.subjectKeyRecorder?.()
  }

  projectionRecorder(): ReturnType<NonNullable<InfrastructureFactory['projectionRecorder']>> {
    return this.#prepared.projectionRecorder?.()
  }

  timerRecorder(): ReturnType<NonNullable<InfrastructureFactory['timerRecorder']>> {
    return this.#prepared.timerRecorder?.()
  }

  /**
   * Loads what the variables name.
   *
   * @throws `EnvironmentError` for variables that cannot be used; whatever a function that they name throws
   */
  async prepare(): Promise<void> {
    this.#factory ??= await this.#load()
    await this.#factory.prepare?.()
  }

  async close(): Promise<void> {
    await this.#own?.close()
  }

  get #prepared(): InfrastructureFactory {
    if (this.#factory !== undefined) return this.#factory
    throw new ProgrammingError('The factory was used before prepare(): await application.ready() first.')
  }

  async #load(): Promise<InfrastructureFactory> {
    const environment = this.#environment
    const currentClient = await resolveVariable(environment, 'PRISMA_SCOPED_CLIENT_TOPIC')
    if (currentClient !== undefined)
      return new DatastoreFactory(scopedDatastore(environment, currentClient), environment)
    const datastore = await resolveVariable(environment, 'PRISMA_DATASTORE_TOPIC')
    if (datastore !== undefined) {
      if (!isSource(datastore)) throw invalid(environment, 'PRISMA_DATASTORE_TOPIC', 'the topic of a PrismaDatastore')
      return datastore.infrastructureFactory(environment)
    }
    this.#own = await datastoreFrom(environment)
    return this.#own.infrastructureFactory(environment)
  }
}

async function datastoreFrom(environment: Environment): Promise<PrismaDatastore> {
  const clientClass = await resolveVariable(environment, 'PRISMA_CLIENT_TOPIC')
  if (clientClass !== undefined && !isClientClass(clientClass)) {
    throw invalid(environment, 'PRISMA_CLIENT_TOPIC', 'the topic of a generated PrismaClient class')
  }
  const autoflush = environment.getBoolean('PRISMA_AUTOFLUSH')
  return new PrismaDatastore({
    adapter: await adapterFrom(environment),
    ...(clientClass === undefined ? {} : { client: (adapter) => new clientClass({ adapter }) }),
    ...(autoflush === undefined ? {} : { autoflush }),
  })
}

async function adapterFrom(environment: Environment): Promise<SqlDriverAdapterFactory> {
  const makeAdapter = await resolveVariable(environment, 'PRISMA_ADAPTER_TOPIC')
  if (makeAdapter !== undefined) {
    const adapter: unknown =
      typeof makeAdapter === 'function' ? await Reflect.apply(makeAdapter, undefined, []) : makeAdapter
    if (isAdapter(adapter)) return adapter
    throw invalid(environment, 'PRISMA_ADAPTER_TOPIC', 'the topic of a function that returns a Prisma driver adapter')
  }
  const url = environment.get('PRISMA_URL')
  if (url !== undefined && url !== '') return await adapterFromUrl(url)
  throw new EnvironmentError(
    `Could not connect to a database: set one of ${environment.names('PRISMA_URL').join(', ')} to its URL, such as file:./dev.db.`,
  )
}

function scopedDatastore(environment: Environment, currentClient: unknown): ScopedClientDatastore {
  if (typeof currentClient !== 'function') {
    throw invalid(
      environment,
      'PRISMA_SCOPED_CLIENT_TOPIC',
      'the topic of a function that returns the current transaction client',
    )
  }
  const current = (): RawQueryClient | undefined => {
    const client: unknown = Reflect.apply(currentClient, undefined, [])
    if (client === undefined || client === null || isRawQueryClient(client)) return client ?? undefined
    throw invalid(environment, 'PRISMA_SCOPED_CLIENT_TOPIC', 'the topic of a function that returns a Prisma client')
  }
  return new ScopedClientDatastore({
    currentClient: current,
    provider: providerOf(current(), environment.get('PRISMA_URL')),
  })
}

function invalid(environment: Environment, key: string, expected: string): EventSourcingError {
  return new EnvironmentError(
    `The variable ${environment.names(key).join(', ')} is '${environment.get(key)}', which cannot be used: set it to ${expected}.`,
  )
}

function isSource(value: unknown): value is InfrastructureSource {
  return typeof value === 'object' && value !== null && 'infrastructureFactory' in value
}

function isAdapter(value: unknown): value is SqlDriverAdapterFactory {
  return typeof value === 'object' && value !== null && 'connect' in value && 'provider' in value
}

function isClientClass(value: unknown): value is new (options: { adapter: SqlDriverAdapterFactory }) => object {
  return typeof value === 'function'
}

function isRawQueryClient(value: unknown): value is RawQueryClient {
  return typeof value === 'object' && value !== null && '$queryRawUnsafe' in value
}

/** What is called on the transaction client of whoever manages transactions. */
export interface RawQueryClient {
  $queryRawUnsafe(sql: string, ...args: unknown[]): PromiseLike<unknown>
  $executeRawUnsafe(sql: string, ...args: unknown[]): PromiseLike<number>
}

/** What a scoped datastore is made from. */
export interface ScopedClientOptions<Client extends RawQueryClient> {
  /** Returns the transaction client that is current where it is called. */
  readonly currentClient: () => Client | undefined
  /** The database, by the name that driver adapters give it. */
  readonly provider: string
  /** The schema of the library's tables, where the database has schemas. */
  readonly schema?: string
  /** What keeps logs in order on PostgreSQL, for recorders that say nothing of it; default `floor-lock`. */
  readonly order?: LogOrder
}

/**
 * Lets recorders work through the client of an open Prisma transaction. Events are written when they are saved, since the
 * end of the transaction is not known here; whether they stay is decided by who manages it.
 */
class ScopedClientDatastore<Client extends RawQueryClient = RawQueryClient> implements RecorderDatastore<Client> {
  readonly #currentClient: () => Client | undefined
  #savepoints = 0

  constructor(options: ScopedClientOptions<Client>) {
    this.#currentClient = options.currentClient
    const runner = new ClientRunner(() => this.#client())
    setEngine(this, {
      dialect: dialectOf(options.provider),
      schema: options.schema,
      order: options.order,
      transactions: { current: undefined },
      signals: undefined,
      watches: new LogWatches(),
      telemetry: undefined,
      isProvisional: () => true,
      runner: () => runner,
      // It is somebody else's to know.
      checkOutside: () => undefined,
      atOnce: refuse,
      inPart: refuse,
      rehearse: refuse,
    })
  }

  /** Runs work in the transaction that is current, or in a part of it that can fail alone; its end is not this one's. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    if (options.propagation === 'requiresNew') {
      throw new NotSupportedError(
        'Could not open a transaction with propagation "requiresNew": transactions are managed by someone else here.',
      )
    }
    // A client that is passed around as a transaction client already is one.
    const run = (): Promise<T> => work(new NoTransaction<Client>(() => this.#client() as TransactionClient<Client>))
    return options.propagation === 'nested' ? await this.#inSavepoint(run) : await run()
  }

  async #inSavepoint<T>(run: () => Promise<T>): Promise<T> {
    const client = this.#client()
    const name = `es_part_${++this.#savepoints}`
    await client.$executeRawUnsafe(`SAVEPOINT ${name}`)
    let result: T
    try {
      result = await run()
    } catch (error) {
      await client.$executeRawUnsafe(`ROLLBACK TO SAVEPOINT ${name}`)
      throw error
    }
    await client.$executeRawUnsafe(`RELEASE SAVEPOINT ${name}`)
    return result
  }

  #client(): Client {
    const client = this.#currentClient()
    if (client !== undefined) return client
    throw new NoTransactionError(
      'There is no current transaction client: the function named by PRISMA_SCOPED_CLIENT_TOPIC returned undefined. Call the application inside a transaction.',
    )
  }
}

function refuse(): never {
  throw new InterfaceError('Could not begin a transaction: transactions are managed by someone else here.')
}

/** Runs statements through Prisma's raw queries. */
class ClientRunner implements StatementRunner {
  readonly inTransaction = true
  readonly givesInsertIds = false
  readonly #client: () => RawQueryClient

  constructor(client: () => RawQueryClient) {
    this.#client = client
  }

  async query({ sql, args }: SqlQuery): Promise<SqlResultSet> {
    const result = await this.#client().$queryRawUnsafe(sql, ...args)
    const records: readonly unknown[] = Array.isArray(result) ? result : []
    // A row is an object whose properties are in the order of the columns.
    return { columnTypes: [], columnNames: [], rows: records.map((record) => Object.values(Object(record))) }
  }

  async execute({ sql, args }: SqlQuery): Promise<number> {
    return await this.#client().$executeRawUnsafe(sql, ...args)
  }
}

/**
 * Finds out which database a client is for.
 *
 * @param url - asked first: the scheme tells
 */
function providerOf(client: unknown, url: string | undefined): string {
  const scheme = url?.slice(0, url.indexOf(':'))
  const name = scheme ?? activeProvider(client)
  const provider = name === undefined ? undefined : providersByName[name]
  if (provider !== undefined) return provider
  throw new EnvironmentError(
    `Could not tell the database of the scoped client${name === undefined ? '' : ` from "${name}"`}: set PRISMA_URL to its URL.`,
  )
}

function activeProvider(client: unknown): string | undefined {
  if (typeof client !== 'object' || client === null || !('_activeProvider' in client)) return undefined
  return typeof client._activeProvider === 'string' ? client._activeProvider : undefined
}

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
