/** What Prisma is given for a transaction: in truth a part of ours, or a connection that the library has begun. */

import { noteWrite } from '../transaction/calls.js'
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
export interface ConnectionTargetOptions {
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
 * @param inFlow - runs what sends it in the async context in which tracers look for its span
 */
export async function sendOfGuest<T>(
  scope: Scope<DriverConnection> | undefined,
  { sql }: SqlQuery,
  send: (connection: StatementRunner) => Promise<T>,
  inFlow?: { run<R>(fn: () => R): R },
): Promise<T> {
  const innermost = innermostOf(scope)
  const reads = isRead(sql)
  // What users send by $queryRaw may lock, set something, or call what writes.
  const isModelRead = reads && innermost.operations.areReading
  const run = (): Promise<T> => innermost.runInTurn(send, isModelRead ? send : undefined, true)
  const result = await (inFlow === undefined ? run() : inFlow.run(run))
  // Which operation it is shows where Prisma sends it: the flow may be that of an operation beside.
  if (!reads) noteWrite()
  return result
}
