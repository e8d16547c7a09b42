/**
 * What Prisma is given for a transaction that somebody begins by himself: in truth a part of ours, or a connection that we have
 * begun.
 *
 * `usePhantomQuery` tells Prisma to send no COMMIT or ROLLBACK: `commit` and `rollback` do what is to be done.
 */
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import type { SqlDriverTransaction, SqlQuery, SqlQueryable, SqlResultSet } from './driver.js'
import type { Names } from './guest-transaction.js'

/** A transaction that Prisma begins inside one of ours, as the array form of `$transaction` does: a savepoint. */
export class SavepointTransaction implements SqlDriverTransaction {
  readonly provider: SqlQueryable['provider']
  readonly adapterName: string
  readonly options: { usePhantomQuery: boolean } = { usePhantomQuery: true }
  readonly #scope: Scope<DriverConnection>

  constructor(names: Names, scope: Scope<DriverConnection>) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#scope = scope
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return this.#scope.execute((connection) => connection.query(query))
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#scope.execute((connection) => connection.execute(query))
  }

  commit(): Promise<void> {
    return this.#scope.commit()
  }

  rollback(): Promise<void> {
    return this.#scope.rollback()
  }

  createSavepoint(name: string): Promise<void> {
    return this.#scope.marks.set(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#scope.marks.returnTo(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#scope.marks.remove(name)
  }
}

/** How a transaction of Prisma's own is watched. */
export interface ConnectionTransactionOptions {
  /** How long to wait for the answer of COMMIT, in milliseconds. */
  readonly patienceMs: number
  /** Is told of each statement, and may refuse it. */
  readonly check: (sql: string) => void
}

/** A transaction that Prisma begins outside of ours: its own, on a connection that keeps others out. */
export class ConnectionTransaction implements SqlDriverTransaction {
  readonly provider: SqlQueryable['provider']
  readonly adapterName: string
  readonly options: { usePhantomQuery: boolean } = { usePhantomQuery: true }
  readonly #connection: DriverConnection
  readonly #patienceMs: number
  readonly #check: (sql: string) => void

  constructor(names: Names, connection: DriverConnection, { patienceMs, check }: ConnectionTransactionOptions) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#connection = connection
    this.#patienceMs = patienceMs
    this.#check = check
  }

  async queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    this.#check(query.sql)
    return await this.#connection.query(query)
  }

  async executeRaw(query: SqlQuery): Promise<number> {
    this.#check(query.sql)
    return await this.#connection.execute(query)
  }

  commit(): Promise<void> {
    return this.#connection.commit(this.#patienceMs)
  }

  rollback(): Promise<void> {
    return this.#connection.rollback()
  }

  createSavepoint(name: string): Promise<void> {
    return this.#connection.savepoint(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#connection.rollbackTo(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#connection.release(name)
  }
}
