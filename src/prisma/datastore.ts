/** One database with its PrismaClient: where transactions, rows and events meet. */
import { checkOptions, described } from '../checked-options.js'
import { NoTransactionError, NotSupportedError, ProgrammingError } from '../errors.js'
import type { Environment, InfrastructureFactory, InfrastructureSource } from '../persistence/environment.js'
import { defaultOnEscape, Escapes, OutsideWrites } from '../transaction/escapes.js'
import { settlesWithin } from '../transaction/locks.js'
import { type CloseOptions, closeOptionTypes, defaultCloseTimeoutMs } from '../transaction/open-scopes.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import { type DatastoreStats, Telemetry } from '../transaction/telemetry.js'
import { Transactions } from '../transaction/transactions.js'
import { JoiningAdapterFactory } from './adapter.js'
import { JoiningClients } from './ambient-client.js'
import { connectionSource } from './connection-source.js'
import type { DriverConnection } from './connections.js'
import { DatastoreFactory } from './datastore-factory.js'
import {
  checkDatastoreOptions,
  defaultsOf,
  newName,
  type PrismaDatastoreOptions,
  settingsOf,
} from './datastore-options.js'
import type { Dialect } from './dialect.js'
import { dialectOf } from './dialects/by-provider.js'
import {
  adapterOf,
  isPrismaClient,
  type PrismaClientLike,
  type SqlDriverAdapterFactory,
  strangerError,
  type TransactionClient,
} from './driver.js'
import { setEngine } from './engine.js'
import { type ListenConnection, Listener, LogSignals, LogWatches } from './log-signals.js'
import { ReplaceableConnections } from './replaceable-connections.js'
import { newShadowClient } from './shadow-client.js'
import {
  type ManagedOwner,
  ManagedScope,
  type ManagedTransaction,
  NoTransaction,
  ScopeTransaction,
  type Transaction,
  type TransactionHost,
} from './transaction.js'

/** How long the end of the connections may take beyond the limit, and once more when what is under way on them is abandoned. */
const disconnectPatienceMs = 150

/**
 * One database, its PrismaClient and its current transaction. Make one for each database and share it.
 *
 * @example
 * const datastore = new PrismaDatastore({ adapter, client: (adapter) => new PrismaClient({ adapter }) })
 */
export class PrismaDatastore<Client extends object = object>
  implements InfrastructureSource<TransactionClient<Client>>
{
  /** The adapter to make a PrismaClient with, where a framework makes the client itself. */
  readonly adapter: SqlDriverAdapterFactory
  /** What messages about its transactions call it. */
  readonly name: string
  readonly #inner: SqlDriverAdapterFactory
  readonly #transactions: Transactions<DriverConnection>
  readonly #connections: ReplaceableConnections
  readonly #signals: LogSignals
  readonly #watches = new LogWatches()
  readonly #clients: JoiningClients
  readonly #managedOwner: ManagedOwner<Client>
  #base: (Client & PrismaClientLike) | undefined
  #ambient: Client | undefined
  #disconnected: Promise<void> | undefined

  /** @throws `ProgrammingError` without an adapter, for a client that is none, and for options that there are not */
  constructor(options: PrismaDatastoreOptions<Client>) {
    checkDatastoreOptions(options)
    const { adapter, schema } = options
    this.#inner = adapter
    const dialect = dialectWith(adapter, schema)
    this.name = options.name ?? newName(adapter.provider)
    const settings = settingsOf(options, dialect)
    this.#connections = new ReplaceableConnections(dialect.connections(settings))
    this.#signals = new LogSignals(listenerOf(dialect, options.listen))
    const escapes = new Escapes(options.onEscape ?? defaultOnEscape())
    const source = connectionSource(dialect, this.#connections)
    const telemetry = new Telemetry(this.name, dialect.name)
    const defaults = defaultsOf(options, settings)
    const transactions = (this.#transactions = new Transactions(source, defaults, telemetry, escapes))
    const outside = new OutsideWrites(this.name, transactions, options.outside)
    this.#clients = new JoiningClients(transactions, options)
    const host = { dialect, connections: this.#connections, transactions, guestOpening: this.#clients.opening, outside }
    this.adapter = new JoiningAdapterFactory(adapter, { ...settings, ...host })
    this.#managedOwner = { transactions, connections: this.#connections, viewOf: (scope) => this.#viewOf(scope) }
    setEngine(this, {
      dialect,
      adapterName: adapter.adapterName,
      schema,
      order: options.order,
      transactions,
      signals: this.#signals,
      watches: this.#watches,
      telemetry,
      isProvisional: () => this.#connections.rehearsal !== undefined,
      runner: () => this.#connections,
      connectionSchema: async () => (await this.#connections.adapter()).getConnectionInfo?.().schemaName,
      checkOutside: (attempted) => outside.check(attempted),
      atOnce: (work) => this.#atOnce(work),
      inPart: (scope, work) => transactions.inPart(scope, work),
      shadowClient: newShadowClient(options, { ...settings, ...host, clients: this.#clients, bound: () => this.#base }),
      rehearse: async (work, limits) => await this.#rehearse(work, { ...limits, dialect, transactions }),
    })
    if (options.client !== undefined) this.bind(options.client(this.adapter))
  }

  /** Your PrismaClient: inside a transaction its calls join that, outside they run by themselves. */
  get client(): Client {
    if (this.#ambient !== undefined) return this.#ambient
    throw new ProgrammingError(
      'The datastore has no client: give the option `client`, or call datastore.bind(client) with a client made on datastore.adapter.',
    )
  }

  /**
   * Tells the datastore its client, where a framework makes it: `super({ adapter: datastore.adapter })`, then `datastore.bind(this)`.
   *
   * @throws `ProgrammingError` for what is no PrismaClient, or one on another adapter
   */
  bind(client: Client): void {
    if (!isPrismaClient(client)) {
      throw new ProgrammingError(
        `Could not bind the client: ${described(client)} has no $transaction, so it is no PrismaClient.`,
      )
    }
    const madeOn = adapterOf(client)
    // One that users have put around this adapter is of another class than the one inside of it.
    const isStranger = isObjectOfClass(madeOn) && madeOn.constructor === this.#inner.constructor
    if (isStranger) throw strangerError()
    this.#base = client
    this.#ambient = this.#clients.join(client)
  }

  /** Whether a read through a recorder writes pending events first, for transactions that begin from now on. */
  get autoflush(): boolean {
    return this.#transactions.defaults.autoflush
  }

  /** Sets it for transactions that begin from now on. */
  set autoflush(autoflush: boolean) {
    this.#transactions.defaults.autoflush = autoflush
  }

  /** What its transactions have come to since it was made, how many are open now, and how far its logs are final. */
  get stats(): DatastoreStats {
    return { ...this.#transactions.telemetry.stats, ...this.#watches.gauges }
  }

  /** @throws `NoTransactionError` when none is open around this code */
  get currentTransaction(): Transaction<Client> {
    const current = this.tryCurrentTransaction
    if (current !== undefined) return current
    throw new NoTransactionError(
      'There is no current transaction: call this inside datastore.transaction(), or in a route that has one.',
    )
  }

  /** The transaction around this code, undefined when there is none. One that has ended is still given: its use raises `TransactionClosedError`. */
  get tryCurrentTransaction(): Transaction<Client> | undefined {
    const scope = this.#transactions.current
    return scope === undefined ? undefined : this.#viewOf(scope)
  }

  /**
   * Runs work in a transaction: its rows and events are stored together when it resolves, and none when it rejects.
   *
   * @param work - everything it calls finds the transaction by itself; it must await all that it starts
   * @returns what `work` resolves to, after COMMIT
   * @throws what `work` throws; `ConcurrencyError`, `IntegrityError` or `OperationalError` when the database refuses to
   * commit; `TransactionTimeoutError` at the deadline; `RollbackOnlyError`; `CommitUnknownError`
   */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    assertWork(work)
    return await this.#transactions.run((scope) => work(this.#transactionOf(scope)), options)
  }

  /**
   * Runs `fn`, and all that it calls, outside of the datastore's transactions, on purpose: each statement is stored at once, and
   * is no write that the option `outside` warns of or refuses. It says of a job, a script or a fixture that it means it.
   *
   * @returns what `fn` returns; of a call of Prisma's its promise, begun
   *
   * @example
   * await datastore.outside(() => db.heartbeat.update({ where: { id: 1 }, data: { at: new Date() } }))
   */
  outside<T>(fn: () => T): T {
    return this.#transactions.context.run(undefined, () => {
      const result = fn()
      const isLazy = typeof result === 'object' && result !== null && 'then' in result && !(result instanceof Promise)
      // Prisma's promises do nothing before they are awaited, which may be elsewhere. Whoever awaits it gets the same value.
      return isLazy ? (Promise.resolve(result) as T) : result
    })
  }

  /**
   * A transaction without a callback, for adapters of web frameworks. Nothing is sent until its first statement.
   *
   * @param host - for whom it begins when it is first used; without one it begins at once
   * @throws `DatastoreClosedError` when the datastore is closed, or about to be
   */
  begin(options: TransactionOptions = {}, host?: TransactionHost): ManagedTransaction<Client> {
    return new ManagedScope(this.#managedOwner, options, { host })
  }

  /** Makes the recorders of the application whose environment this is: the option `datastore` of an application uses it. */
  infrastructureFactory(environment: Environment): InfrastructureFactory<TransactionClient<Client>> {
    return new DatastoreFactory(this, environment)
  }

  /**
   * Refuses new transactions at once, waits for the open ones and their hooks up to a limit, and rolls back those that are open
   * then, with a process warning; ends subscriptions, and disconnects. It is back a second after `timeoutMs` at the latest,
   * whatever hangs: connections that do not answer are abandoned. What is used after that raises `ProgrammingError`. When it
   * is called again it does the same: the limit that comes first counts.
   *
   * @throws `ProgrammingError` inside of a transaction
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions(`close the datastore ${this.name}`, options, closeOptionTypes)
    const startedAt = performance.now()
    const rolledBack = await this.#transactions.close(options)
    if (rolledBack > 0) warnOfClose(this.name, rolledBack)
    this.#disconnected ??= this.#disconnect()
    const { timeoutMs = defaultCloseTimeoutMs, signal } = options
    const leftMs = signal?.aborted ? 0 : Math.max(0, timeoutMs - (performance.now() - startedAt))
    if (await settlesWithin(this.#disconnected, leftMs + disconnectPatienceMs)) return await this.#disconnected
    // Statements outside of transactions are under way still, or nobody answers.
    this.#connections.abandon()
    await settlesWithin(this.#disconnected, disconnectPatienceMs)
  }

  async #disconnect(): Promise<void> {
    await this.#clients.close()
    await this.#signals.close()
    await this.#connections.close()
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #atOnce<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const { lone } = this.#connections
    // What it checks after it has locked something, it is to see as it is then, whatever the level is by default.
    const sees = lone === undefined || (await lone.seeCommitted(this.#connections))
    const scope = this.#transactions.begin(sees ? {} : { isolationLevel: 'ReadCommitted' })
    let result: T
    try {
      result = await scope.execute(work)
    } catch (error) {
      await scope.rollback()
      throw error
    }
    await scope.commit()
    return result
  }

  async #rehearse<T>(work: () => Promise<T>, options: Parameters<ReplaceableConnections['rehearse']>[1]): Promise<T> {
    return await this.#signals.apart(() => this.#connections.rehearse(work, options))
  }

  #transactionOf(scope: Scope<DriverConnection> | undefined): Transaction<Client> {
    // The transaction client has all that a client has but for `$connect` and its like.
    return scope === undefined ? new NoTransaction(() => this.client as TransactionClient<Client>) : this.#viewOf(scope)
  }

  #viewOf(scope: Scope<DriverConnection>): Transaction<Client> {
    // Only this datastore makes views of its scopes.
    return (scope.view ??= new ScopeTransaction<Client>(scope, () => this.#clientWithin(scope))) as Transaction<Client>
  }

  #clientWithin(scope: Scope<DriverConnection>): TransactionClient<Client> {
    const base = this.#base
    return (base === undefined ? this.client : this.#clients.within(base, scope)) as TransactionClient<Client>
  }
}

function isObjectOfClass(value: unknown): value is object {
  return typeof value === 'object' && value !== null && value.constructor !== Object
}

function dialectWith({ provider }: SqlDriverAdapterFactory, schema: string | undefined): Dialect {
  const dialect = dialectOf(provider)
  if (schema === undefined || dialect.hasSchemas) return dialect
  throw new NotSupportedError(`Could not make a datastore with schema "${schema}": ${dialect.name} has no schemas.`)
}

function listenerOf(dialect: Dialect, listen: (() => ListenConnection) | undefined): Listener | undefined {
  if (listen === undefined) return undefined
  if (dialect.listenStatement !== undefined) return new Listener(listen, dialect.listenStatement)
  throw new NotSupportedError(
    `Could not make a datastore with the option listen: ${dialect.name} sends no notifications. Subscriptions work without it.`,
  )
}

function assertWork(work: unknown): void {
  if (typeof work === 'function') return
  throw new ProgrammingError(
    `Could not begin a transaction: ${described(work)} was given as its work; give a function, whose calls are in the transaction: ` +
      'datastore.transaction(async () => { … }).',
  )
}

function warnOfClose(name: string, rolledBack: number): void {
  process.emitWarning(
    `The datastore ${name} was closed while ${rolledBack} of its transactions were open: they were rolled back. ` +
      'Let the server answer its requests first, or give close() a greater timeoutMs.',
    { code: 'ES_CLOSED_WHILE_OPEN' },
  )
}
