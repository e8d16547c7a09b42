/**
 * The driver adapter that a PrismaClient is given: every statement of every client on the datastore comes through it,
 * and those sent inside one of our transactions join it.
 */
import { EscapeError, TransactionClosedError } from '../errors.js'
import { currentRunner, seemsInsideOperation } from '../transaction/calls.js'
import { heldBy } from '../transaction/connection.js'
import type { AsyncContext } from '../transaction/context.js'
import { callSite, type OutsideWrites } from '../transaction/escapes.js'
import type { Session } from '../transaction/session.js'
import { openAround, type Transactions } from '../transaction/transactions.js'
import { withBulkUpdate } from './bulk-update.js'
import type { Connections, DriverConnection, StatementRunner } from './connections.js'
import type { Dialect } from './dialect.js'
import {
  isolationLevels,
  isWrite,
  type SqlConnectionInfo,
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQuery,
  type SqlResultSet,
} from './driver.js'
import { connectionTarget, DriverTransaction, partTarget } from './driver-transaction.js'
import type { OpenGuest } from './guest.js'

/** What the adapter needs of its datastore. */
export interface AdapterHost {
  readonly dialect: Dialect
  readonly connections: Connections
  readonly transactions: Transactions<DriverConnection>
  /** Set while the library itself opens a Prisma transaction as a guest. */
  readonly guestOpening: AsyncContext<OpenGuest>
  /** Is told of writes outside of our transactions. */
  readonly outside: OutsideWrites
  readonly deadlineMs: number
  readonly maxWaitMs: number
}

/** Made once for a datastore; each PrismaClient that connects gets a view of the same connections. */
export class JoiningAdapterFactory implements SqlDriverAdapterFactory {
  readonly provider: SqlDriverAdapterFactory['provider']
  readonly adapterName: string
  readonly #host: AdapterHost
  #connected = 0

  constructor(inner: SqlDriverAdapterFactory, host: AdapterHost) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#host = host
  }

  async connect(): Promise<SqlDriverAdapter> {
    const inner = await this.#host.connections.adapter()
    this.#connected += 1
    return new JoiningAdapter(this, inner, this.#host, () => this.#disconnected())
  }

  async #disconnected(): Promise<void> {
    this.#connected -= 1
    // Clients and recorders connect again when they are used after the last client has gone.
    if (this.#connected === 0) await this.#host.connections.disconnect()
  }
}

class JoiningAdapter implements SqlDriverAdapter {
  readonly provider: SqlDriverAdapter['provider']
  readonly adapterName: string
  readonly getConnectionInfo?: () => SqlConnectionInfo
  readonly #host: AdapterHost
  readonly #disposed: () => Promise<void>

  constructor(names: JoiningAdapterFactory, inner: SqlDriverAdapter, host: AdapterHost, disposed: () => Promise<void>) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#host = host
    this.#disposed = disposed
    if (inner.getConnectionInfo !== undefined) this.getConnectionInfo = inner.getConnectionInfo.bind(inner)
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    // Nobody else gives operations runners.
    const runner = currentRunner() as StatementRunner | undefined
    return runner === undefined ? this.#query(query) : runner.query(query)
  }

  async #query(query: SqlQuery): Promise<SqlResultSet> {
    this.#watch(query.sql)
    return await this.#host.connections.query(query)
  }

  async executeRaw(query: SqlQuery): Promise<number> {
    this.#watch(query.sql)
    return await this.#host.connections.execute(query)
  }

  async executeScript(script: string): Promise<void> {
    this.#watch(script)
    await this.#host.connections.script(script)
  }

  async startTransaction(isolationLevel?: SqlIsolationLevel): Promise<SqlDriverTransaction> {
    const { guestOpening, transactions, connections, dialect, deadlineMs, maxWaitMs } = this.#host
    const openGuest = guestOpening.get()
    const opened = openGuest === undefined ? undefined : await openGuest(this, isolationLevel)
    if (opened !== undefined) return withBulkUpdate(opened, dialect.overwriting)
    const around = transactions.current
    if (around !== undefined) return new DriverTransaction(this, partTarget(await around.nested()))
    const connection = await connections.begin({
      isolationLevel: isolationLevel === undefined ? undefined : isolationLevels[isolationLevel],
      readOnly: false,
      deadlineMs,
      heldAround: heldBy(transactions.around()),
      heldByAny: heldBy(openAround()),
      maxWaitMs,
      signal: () => new AbortController().signal,
    })
    const options = { patienceMs: deadlineMs, check: (sql: string) => this.#checkOutside(sql) }
    return new DriverTransaction(this, connectionTarget(connection, options))
  }

  async dispose(): Promise<void> {
    await this.#disposed()
  }

  #watch(sql: string): void {
    const { transactions, dialect } = this.#host
    const around = transactions.current
    if (around === undefined) return this.#checkOutside(sql)
    if (around.session.life.ended instanceof TransactionClosedError) return
    // Prisma 7 sends the `findUnique` calls of one tick together, those outside of any transaction too, in the context of
    // the first: that of an operation of ours says nothing about a statement that does not come through its guest.
    if (seemsInsideOperation()) return
    reportEscape(around.session, sql, dialect.singleWriter && around.session.begun)
  }

  #checkOutside(sql: string): void {
    const { outside } = this.#host
    if (outside.areWatched && isWrite(sql)) outside.check(sql)
  }
}

/**
 * Reports a statement of a client that does not join the transaction around it.
 *
 * @param wouldWait - true when the statement waits for that transaction to end, and that one for the statement
 * @throws `EscapeError` where escapes are refused, and for a statement that would wait
 */
function reportEscape(session: Session<DriverConnection>, sql: string, wouldWait: boolean): void {
  const { options } = session
  const { title } = session.life
  const caller = callSite()
  const shown = `${sql.length > 120 ? `${sql.slice(0, 117)}...` : sql}${caller === undefined ? '' : ` (${caller})`}`
  const message =
    `A statement was sent by a PrismaClient that does not join ${title}, which is open around it, so it would neither see ` +
    `its work nor be undone with it: ${shown} — use datastore.client (or tx.client) instead of the client that you made.`
  options.telemetry.escaped(session, message)
  if (wouldWait) {
    throw new EscapeError(`${message} It would also wait for that transaction for ever: this database has one writer.`)
  }
  options.escapes.report(message)
}
