/**
 * What Prisma is given for a transaction of its own: in truth a part of ours, or a connection that we have begun.
 *
 * `usePhantomQuery` tells Prisma to send no COMMIT or ROLLBACK: `commit` and `rollback` do what is to be done.
 */
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import type { SqlDriverTransaction, SqlQuery, SqlQueryable, SqlResultSet } from './driver.js'

type Names = Pick<SqlQueryable, 'provider' | 'adapterName'>

/**
 * A guest: its operations have their place in a scope already, so their statements just run there; the end is ours alone.
 *
 * It is shared by the scopes that are nested in its own. Which one a statement belongs to is not a matter of the async
 * context: Prisma 7 collects what is asked for in one tick, also by other transactions, and sends it in the context of the
 * first. But only the innermost scope that is open can have sent it.
 */
export class GuestTransaction implements SqlDriverTransaction {
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
    return this.#scope.innermost.runInTurn((connection) => connection.query(query), true)
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#scope.innermost.runInTurn((connection) => connection.execute(query), true)
  }

  async commit(): Promise<void> {}

  async rollback(): Promise<void> {}

  createSavepoint(name: string): Promise<void> {
    return this.#scope.innermost.marks.set(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#scope.innermost.marks.returnTo(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#scope.innermost.marks.remove(name)
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
    return this.#scope.marks.set(name)
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#scope.marks.returnTo(name)
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#scope.marks.remove(name)
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
