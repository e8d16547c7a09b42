/** A driver adapter on which one statement, the n-th, goes wrong. */
import { setTimeout as delay } from 'node:timers/promises'
import { ProgrammingError } from '../errors.js'
import type { FaultDialect } from '../prisma/dialect.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import type { SqlDriverAdapter, SqlDriverAdapterFactory, SqlQuery, SqlQueryable } from '../prisma/driver.js'
import { translateError } from '../prisma/translate-error.js'
import { type FaultKind, type Outgoing, sendWithFault } from './fault.js'
import { type Gate, watchedAdapter } from './watched-adapter.js'

/** How a fault happens. */
export interface FaultOptions {
  /** Milliseconds by which a statement is `delayed`; default 1,000. */
  readonly delayMs?: number
}

/** A statement that has met its fault. */
export interface StruckStatement {
  /** The statement. */
  readonly sql: string
  /** Whether it was one of a transaction. */
  readonly inTransaction: boolean
}

interface Plan {
  readonly at: number
  readonly kind: FaultKind | undefined
  readonly delayMs: number
}

const pollMs = 2

/**
 * Wraps a Prisma driver adapter for tests. Give it to your datastore, or to a PrismaClient, in place of the adapter: it passes
 * everything on, and lets one statement fail when it is told to.
 *
 * @example
 * const faults = faultyAdapter(new PrismaPg({ connectionString }))
 * const datastore = new PrismaDatastore({ adapter: faults, client: (adapter) => new PrismaClient({ adapter }) })
 */
export function faultyAdapter(adapter: SqlDriverAdapterFactory): FaultyAdapter {
  return new FaultyAdapter(adapter)
}

/** A driver adapter that fails when it is told to. Made by `faultyAdapter`. */
export class FaultyAdapter implements SqlDriverAdapterFactory {
  /** As the adapter below says. */
  readonly provider: SqlDriverAdapterFactory['provider']
  /** As the adapter below says. */
  readonly adapterName: string
  readonly #inner: SqlDriverAdapterFactory
  readonly #dialect: FaultDialect
  readonly #gate: Gate
  readonly #adapters = new Set<SqlDriverAdapter>()
  readonly #open = new Set<object>()
  #inFlight = 0
  #plan: Plan | undefined
  #statements: string[] = []
  #struck: StruckStatement | undefined

  /** @param inner - the adapter that is passed on to */
  constructor(inner: SqlDriverAdapterFactory) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#inner = inner
    this.#dialect = dialectOf(inner.provider).faults
    this.#gate = {
      pass: (outgoing) => this.#pass(outgoing),
      connectionIdOf: (transaction) => this.#connectionIdOf(transaction),
      opened: (owner) => void this.#open.add(owner),
      ended: (owner) => void this.#open.delete(owner),
      disposed: (adapter) => void this.#adapters.delete(adapter),
    }
  }

  /** Connects the adapter below. */
  async connect(): Promise<SqlDriverAdapter> {
    const adapter = await this.#inner.connect()
    this.#adapters.add(adapter)
    return watchedAdapter(adapter, this.#gate)
  }

  /** The faults that this database knows, without `delayed`. */
  get kinds(): readonly FaultKind[] {
    return this.#dialect.server === undefined
      ? ['failed', 'conflict']
      : ['failed', 'disconnected', 'unanswered', 'conflict']
  }

  /** The statements that were sent since `record` or `failAt`, BEGIN and COMMIT among them; the first is number 1. */
  get statements(): readonly string[] {
    return this.#statements
  }

  /** The statement that the fault has happened to; undefined when it has not. */
  get struck(): StruckStatement | undefined {
    return this.#struck
  }

  /** How many transactions have begun and not ended. */
  get openTransactions(): number {
    return this.#open.size
  }

  /** Counts statements from 1 on; nothing fails. */
  record(): void {
    this.#arm({ at: 0, kind: undefined, delayMs: 0 })
  }

  /**
   * Counts statements from 1 on, and lets one of them fail.
   *
   * @param statementNumber - from 1
   * @throws `ProgrammingError` for a fault that this database does not know
   */
  failAt(statementNumber: number, kind: FaultKind, { delayMs = 1_000 }: FaultOptions = {}): void {
    if (kind !== 'delayed' && !this.kinds.includes(kind)) {
      throw new ProgrammingError(
        `Could not let a statement be ${kind}: ${this.adapterName} has no server, so no connection is lost. There are ${this.kinds.join(', ')} and delayed.`,
      )
    }
    this.#arm({ at: statementNumber, kind, delayMs })
  }

  /** Neither counts nor lets anything fail any more. */
  stop(): void {
    this.#plan = undefined
  }

  /**
   * Waits until no statement is under way and no transaction is open.
   *
   * @param timeoutMs - for how long
   * @returns false when the time has passed
   */
  async settled(timeoutMs: number): Promise<boolean> {
    const end = performance.now() + timeoutMs
    while (this.#inFlight > 0 || this.#open.size > 0) {
      if (performance.now() > end) return false
      await delay(pollMs)
    }
    return true
  }

  /**
   * Reads a table outside of every transaction; meets no fault and is not counted.
   *
   * @param table - its name in the database, with its schema and a dot in front where it needs one
   * @returns in no order; columns as the driver gives them
   * @throws `ProgrammingError` when nothing has connected yet; an error of the database as it is elsewhere, for a table that it
   *   does not have
   */
  async rows(table: string): Promise<readonly unknown[]> {
    const query = this.#dialect.rowsQuery(table)
    const read = async (): Promise<readonly unknown[]> => (await this.#idleAdapter().queryRaw(query)).rows
    try {
      // A pool may have one more connection that has ended.
      return await read().catch(read)
    } catch (error) {
      throw translateError(dialectOf(this.provider), error, `read the table ${table}`)
    }
  }

  #arm(plan: Plan): void {
    this.#plan = plan
    this.#statements = []
    this.#struck = undefined
  }

  /** On SQLite an adapter is one connection, on which a transaction may be left open. */
  #idleAdapter(): SqlDriverAdapter {
    const adapters = [...this.#adapters]
    const adapter = adapters.findLast((candidate) => !this.#open.has(candidate)) ?? adapters.at(-1)
    if (adapter !== undefined) return adapter
    throw new ProgrammingError(
      'Could not read a table: nothing has connected through the faulty adapter. Give it to your datastore as its `adapter`.',
    )
  }

  async #pass<T>(outgoing: Outgoing<T>): Promise<T> {
    this.#inFlight += 1
    try {
      return await this.#send(outgoing)
    } finally {
      this.#inFlight -= 1
    }
  }

  async #send<T>(outgoing: Outgoing<T>): Promise<T> {
    const plan = this.#plan
    if (plan === undefined) return await outgoing.send()
    const { sql, connection, inTransaction } = outgoing
    this.#statements.push(sql)
    if (plan.kind === undefined || this.#statements.length !== plan.at) return await outgoing.send()
    this.#struck = { sql, inTransaction: inTransaction || this.#open.has(connection) }
    const elsewhere = async (query: SqlQuery): Promise<void> => void (await this.#idleAdapter().queryRaw(query))
    return await sendWithFault(outgoing, { kind: plan.kind, delayMs: plan.delayMs, dialect: this.#dialect, elsewhere })
  }

  async #connectionIdOf(transaction: SqlQueryable): Promise<unknown> {
    const kind = this.#plan?.kind
    const { server } = this.#dialect
    if (server === undefined || (kind !== 'disconnected' && kind !== 'unanswered')) return undefined
    return (await transaction.queryRaw(server.idQuery)).rows[0]?.[0]
  }
}
