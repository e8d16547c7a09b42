/** Makes the datastore that variables describe, and an application's recorders on it. */
import { EnvironmentError, type EventSourcingError, ProgrammingError } from '../errors.js'
import { resolveVariable } from '../persistence/configured.js'
import type {
  Environment,
  InfrastructureFactory,
  InfrastructureSource,
  RecorderPurpose,
} from '../persistence/environment.js'
import { adapterFromUrl } from './adapter-from-url.js'
import { PrismaDatastore } from './datastore.js'
import { DatastoreFactory } from './datastore-factory.js'
import type { SqlDriverAdapterFactory } from './driver.js'
import { providerOf, type RawQueryClient, ScopedClientDatastore } from './scoped-client.js'

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
