/** Driver adapters of which every statement is seen, and on which one, the n-th, meets a fault. */
import { setTimeout as delay } from 'node:timers/promises'
import { ProgrammingError } from '../errors.js'
import type { FaultDialect } from '../prisma/dialect.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import {
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQuery,
  type SqlQueryable,
  statement,
} from '../prisma/driver.js'
import { translateError } from '../prisma/translate-error.js'

/**
 * What goes wrong at a statement:
 *
 * - `failed`: the driver fails before the statement is sent.
 * - `disconnected`: the connection is lost before the statement is sent. Not on SQLite.
 * - `unanswered`: the statement is carried out, and the connection is lost before the answer. Not on SQLite.
 * - `conflict`: the database refuses the statement, since another transaction was first: a serialisation failure on
 *   PostgreSQL, a deadlock on MariaDB and MySQL, a locked file on SQLite. It may pass.
 * - `delayed`: the statement is sent after `delayMs`, which should be more than the deadline of the transaction.
 *
 * Inside of a transaction the connection is lost in earnest: the server is asked to end it. Where it refuses, and outside of
 * transactions, the driver's error is all that there is of it.
 */
export type FaultKind = 'failed' | 'disconnected' | 'unanswered' | 'conflict' | 'delayed'

/** One statement that is about to be sent. */
interface Outgoing<T> {
  readonly sql: string
  /** The adapter, or its transaction, that it is sent on. */
  readonly connection: SqlQueryable
  /** Whether it is one of a transaction that the adapter has begun. */
  readonly inTransaction: boolean
  /** What its server calls the connection; undefined outside of transactions, and where nobody has asked. */
  readonly connectionId: unknown
  send(): Promise<T>
}

/** What a fault needs beside its statement. */
interface FaultSettings {
  readonly kind: FaultKind
  readonly delayMs: number
  readonly dialect: FaultDialect
  /** Sends a statement on another connection. */
  elsewhere(query: SqlQuery): Promise<void>
}

/** The time that a driver takes to hear that its connection has ended. */
const hearingMs = 20

/** Whether the statement ends a transaction well. */
export function isCommit(sql: string): boolean {
  return /^\s*(COMMIT|END)\b/i.test(sql)
}

/** Sends the statement with a fault. */
async function sendWithFault<T>(outgoing: Outgoing<T>, settings: FaultSettings): Promise<T> {
  const { connection, sql } = outgoing
  switch (settings.kind) {
    case 'failed':
      throw new Error('The driver has failed before it sent the statement: a fault of the test.')
    case 'disconnected':
      if (await endConnection(outgoing, settings)) await outgoing.send()
      throw connectionLost()
    case 'unanswered':
      await outgoing.send()
      await endConnection(outgoing, settings)
      throw connectionLost()
    case 'conflict':
      return await settings.dialect.giveWay(connection, isCommit(sql))
    case 'delayed':
      await delay(settings.delayMs)
      return await outgoing.send()
  }
}

/** Ends it from outside. @returns false where that cannot be done */
async function endConnection({ connectionId }: Outgoing<unknown>, settings: FaultSettings): Promise<boolean> {
  const { server } = settings.dialect
  if (server === undefined || connectionId === undefined) return false
  try {
    await settings.elsewhere(server.endQuery(connectionId))
  } catch {
    return false // not everybody may
  }
  await delay(hearingMs)
  return true
}

/** In the words of a driver: that is how a lost connection is recognised. */
function connectionLost(): Error {
  return new Error('Connection terminated unexpectedly (a fault of the test)')
}

/** What every statement goes through. */
interface Gate {
  pass<T>(outgoing: Outgoing<T>): Promise<T>
  /** What the server calls the connection of a transaction that has begun; undefined where that is of no use. */
  connectionIdOf(transaction: SqlQueryable): Promise<unknown>
  /** A transaction has begun. @param owner - what it goes by until its end */
  opened(owner: object): void
  ended(owner: object): void
  disposed(adapter: SqlDriverAdapter): void
}

/** Lets all that is sent on an adapter pass through the gate. */
function watchedAdapter(inner: SqlDriverAdapter, gate: Gate): SqlDriverAdapter {
  const { singleWriter } = dialectOf(inner.provider)
  const pass = async <T>(sql: string, send: () => Promise<T>): Promise<T> => {
    const outgoing = { sql, connection: inner, connectionId: undefined, inTransaction: false, send }
    const result = await gate.pass(outgoing)
    // Where there is one writer an adapter is one connection, and some begin their transactions by a statement.
    if (singleWriter) followTransaction(sql, inner, gate)
    return result
  }
  return {
    provider: inner.provider,
    adapterName: inner.adapterName,
    queryRaw: (query) => pass(query.sql, () => inner.queryRaw(query)),
    executeRaw: (query) => pass(query.sql, () => inner.executeRaw(query)),
    executeScript: (script) => pass(script, () => inner.executeScript(script)),
    startTransaction: (isolationLevel) => startTransaction(inner, gate, isolationLevel),
    ...(inner.getConnectionInfo === undefined ? {} : { getConnectionInfo: inner.getConnectionInfo.bind(inner) }),
    ...(inner.underlyingDriver === undefined ? {} : { underlyingDriver: inner.underlyingDriver.bind(inner) }),
    async dispose() {
      gate.disposed(inner)
      gate.ended(inner)
      await inner.dispose()
    },
  }
}

function followTransaction(sql: string, inner: SqlDriverAdapter, gate: Gate): void {
  if (/^\s*BEGIN\b/i.test(sql)) gate.opened(inner)
  else if (isCommit(sql) || /^\s*ROLLBACK\b(?!\s+TO\b)/i.test(sql)) gate.ended(inner)
}

async function startTransaction(
  inner: SqlDriverAdapter,
  gate: Gate,
  isolationLevel: SqlIsolationLevel | undefined,
): Promise<SqlDriverTransaction> {
  const begin = async (): Promise<Begun> => {
    const transaction = await inner.startTransaction(isolationLevel)
    begun = { transaction, connectionId: await gate.connectionIdOf(transaction) }
    return begun
  }
  const outgoing = {
    sql: 'BEGIN',
    connection: inner,
    inTransaction: true,
    get connectionId() {
      return begun?.connectionId
    },
    send: begin,
  }
  let begun: Begun | undefined
  try {
    const { transaction, connectionId } = await gate.pass(outgoing)
    gate.opened(transaction)
    return watchedTransaction(transaction, gate, connectionId)
  } catch (error) {
    if (begun !== undefined) await abandon(begun.transaction)
    throw error
  }
}

interface Begun {
  readonly transaction: SqlDriverTransaction
  readonly connectionId: unknown
}

/** Gives back the connection of a transaction that nobody has heard of. */
async function abandon(transaction: SqlDriverTransaction): Promise<void> {
  if (!transaction.options.usePhantomQuery) await transaction.executeRaw(statement('ROLLBACK')).catch(ignore)
  await transaction.rollback().catch(ignore)
}

function watchedTransaction(inner: SqlDriverTransaction, gate: Gate, connectionId: unknown): SqlDriverTransaction {
  const pass = <T>(sql: string, send: () => Promise<T>): Promise<T> =>
    gate.pass({ sql, connection: inner, connectionId, inTransaction: true, send })
  const end = async (sql: string, send: () => Promise<void>): Promise<void> => {
    let isSent = false
    const sendOnce = async (): Promise<void> => {
      isSent = true
      await send()
    }
    try {
      // Where these only give the connection back, nothing is sent that could go wrong.
      await (inner.options.usePhantomQuery ? pass(sql, sendOnce) : sendOnce())
    } finally {
      // Such an adapter gives its connection back also when the statement fails: one that was not sent does so here.
      if (!isSent) await inner.rollback().catch(ignore)
      gate.ended(inner)
    }
  }
  return {
    provider: inner.provider,
    adapterName: inner.adapterName,
    options: inner.options,
    queryRaw: (query) => pass(query.sql, () => inner.queryRaw(query)),
    executeRaw: (query) => pass(query.sql, () => inner.executeRaw(query)),
    commit: () => end('COMMIT', () => inner.commit()),
    rollback: () => end('ROLLBACK', () => inner.rollback()),
    ...watchedSavepoints(inner, pass),
  }
}

/** What an adapter has of them: the caller sends the statements itself where a member is missing. */
function watchedSavepoints(
  inner: SqlDriverTransaction,
  pass: (sql: string, send: () => Promise<void>) => Promise<void>,
): Pick<SqlDriverTransaction, 'createSavepoint' | 'rollbackToSavepoint' | 'releaseSavepoint'> {
  const create = inner.createSavepoint?.bind(inner)
  const rollbackTo = inner.rollbackToSavepoint?.bind(inner)
  const release = inner.releaseSavepoint?.bind(inner)
  return {
    ...(create && { createSavepoint: (name) => pass(`SAVEPOINT ${name}`, () => create(name)) }),
    ...(rollbackTo && { rollbackToSavepoint: (name) => pass(`ROLLBACK TO ${name}`, () => rollbackTo(name)) }),
    ...(release && { releaseSavepoint: (name) => pass(`RELEASE SAVEPOINT ${name}`, () => release(name)) }),
  }
}

function ignore(): void {}

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
