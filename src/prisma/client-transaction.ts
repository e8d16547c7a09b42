/**
 * A `$transaction` of the user's client: Prisma begins it, and decides when it ends, as everywhere; in the database it is one of our
 * transactions, or a part of one.
 */
import { isEventSourcingError, TransactionTimeoutError } from '../errors.js'
import { closedError } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { SqlQuery } from './driver.js'
import { type Savepoints, sendOfGuest, type TransactionTarget } from './driver-transaction.js'

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
