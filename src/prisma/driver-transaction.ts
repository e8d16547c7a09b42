/** What Prisma is given for a transaction: in truth a part of ours, or a connection that the library has begun. */
import { isEventSourcingError, TransactionTimeoutError } from '../errors.js'
import type { Flow } from '../transaction/context.js'
import { closedError } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import { isRead, type SqlDriverTransaction, type SqlQuery, type SqlQueryable, type SqlResultSet } from './driver.js'

/** What a transaction says of its adapter. */
export type Names = Pick<SqlQueryable, 'provider' | 'adapterName'>

/** The savepoints of a transaction. */
export interface Savepoints {
  set(name: string): Promise<void>
  returnTo(name: string): Promise<void>
  remove(name: string): Promise<void>
}

/** Where the statements of a transaction of Prisma's go, and what its end is. */
export interface TransactionTarget {
  /** Sends a statement by `send`, which is given the connection for it. */
  run<T>(query: SqlQuery, send: (connection: StatementRunner) => Promise<T>): Promise<T>
  readonly savepoints: Savepoints
  /** Prisma commits, or rolls back. */
  end(commit: boolean): Promise<void>
}

/** The same for all targets. */
export class DriverTransaction implements SqlDriverTransaction {
  readonly provider: SqlQueryable['provider']
  readonly adapterName: string
  /** `usePhantomQuery` tells Prisma to send no COMMIT or ROLLBACK: `commit` and `rollback` do what is to be done. */
  readonly options: { usePhantomQuery: boolean }
  readonly #target: TransactionTarget

  constructor({ provider, adapterName }: Names, target: TransactionTarget, usePhantomQuery: boolean = true) {
    this.provider = provider
    this.adapterName = adapterName
    this.options = { usePhantomQuery }
    this.#target = target
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return this.#target.run(query, (connection) => connection.query(query))
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#target.run(query, (connection) => connection.execute(query))
  }

  commit(): Promise<void> {
    return this.#target.end(true)
  }

  rollback(): Promise<void> {
    return this.#target.end(false)
  }

  createSavepoint(name: string): Promise<void> {
    return this.#target.savepoints.set(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#target.savepoints.returnTo(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#target.savepoints.remove(name)
  }
}

/** A transaction that Prisma begins inside one of ours, as the array form of `$transaction` does: a part of it. */
export function partTarget(part: Scope<DriverConnection>): TransactionTarget {
  return {
    run: (_query, send) => part.execute(send),
    savepoints: part.savepoints,
    end: (commit) => (commit ? part.commit() : part.rollback()),
  }
}

/** How a transaction of Prisma's own is watched. */
interface ConnectionTargetOptions {
  /** How long to wait for the answer of COMMIT, in milliseconds. */
  readonly patienceMs: number
  /** Is told of each statement, and may refuse it. */
  readonly check: (sql: string) => void
}

/** A transaction that Prisma begins outside of ours: its own, on a connection that keeps others out. */
export function connectionTarget(
  connection: DriverConnection,
  { patienceMs, check }: ConnectionTargetOptions,
): TransactionTarget {
  return {
    async run(query, send) {
      check(query.sql)
      return await send(connection)
    },
    savepoints: {
      set: (name) => connection.savepoint(name),
      returnTo: (name) => connection.rollbackTo(name),
      remove: (name) => connection.release(name),
    },
    end: (commit) => (commit ? connection.commit(patienceMs) : connection.rollback()),
  }
}

/** @throws `TransactionClosedError` where there is none: nobody is served any more */
export function innermostOf(scope: Scope<DriverConnection> | undefined): Scope<DriverConnection> {
  if (scope === undefined) throw closedError('A statement was sent', 'the transaction')
  return scope.innermost
}

/**
 * Sends a statement of a guest. Which scope it belongs to is not a matter of the async context: Prisma 7 collects what is asked
 * for in one tick, also by other transactions, and sends it in the context of the first. But only the innermost scope that is open
 * can have sent it.
 *
 * @param inFlow - the async context to send it in, where tracers look for its span
 */
export async function sendOfGuest<T>(
  scope: Scope<DriverConnection> | undefined,
  { sql }: SqlQuery,
  send: (connection: StatementRunner) => Promise<T>,
  inFlow?: Flow,
): Promise<T> {
  const reads = isRead(sql)
  const innermost = scope?.innermost ?? innermostOf(undefined)
  // What users send by $queryRaw may lock, set something, or call what writes.
  const isModelRead = reads && innermost.operations.areReading
  const run = (): Promise<T> => innermost.runInTurn(send, isModelRead ? send : undefined, true)
  const result = await (inFlow === undefined ? run() : inFlow.runInAsyncScope(run))
  // Which operation it is shows where Prisma sends it: the flow may be that of an operation beside.
  if (!reads) innermost.operations.noteWrite()
  return result
}

/*
 * A `$transaction` of the user's client: Prisma begins it, and decides when it ends, as everywhere; in the database it is one of our
 * transactions, or a part of one.
 */

/** How long it may last, as far as the library knows. */
export interface ClientTransactionLimit {
  /** Milliseconds from its beginning on. */
  readonly timeoutMs: number
  /** Milliseconds that the beginning may take. */
  readonly maxWaitMs: number
}

/** Timers of Node may be that early. */
const timerPrecisionMs = 2

/** One attempt at it: what has an extension that retries begin another one. */
export class ClientTransaction implements TransactionTarget {
  readonly scope: Scope<DriverConnection>
  readonly savepoints: Savepoints
  readonly #limit: ClientTransactionLimit
  readonly #usesPhantomQuery: boolean
  #transaction: Promise<object> | undefined
  readonly #begunAt = performance.now()
  #isSettled = false
  #stopped: Error | undefined

  /** @param usesPhantomQuery - whether the user's adapter has Prisma send no COMMIT and ROLLBACK itself: its log tells them then otherwise */
  constructor(scope: Scope<DriverConnection>, limit: ClientTransactionLimit, usesPhantomQuery: boolean) {
    this.scope = scope
    this.#limit = limit
    this.#usesPhantomQuery = usesPhantomQuery
    this.savepoints = {
      set: async (name) => await scope.innermost.savepoints.set(name),
      returnTo: async (name) => await scope.innermost.savepoints.returnTo(name),
      remove: async (name) => await scope.innermost.savepoints.remove(name),
    }
  }

  /** What Prisma knows it by. */
  get transaction(): Promise<object> {
    if (this.#transaction === undefined) throw closedError('An operation was made', 'the transaction')
    return this.#transaction
  }

  /** Whether an operation of it has failed. */
  hasFailed = false

  /** An operation of it has failed: what that means for its end, Prisma decides. */
  fail(): void {
    this.hasFailed = true
  }

  /** Prisma calls the work. */
  enter(transaction: Promise<object>): void {
    this.#transaction = transaction
  }

  /** Whether the work has come to its end, well or not. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /** Whether its time is over. */
  get isLate(): boolean {
    return performance.now() - this.#begunAt >= this.#limit.timeoutMs - timerPrecisionMs
  }

  /** The work has come to its end. */
  settle(): void {
    this.#isSettled = true
  }

  async run<T>(query: SqlQuery, send: (connection: StatementRunner) => Promise<T>): Promise<T> {
    // Those that users send while their work goes on are refused as everywhere.
    if (!this.#usesPhantomQuery && query.args.length === 0) {
      if (query.sql === 'COMMIT' && this.isSettled) {
        await this.scope.commit()
        return await send(done)
      }
      if (query.sql === 'ROLLBACK' && (this.isSettled || this.isLate)) {
        await this.#rollback()
        return await send(done)
      }
    }
    return await sendOfGuest(this.scope, query, send)
  }

  async end(commit: boolean): Promise<void> {
    if (!commit) await this.#rollback()
    else if (this.#usesPhantomQuery) await this.scope.commit()
  }

  async #rollback(): Promise<void> {
    if (this.#isSettled || this.#transaction === undefined) return await this.scope.rollback()
    // It does that while the work goes on.
    const { scope } = this
    const { telemetry } = scope.session.options
    this.#stopped = new TransactionTimeoutError(
      `The timeout has passed: ${scope.title} was still open after the ${this.#limit.timeoutMs} ms that $transaction gives, or its client was ` +
        'disconnected, and it was rolled back. Do less in it, or give $transaction a greater timeout.',
    )
    if (scope.parent === undefined) {
      telemetry.timedOut()
      scope.session.life.stop(this.#stopped)
    }
    await scope.rollback(this.#stopped)
  }

  /**
   * The error that an operation in it is to reject with: Prisma's where it is about the end of the transaction, unless that is the end
   * of one of ours around it.
   *
   * @param prismas - what Prisma has made of the error, undefined where it does not know of it
   * @param work - asks Prisma for the operation
   */
  async errorOf(error: unknown, prismas: unknown, work: (transaction: object) => unknown): Promise<unknown> {
    const ofScope = this.#stopped === undefined && this.scope.parent !== undefined
    const isEnd = isEventSourcingError(error) && endCodes.has(error.code)
    if (!isEnd || (ofScope && !this.scope.ended)) return tellCause(error, this.#stopped)
    const cause = this.#stopped ?? error
    if (prismas instanceof Error) return Object.assign(prismas, { code: 'P2028', cause })
    // Prisma has not been asked: it says that the transaction is over.
    try {
      await work(await this.transaction)
    } catch (told) {
      return tellCause(told, cause)
    }
    return error
  }

  /** Adds to an error of Prisma's why it was. */
  tell(error: unknown): unknown {
    return tellCause(error, this.#stopped)
  }
}

const endCodes = new Set(['ES_TRANSACTION_TIMEOUT', 'ES_TRANSACTION_CLOSED'])

function tellCause(error: unknown, cause: Error | undefined): unknown {
  const isPrismas = error instanceof Error && 'code' in error && error.code === 'P2028' && error.cause === undefined
  return isPrismas && cause !== undefined ? Object.assign(error, { cause }) : error
}

/** Answers a statement that was carried out by other means. */
const done: StatementRunner = {
  inTransaction: false,
  givesInsertIds: false,
  query: async () => ({ columnNames: [], columnTypes: [], rows: [] }),
  execute: async () => 0,
}
