/** Statements of a unit of work that are sent without a transaction around them, each on any connection of the pool. */
import type { Abandonable, LoneStatements, WaitOptions } from '../transaction/connection.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { Dialect } from './dialect.js'
import type { SqlDriverAdapter, SqlQuery, SqlResultSet } from './driver.js'
import type { DriverPool } from './driver-pool.js'
import { checkedEffect } from './transaction-guard.js'
import { translateError } from './translate-error.js'

/** What they need of the connections. */
export interface PooledStatementsHost {
  readonly dialect: Dialect
  adapter(): Promise<SqlDriverAdapter>
  /** Undefined where the adapter's pool is not known, and before the first use. */
  driverPool(): DriverPool | undefined
  /** Waits until the pool has a connection left. */
  take(options: WaitOptions): Promise<{ giveBack(): void }>
}

/** Those of one pool. */
export class PooledStatements implements LoneStatements<DriverConnection> {
  readonly #host: PooledStatementsHost
  #readAsInTransaction: boolean | undefined

  constructor(host: PooledStatementsHost) {
    this.#host = host
  }

  get readAsInTransaction(): boolean | undefined {
    return this.#readAsInTransaction
  }

  async learn(options: WaitOptions): Promise<boolean> {
    const { readsAloneAt } = this.#host.dialect
    return await this.#taking(options, async () => {
      if (readsAloneAt === undefined) return false
      try {
        const level = await this.#host.driverPool()?.ask(readsAloneAt.query, tellingOf(options))
        // A pool that is not known tells nothing.
        return (this.#readAsInTransaction = level === readsAloneAt.level)
      } catch {
        // Whoever begins a transaction then meets the same, and says what it is.
        return false
      }
    })
  }

  async run<T>(options: WaitOptions, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    const host = this.#host
    return await this.#taking(options, async () => {
      const { dialect } = host
      return await work(new LoneRunner(await host.adapter(), { dialect, driverPool: host.driverPool(), options }))
    })
  }

  async #taking<T>(options: WaitOptions, work: () => Promise<T>): Promise<T> {
    let place: { giveBack(): void }
    try {
      place = await this.#host.take(options)
    } catch (error) {
      throw translateError(this.#host.dialect, error, 'reach the database')
    }
    try {
      return await work()
    } finally {
      place.giveBack()
    }
  }
}

/** What a runner is made from. */
interface LoneRunnerOptions {
  readonly dialect: Dialect
  readonly driverPool: DriverPool | undefined
  readonly options: WaitOptions
}

class LoneRunner implements StatementRunner {
  readonly inTransaction = false
  readonly givesInsertIds = true
  readonly #adapter: SqlDriverAdapter
  readonly #options: LoneRunnerOptions

  constructor(adapter: SqlDriverAdapter, options: LoneRunnerOptions) {
    this.#adapter = adapter
    this.#options = options
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    checkedEffect(this.#options.dialect, query, false)
    return await this.#acquiring(() => this.#adapter.queryRaw(query))
  }

  async execute(query: SqlQuery): Promise<number> {
    checkedEffect(this.#options.dialect, query, false)
    return await this.#acquiring(() => this.#adapter.executeRaw(query))
  }

  #acquiring<T>(send: () => Promise<T>): Promise<T> {
    const { driverPool, options } = this.#options
    return driverPool === undefined ? send() : driverPool.acquiring(tellingOf(options), send)
  }
}

/** Tells which connection of the driver's pool it is. */
function tellingOf({ acquired }: WaitOptions): (connection: Abandonable) => void {
  return acquired ?? ignore
}

function ignore(): void {}
