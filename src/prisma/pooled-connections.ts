/** Connections of a database server: the adapter's pool, and one of its connections for each transaction. */
import { CommitUnknownError } from '../errors.js'
import type { Abandonable, BeginOptions, LoneStatements, WaitOptions } from '../transaction/connection.js'
import { settlesWithin } from '../transaction/locks.js'
import type { IsolationLevel } from '../transaction/options.js'
import { ConnectionPool } from './connection-pool.js'
import { type Connections, closedError, type DriverConnection } from './connections.js'
import type { ConnectionSettings, Dialect } from './dialect.js'
import {
  readDriverError,
  type SqlDriverAdapter,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQuery,
  type SqlResultSet,
  statement,
} from './driver.js'
import { DriverPool, PooledStatements, poolSizeOf } from './driver-pool.js'
import { checkedEffect, GuardedConnection } from './transaction-guard.js'
import { translateError } from './translate-error.js'

const sqlNames: Readonly<Record<IsolationLevel, SqlIsolationLevel>> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
}

/** Beyond the library's own deadline, so that the server only ends what the library failed to end. */
const guardMarginMs = 5_000

/** How long a ROLLBACK may take before its connection is abandoned. */
const rollbackPatienceMs = 300

/** Statements by themselves go to any connection of the pool; a transaction keeps one. */
export class PooledConnections implements Connections {
  readonly inTransaction = false
  readonly givesInsertIds = true
  readonly lone: LoneStatements<DriverConnection> | undefined
  readonly #settings: ConnectionSettings
  /** How a statement by itself waits. */
  readonly #byItself: WaitOptions
  #connected: Promise<SqlDriverAdapter> | undefined
  /** Once it is connected. */
  #adapter: SqlDriverAdapter | undefined
  #pool: ConnectionPool
  #driverPool: DriverPool | undefined
  #isClosed = false

  constructor(settings: ConnectionSettings) {
    this.#settings = settings
    this.#pool = new ConnectionPool({ size: settings.poolSize, maxWaiting: settings.maxWaiting })
    this.#byItself = { heldAround: [], heldByAny: [], maxWaitMs: settings.maxWaitMs, signal: neverAborts }
    const host = {
      dialect: settings.dialect,
      driverPool: () => this.#driverPool,
      take: (options: WaitOptions) => this.#take(options),
    }
    this.lone = settings.dialect.readsAloneAt === undefined ? undefined : new PooledStatements(host)
  }

  async adapter(): Promise<SqlDriverAdapter> {
    if (this.#isClosed) throw closedError()
    const connecting = (this.#connected ??= this.#connect())
    const adapter = await connecting
    if (this.#connected === connecting) this.#adapter = adapter
    return adapter
  }

  query(query: SqlQuery): Promise<SqlResultSet> {
    return this.#taking((adapter) => {
      checkedEffect(this.#settings.dialect, query, false)
      return adapter.queryRaw(query)
    })
  }

  execute(query: SqlQuery): Promise<number> {
    return this.#taking((adapter) => {
      checkedEffect(this.#settings.dialect, query, false)
      return adapter.executeRaw(query)
    })
  }

  async script(sql: string): Promise<void> {
    await this.#taking((adapter) => adapter.executeScript(sql))
  }

  async begin(options: BeginOptions): Promise<DriverConnection> {
    const { dialect } = this.#settings
    try {
      const { adapter, pool } = await this.#take(options)
      const { isolationLevel: level } = options
      let acquired: Abandonable | undefined
      let transaction: SqlDriverTransaction
      try {
        const start = (): Promise<SqlDriverTransaction> =>
          adapter.startTransaction(level === undefined ? undefined : sqlNames[level])
        const tell = (connection: Abandonable): void => {
          acquired = connection
          options.acquired?.(connection)
        }
        transaction = await (this.#driverPool === undefined ? start() : this.#driverPool.acquiring(tell, start))
      } catch (error) {
        pool.giveBack()
        throw error
      }
      const connection = new PooledConnection(transaction, {
        dialect,
        heldAround: options.heldAround,
        acquired,
        givenBack: () => pool.release(connection),
      })
      pool.hold(connection)
      await connection.prepare(this.#statementsAfterBegin(options))
      return connection
    } catch (error) {
      throw translateError(dialect, error, 'begin a transaction')
    }
  }

  abandon(): void {
    this.#driverPool?.abandonBusy()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.disconnect()
  }

  async disconnect(): Promise<void> {
    const connected = this.#connected
    this.#connected = this.#adapter = undefined
    if (connected !== undefined) await (await connected).dispose()
  }

  async #taking<T>(run: (adapter: SqlDriverAdapter) => Promise<T>): Promise<T> {
    const taking = this.#take(this.#byItself)
    const { adapter, pool } = taking instanceof Promise ? await taking : taking
    try {
      return await run(adapter)
    } finally {
      pool.giveBack()
    }
  }

  /** Waits until the driver's pool has a connection left, if it has none now: who waits there cannot leave any more. */
  #take(options: WaitOptions): Taken | Promise<Taken> {
    const adapter = this.#adapter
    const pool = this.#pool
    return adapter !== undefined && pool.tryTake() ? { adapter, pool } : this.#takeLater(options)
  }

  async #takeLater(options: WaitOptions): Promise<Taken> {
    const adapter = await this.adapter()
    const pool = this.#pool
    if (!pool.tryTake()) {
      const hasWaited = options.waits?.()
      try {
        await pool.take(options)
      } finally {
        hasWaited?.()
      }
    }
    return { adapter, pool }
  }

  #statementsAfterBegin(options: BeginOptions): SqlQuery[] {
    const { dialect, deadlineMs } = this.#settings
    const guards =
      options.deadlineMs > deadlineMs ? dialect.guards(options.deadlineMs + guardMarginMs, 'transaction') : []
    return [...dialect.afterBegin(options), ...guards]
  }

  async #connect(): Promise<SqlDriverAdapter> {
    try {
      const { factory, dialect, deadlineMs, poolSize, maxWaitMs, maxWaiting } = this.#settings
      const adapter = await factory.connect()
      const pool = adapter.underlyingDriver?.()
      const limitMs = deadlineMs + guardMarginMs
      this.#pool = new ConnectionPool({ size: poolSize ?? poolSizeOf(pool), maxWaiting })
      this.#driverPool = DriverPool.of(pool)
      this.#driverPool?.prepareNew({
        guards: dialect.guards(limitMs, 'session').map(({ sql }) => sql),
        courtesies: dialect.courtesies(limitMs).map(({ sql }) => sql),
        patienceMs: Math.max(deadlineMs, maxWaitMs),
      })
      return adapter
    } catch (error) {
      this.#connected = undefined
      throw translateError(this.#settings.dialect, error, 'connect to the database')
    }
  }
}

/** One of the pool's connections is left for whoever has this. */
interface Taken {
  readonly adapter: SqlDriverAdapter
  readonly pool: ConnectionPool
}

/** Gives up only when `maxWaitMs` is over. */
function neverAborts(): AbortSignal {
  return new AbortController().signal
}

/** What a connection is made from, beside its transaction. */
interface PooledConnectionOptions {
  readonly dialect: Dialect
  readonly heldAround: readonly object[]
  /** What the driver's pool gave, where that is known. */
  readonly acquired: Abandonable | undefined
  readonly givenBack: () => void
}

class PooledConnection extends GuardedConnection implements DriverConnection {
  readonly #transaction: SqlDriverTransaction
  readonly #options: PooledConnectionOptions
  #ended = false
  #isAbandoned = false

  constructor(transaction: SqlDriverTransaction, options: PooledConnectionOptions) {
    super(options.dialect, transaction)
    this.#transaction = transaction
    this.#options = options
  }

  get usesPhantomQuery(): boolean {
    return this.#transaction.options.usePhantomQuery
  }

  get openAround(): readonly DriverConnection[] {
    const isOpen = (held: object): held is PooledConnection => held instanceof PooledConnection && !held.#ended
    return this.#options.heldAround.filter(isOpen)
  }

  async prepare(statements: readonly SqlQuery[]): Promise<void> {
    try {
      for (const query of statements) await this.execute(query)
    } catch (error) {
      await this.rollback()
      throw error
    }
  }

  async commit(patienceMs: number): Promise<void> {
    this.#ended = true
    const committing = this.#commit()
    void committing.finally(this.#options.givenBack).catch(ignore)
    if (await settlesWithin(committing, patienceMs)) return await committing
    this.abandon()
    throw unknownCommit(undefined)
  }

  async rollback(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    const rollingBack = this.#rollback()
    if (!(await settlesWithin(rollingBack, rollbackPatienceMs))) this.abandon()
    await rollingBack
  }

  abandon(): void {
    this.#isAbandoned = true
    this.#options.acquired?.abandon()
  }

  async savepoint(name: string): Promise<void> {
    if (this.#transaction.createSavepoint === undefined) await this.execute(statement(`SAVEPOINT ${name}`))
    else await this.#transaction.createSavepoint(name)
  }

  async rollbackTo(name: string): Promise<void> {
    if (this.#transaction.rollbackToSavepoint === undefined)
      await this.execute(statement(`ROLLBACK TO SAVEPOINT ${name}`))
    else await this.#transaction.rollbackToSavepoint(name)
    await this.release(name)
  }

  async release(name: string): Promise<void> {
    if (this.#transaction.releaseSavepoint === undefined) await this.execute(statement(`RELEASE SAVEPOINT ${name}`))
    else await this.#transaction.releaseSavepoint(name)
  }

  async #rollback(): Promise<void> {
    if (!(await this.#hasSentRollback())) {
      this.abandon()
      // Whoever got it next would go on in this transaction, and commit it.
      if (this.#options.acquired === undefined) return
    }
    await this.#transaction.rollback().finally(this.#options.givenBack)
  }

  /** @returns false where the driver has given up waiting for its turn, as node-postgres does with `query_timeout`: it is not sent then */
  async #hasSentRollback(): Promise<boolean> {
    if (this.#transaction.options.usePhantomQuery) return true
    try {
      await this.#transaction.executeRaw(statement('ROLLBACK'))
      return true
    } catch (error) {
      return !isGivenUp(error)
    }
  }

  async #commit(): Promise<void> {
    try {
      this.assertOpen()
      if (!this.#transaction.options.usePhantomQuery) await this.#transaction.executeRaw(statement('COMMIT'))
    } catch (error) {
      // A COMMIT that was not sent, or failed, may leave the transaction open, and whoever gets the connection next would commit it.
      if (isGivenUp(error) || !(await this.#hasSentRollback())) this.abandon()
      await this.#transaction.rollback().catch(ignore)
      throw this.#commitFailed(error)
    }
    try {
      await this.#transaction.commit()
    } catch (error) {
      throw this.#commitFailed(error)
    }
  }

  #commitFailed(error: unknown): Error {
    const { dialect } = this
    if (this.#isAbandoned || dialect.mayHaveCommitted(error, readDriverError(error))) return unknownCommit(error)
    return translateError(dialect, error, 'commit the transaction')
  }
}

function unknownCommit(cause: unknown): CommitUnknownError {
  return new CommitUnknownError(
    'The connection was lost while COMMIT was under way, so the transaction may or may not be stored. Look before you repeat it.',
    { cause },
  )
}

/** Whether node-postgres has waited for longer than `query_timeout`: what has not been sent by then is not sent any more. */
function isGivenUp(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}

function ignore(): void {}
