/**
 * What Prisma is given for a transaction of its own: in truth a part of ours, or a connection that we have begun.
 *
 * `usePhantomQuery` tells Prisma to send no COMMIT or ROLLBACK: `commit` and `rollback` do what is to be done.
 */
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import type { DriverConnection } from './connections.js'
import type { SqlDriverTransaction, SqlQuery, SqlQueryable, SqlResultSet } from './driver.js'

type Names = Pick<SqlQueryable, 'provider' | 'adapterName'>

/** A guest: its operations have their place in the scope already, so their statements just run there; the end is ours alone. */
export class GuestTransaction implements SqlDriverTransaction {
  readonly provider: SqlQueryable['provider']
  readonly adapterName: string
  readonly options: { usePhantomQuery: boolean } = { usePhantomQuery: true }
  readonly #scope: Scope<DriverConnection>
  readonly #transactions: Transactions<DriverConnection>

  constructor(names: Names, scope: Scope<DriverConnection>, transactions: Transactions<DriverConnection>) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#scope = scope
    this.#transactions = transactions
  }

  /** The innermost scope around the call: the guest is shared by the scopes that are nested in its own. */
  get #current(): Scope<DriverConnection> {
    const current = this.#transactions.current
    return current?.session === this.#scope.session ? current : this.#scope
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return this.#current.runInTurn((connection) => connection.query(query))
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#current.runInTurn((connection) => connection.execute(query))
  }

  async commit(): Promise<void> {}

  async rollback(): Promise<void> {}

  createSavepoint(name: string): Promise<void> {
    return this.#current.mark(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#current.returnToMark(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#current.removeMark(name)
  }
}

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
    return this.#scope.mark(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#scope.returnToMark(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#scope.removeMark(name)
  }
}

/** A transaction that Prisma begins outside of ours: its own, on a connection that keeps others out. */
export class ConnectionTransaction implements SqlDriverTransaction {
  readonly provider: SqlQueryable['provider']
  readonly adapterName: string
  readonly options: { usePhantomQuery: boolean } = { usePhantomQuery: true }
  readonly #connection: DriverConnection

  constructor(names: Names, connection: DriverConnection) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#connection = connection
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return this.#connection.query(query)
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#connection.execute(query)
  }

  commit(): Promise<void> {
    return this.#connection.commit()
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
