/** The pool of a driver, as far as its public members let others look into it, and the statements that are sent on it without a transaction. */
import type { Abandonable, LoneStatements, WaitOptions } from '../transaction/connection.js'
import { outsideOfEverything } from '../transaction/context.js'
import { settlesWithin } from '../transaction/locks.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { Dialect } from './dialect.js'
import { type SqlDriverAdapter, type SqlQuery, type SqlResultSet, statement } from './driver.js'
import { checkedEffect } from './transaction-guard.js'
import { translateError } from './translate-error.js'

interface Client {
  query(query: { readonly text: string; readonly rowMode: 'array' }): Promise<{ readonly rows: unknown[][] }>
  release(): void
}

type Listener = (connection: Abandonable) => void

/** What both drivers' connections have some of. */
interface DriverClient {
  query(sql: string): Promise<unknown>
  end?(): unknown
  destroy?(): void
}

/** Statements for each new connection. */
interface NewConnectionOptions {
  /** A connection on which one of them fails is not used. */
  readonly guards: readonly string[]
  /** Those that not every server knows. */
  readonly courtesies: readonly string[]
  /** How long all of them may take. */
  readonly patienceMs: number
}

/**
 * Looks into the pool of node-postgres or of the MariaDB connector. The adapters call for a connection before they wait for
 * anything: so it is known for whom the pool is asked.
 */
export class DriverPool {
  readonly #pool: Record<string, unknown>
  readonly #busy = new Set<DriverClient>()
  #listener: Listener | undefined

  /** @returns undefined for what is no pool of these */
  static of(pool: unknown): DriverPool | undefined {
    if (!isRecord(pool)) return undefined
    const known = pools.get(pool) ?? new DriverPool(pool)
    pools.set(pool, known)
    return known
  }

  private constructor(pool: Record<string, unknown>) {
    this.#pool = pool
    for (const method of ['connect', 'getConnection']) this.#listenTo(method)
    // The other driver ends what is busy by itself.
    if ('options' in pool && typeof pool['on'] === 'function') {
      pool['on']('acquire', (connection: DriverClient) => void this.#busy.add(connection))
      pool['on']('release', (_error: unknown, connection: DriverClient) => void this.#busy.delete(connection))
    }
  }

  /** Runs what asks for a connection before it waits for anything, and tells which it gets. */
  acquiring<T>(listener: Listener, ask: () => Promise<T>): Promise<T> {
    this.#listener = listener
    try {
      return ask()
    } finally {
      this.#listener = undefined
    }
  }

  /** Asks one of its connections for a text, where the pool is of node-postgres. */
  async ask(sql: string, listener: Listener): Promise<string | undefined> {
    const { connect } = this.#pool
    if (typeof connect !== 'function') return undefined
    // The members are those of `Pool` and `PoolClient` of node-postgres.
    const ask = async (): Promise<Client> => (await Reflect.apply(connect, this.#pool, [])) as Client
    const client = await this.acquiring(listener, ask)
    try {
      const { rows } = await client.query({ text: sql, rowMode: 'array' })
      const value = rows[0]?.[0]
      return typeof value === 'string' ? value : undefined
    } finally {
      client.release()
    }
  }

  /** Ends the connections that are in use. */
  abandonBusy(): void {
    for (const connection of this.#busy) abandon(connection)
  }

  /** Sends statements on each new connection: by the hook that one driver's pool awaits, or at the event of the other's. */
  prepareNew({ guards, courtesies, patienceMs }: NewConnectionOptions): void {
    const prepare = async (connection: DriverClient): Promise<void> => {
      for (const sql of guards) await connection.query(sql)
      for (const sql of courtesies) await connection.query(sql).catch(ignore)
    }
    const { options, on } = this.#pool
    if (isRecord(options)) {
      const { onConnect } = options
      options['onConnect'] = async (connection: DriverClient) => {
        const prepared = prepare(connection)
        if (!(await settlesWithin(prepared, patienceMs))) abandon(connection)
        await prepared
        if (typeof onConnect === 'function') await onConnect(connection)
      }
      // Without a limit, a connection that is never made has its place in the pool for ever.
      options['connectionTimeoutMillis'] ||= patienceMs
    } else if (typeof on === 'function') {
      // Queued before the first statement of whoever gets the connection; without the guard it works as it would without us.
      on.call(this.#pool, 'connection', (connection: DriverClient) => void prepare(connection).catch(ignore))
    }
  }

  #listenTo(method: string): void {
    const original = this.#pool[method]
    if (typeof original !== 'function') return
    this.#pool[method] = (...args: unknown[]): unknown => {
      const listener = this.#listener
      this.#listener = undefined
      const [callback] = args
      // As `query` of the pool does for a statement by itself.
      if (listener !== undefined && typeof callback === 'function') {
        return Reflect.apply(original, this.#pool, [
          (error: unknown, connection: DriverClient | undefined, ...others: unknown[]) => {
            if (connection !== undefined) listener({ abandon: () => abandon(connection) })
            Reflect.apply(callback, undefined, [error, connection, ...others])
          },
        ])
      }
      const acquiring: unknown = Reflect.apply(original, this.#pool, args)
      if (listener === undefined || !(acquiring instanceof Promise)) return acquiring
      return acquiring.then((connection: DriverClient) => {
        listener({ abandon: () => abandon(connection) })
        return connection
      })
    }
  }
}

/**
 * How many connections the pool of a driver can have.
 *
 * @param pool - of node-postgres, whose options are there to read, or of the MariaDB connector, which tells it as text only
 */
export function poolSizeOf(pool: unknown): number | undefined {
  if (!isRecord(pool)) return undefined
  const { options } = pool
  if (isRecord(options) && 'max' in options) return typeof options['max'] === 'number' ? options['max'] : undefined
  const told = pool as { toString(): string } // every object has one
  const limit = /\blimit=(\d+)/.exec(told.toString())?.[1]
  return limit === undefined ? undefined : Number(limit)
}

/** A pool may serve several datastores. */
const pools = new WeakMap<object, DriverPool>()

/**
 * Both destroy the socket of a connection on which something is under way; the MariaDB connector kills that on the server, too. It
 * connects at once for that, and for its pool: what stays belongs to no request.
 */
function abandon(connection: DriverClient): void {
  outsideOfEverything(() => {
    if (connection.destroy !== undefined) connection.destroy()
    else void Promise.resolve(connection.end?.()).catch(ignore)
  })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function ignore(): void {}

/** What they need of the connections. */
interface PooledStatementsHost {
  readonly dialect: Dialect
  /** Undefined where the adapter's pool is not known, and before the first use. */
  driverPool(): DriverPool | undefined
  /** Waits until the pool has a connection left. */
  take(options: WaitOptions): Taken | Promise<Taken>
}

/** A place in the pool, and the adapter that goes to it. */
interface Taken {
  readonly adapter: SqlDriverAdapter
  readonly pool: { giveBack(): void }
}

/** Those of one pool. */
export class PooledStatements implements LoneStatements<DriverConnection> {
  readonly #host: PooledStatementsHost
  #readAsInTransaction: boolean | undefined
  /** The isolation level by default, undefined where no connection has told. */
  #level: string | undefined

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
        this.#level = await this.#host.driverPool()?.ask(readsAloneAt.query, tellingOf(options))
        // A pool that is not known tells nothing.
        return (this.#readAsInTransaction = this.#level === readsAloneAt.level)
      } catch {
        // Whoever begins a transaction then meets the same, and says what it is.
        return false
      }
    })
  }

  async seeCommitted(runner: StatementRunner): Promise<boolean> {
    const { readsAloneAt } = this.#host.dialect
    if (readsAloneAt === undefined) return false
    this.#level ??= String((await runner.query(statement(readsAloneAt.query))).rows[0]?.[0])
    return this.#level === readsAloneAt.level
  }

  run<T>(options: WaitOptions, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    const host = this.#host
    const { dialect } = host
    return this.#taking(options, (adapter) =>
      work(new LoneRunner(adapter, { dialect, driverPool: host.driverPool(), options })),
    )
  }

  async #taking<T>(options: WaitOptions, work: (adapter: SqlDriverAdapter) => Promise<T>): Promise<T> {
    let taken: Taken
    try {
      const taking = this.#host.take(options)
      taken = taking instanceof Promise ? await taking : taking
    } catch (error) {
      throw translateError(this.#host.dialect, error, 'reach the database')
    }
    try {
      return await work(taken.adapter)
    } finally {
      taken.pool.giveBack()
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

  query(query: SqlQuery): Promise<SqlResultSet> {
    return this.#acquiring(query, () => this.#adapter.queryRaw(query))
  }

  execute(query: SqlQuery): Promise<number> {
    return this.#acquiring(query, () => this.#adapter.executeRaw(query))
  }

  /** Who runs statements awaits them where an error at once is a rejection. */
  #acquiring<T>(query: SqlQuery, send: () => Promise<T>): Promise<T> {
    const { dialect, driverPool, options } = this.#options
    checkedEffect(dialect, query, false)
    return driverPool === undefined ? send() : driverPool.acquiring(tellingOf(options), send)
  }
}

/** Tells which connection of the driver's pool it is. */
function tellingOf({ acquired }: WaitOptions): (connection: Abandonable) => void {
  return acquired ?? ignore
}
