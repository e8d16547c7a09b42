/** Connections of a database server: the adapter's pool, and one of its connections for each transaction. */
import { setTimeout as delay } from 'node:timers/promises'
import { CommitUnknownError } from '../errors.js'
import type { BeginOptions } from '../transaction/connection.js'
import type { IsolationLevel } from '../transaction/options.js'
import { ConnectionPool, poolSizeOf } from './connection-pool.js'
import { type Connections, closedError, type DriverConnection } from './connections.js'
import type { ConnectionSettings, Dialect } from './dialect.js'
import {
  type SqlDriverAdapter,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQuery,
  type SqlResultSet,
  statement,
} from './driver.js'
import { readDriverError } from './driver-error.js'
import { checkedEffect, TransactionGuard } from './transaction-guard.js'
import { translateError } from './translate-error.js'

const sqlNames: Readonly<Record<IsolationLevel, SqlIsolationLevel>> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
}

/** Beyond the library's own deadline, so that the server only ends what the library failed to end. */
const guardMarginMs = 5_000

/** How often a ROLLBACK is sent that the driver gives up, and how long after the one before. */
const mostRollbacks = 100
const rollbackPauseMs = 100

/** Statements by themselves go to any connection of the pool; a transaction keeps one. */
export class PooledConnections implements Connections {
  readonly inTransaction = false
  readonly givesInsertIds = true
  readonly #settings: ConnectionSettings
  #connected: Promise<SqlDriverAdapter> | undefined
  #pool: ConnectionPool
  #isClosed = false

  constructor(settings: ConnectionSettings) {
    this.#settings = settings
    this.#pool = new ConnectionPool(settings.poolSize)
  }

  async adapter(): Promise<SqlDriverAdapter> {
    if (this.#isClosed) throw closedError()
    this.#connected ??= this.#connect()
    return await this.#connected
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    checkedEffect(this.#settings.dialect, query, false)
    return await (await this.adapter()).queryRaw(query)
  }

  async execute(query: SqlQuery): Promise<number> {
    checkedEffect(this.#settings.dialect, query, false)
    return await (await this.adapter()).executeRaw(query)
  }

  async script(sql: string): Promise<void> {
    await (await this.adapter()).executeScript(sql)
  }

  async begin(options: BeginOptions): Promise<DriverConnection> {
    const { dialect, deadlineMs } = this.#settings
    try {
      const adapter = await this.adapter()
      const isolationLevel = options.isolationLevel === undefined ? undefined : sqlNames[options.isolationLevel]
      const stopWaiting = this.#pool.wait(options.heldAround, options.signal)
      const transaction = await adapter.startTransaction(isolationLevel).finally(stopWaiting)
      const pool = this.#pool
      const connection = new PooledConnection(transaction, dialect, options.heldAround, () => pool.giveBack(connection))
      pool.hold(connection)
      await connection.prepare([
        ...dialect.afterBegin(options),
        ...(options.deadlineMs > deadlineMs ? dialect.guards(options.deadlineMs + guardMarginMs, 'transaction') : []),
      ])
      return connection
    } catch (error) {
      throw translateError(dialect, error, 'begin a transaction')
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.disconnect()
  }

  async disconnect(): Promise<void> {
    const connected = this.#connected
    this.#connected = undefined
    if (connected !== undefined) await (await connected).dispose()
  }

  async #connect(): Promise<SqlDriverAdapter> {
    try {
      const { factory, dialect, deadlineMs, poolSize } = this.#settings
      const adapter = await factory.connect()
      const pool = adapter.underlyingDriver?.()
      this.#pool = new ConnectionPool(poolSize ?? poolSizeOf(pool))
      guardNewConnections(pool, dialect.guards(deadlineMs + guardMarginMs, 'session'))
      return adapter
    } catch (error) {
      this.#connected = undefined
      throw translateError(this.#settings.dialect, error, 'connect to the database')
    }
  }
}

class PooledConnection implements DriverConnection {
  readonly inTransaction = true
  readonly givesInsertIds = true
  readonly #transaction: SqlDriverTransaction
  readonly #dialect: Dialect
  readonly #heldAround: readonly object[]
  readonly #givenBack: () => void
  readonly #guard: TransactionGuard
  #ended = false

  constructor(
    transaction: SqlDriverTransaction,
    dialect: Dialect,
    heldAround: readonly object[],
    givenBack: () => void,
  ) {
    this.#transaction = transaction
    this.#dialect = dialect
    this.#heldAround = heldAround
    this.#givenBack = givenBack
    this.#guard = new TransactionGuard(dialect, transaction)
  }

  get hasEnded(): boolean {
    return this.#guard.hasEnded
  }

  get usesPhantomQuery(): boolean {
    return this.#transaction.options.usePhantomQuery
  }

  get openAround(): readonly DriverConnection[] {
    const isOpen = (held: object): held is PooledConnection => held instanceof PooledConnection && !held.#ended
    return this.#heldAround.filter(isOpen)
  }

  async prepare(statements: readonly SqlQuery[]): Promise<void> {
    try {
      for (const query of statements) await this.execute(query)
    } catch (error) {
      await this.rollback()
      throw error
    }
  }

  query(query: SqlQuery): Promise<SqlResultSet> {
    return this.#guard.run(query, () => this.#transaction.queryRaw(query))
  }

  execute(query: SqlQuery): Promise<number> {
    return this.#guard.run(query, () => this.#transaction.executeRaw(query))
  }

  async commit(): Promise<void> {
    this.#ended = true
    try {
      await this.#commit()
    } finally {
      this.#givenBack()
    }
  }

  async rollback(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      if (!this.#transaction.options.usePhantomQuery) await this.#sendRollback()
    } finally {
      await this.#transaction.rollback().finally(this.#givenBack)
    }
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

  /**
   * Sends it again when the driver has given up waiting for its turn, as node-postgres does with `query_timeout`: whoever
   * gets the connection next would go on in this transaction, and commit it.
   */
  async #sendRollback(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#transaction.executeRaw(statement('ROLLBACK'))
        return
      } catch (error) {
        if (!isGivenUp(error) || attempt === mostRollbacks) throw error
      }
      await delay(rollbackPauseMs)
    }
  }

  async #commit(): Promise<void> {
    try {
      this.#guard.assertOpen()
      if (!this.#transaction.options.usePhantomQuery) await this.#transaction.executeRaw(statement('COMMIT'))
    } catch (error) {
      // A COMMIT that the driver has not sent leaves the transaction open, and whoever gets the connection next would commit it.
      await this.#sendRollback().catch(ignore)
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
    if (this.#dialect.mayHaveCommitted(error, readDriverError(error))) {
      return new CommitUnknownError(
        'The connection was lost while COMMIT was under way, so the transaction may or may not be stored. Look before you repeat it.',
        { cause: error },
      )
    }
    return translateError(this.#dialect, error, 'commit the transaction')
  }
}

/** Whether node-postgres has waited for longer than `query_timeout`: what has not been sent by then is not sent any more. */
function isGivenUp(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}

interface PoolConnection {
  query(sql: string): Promise<unknown>
}

/** Sends the settings on each new connection: by the hook that one driver's pool awaits, or at the event of the other's. */
function guardNewConnections(pool: unknown, settings: readonly SqlQuery[]): void {
  if (typeof pool !== 'object' || pool === null || settings.length === 0) return
  const guard = async (connection: PoolConnection): Promise<void> => {
    for (const { sql } of settings) await connection.query(sql)
  }
  if ('options' in pool && isRecord(pool.options)) {
    const { options } = pool
    const { onConnect } = options
    options['onConnect'] = async (connection: PoolConnection) => {
      await guard(connection)
      if (typeof onConnect === 'function') await onConnect(connection)
    }
  } else if ('on' in pool && typeof pool.on === 'function') {
    // Queued before the first statement of whoever gets the connection; without the guard it works as it would without us.
    pool.on('connection', (connection: PoolConnection) => void guard(connection).catch(ignore))
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function ignore(): void {}
