/** Makes the datastore that variables describe, or one inside a transaction that somebody else manages, and an application's recorders on it. */
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
import { adapterFromUrl } from './adapter-from-url.js'
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
      currentScope: undefined,
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
