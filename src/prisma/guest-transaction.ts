/** What Prisma is given for the transaction of a guest: its statements go to the scope that it serves, whose end is ours alone. */
import { closedError } from '../transaction/closed.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import type { SqlDriverTransaction, SqlQuery, SqlQueryable, SqlResultSet } from './driver.js'

/** What a transaction says of its adapter. */
export type Names = Pick<SqlQueryable, 'provider' | 'adapterName'>

/**
 * It is shared by the scopes that are nested in the one that it serves. Which one a statement belongs to is not a matter of the
 * async context: Prisma 7 collects what is asked for in one tick, also by other transactions, and sends it in the context of the
 * first. But only the innermost scope that is open can have sent it.
 */
export class GuestTransaction implements SqlDriverTransaction {
  readonly provider: SqlQueryable['provider']
  readonly adapterName: string
  readonly options: { usePhantomQuery: boolean } = { usePhantomQuery: true }
  #scope: Scope<DriverConnection> | undefined
  #inFlight = 0
  #isSpoilt = false

  constructor(names: Names, scope: Scope<DriverConnection>) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#scope = scope
  }

  /**
   * Whether no statement of it can follow that was asked for before now: all have been answered well. When one has failed, those
   * that Prisma sends beside it still may.
   */
  get isUnspoilt(): boolean {
    return !this.#isSpoilt && this.#inFlight === 0
  }

  /** @param scope - to whom its statements go from now on, undefined for nobody: they are refused */
  serve(scope: Scope<DriverConnection> | undefined): void {
    this.#scope = scope
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return this.#run((connection) => connection.query(query))
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#run((connection) => connection.execute(query))
  }

  /** Prisma has ended it: it knows it no more. */
  async commit(): Promise<void> {
    this.#isSpoilt = true
  }

  /** As `commit`. */
  async rollback(): Promise<void> {
    this.#isSpoilt = true
  }

  createSavepoint(name: string): Promise<void> {
    return this.#mark((scope) => scope.marks.set(name))
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#mark((scope) => scope.marks.returnTo(name))
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#mark((scope) => scope.marks.remove(name))
  }

  async #run<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T> {
    this.#inFlight += 1
    try {
      return await this.#innermost.runInTurn(work, true)
    } catch (error) {
      this.#isSpoilt = true
      throw error
    } finally {
      this.#inFlight -= 1
    }
  }

  /** Prisma counts savepoints. */
  async #mark(work: (scope: Scope<DriverConnection>) => Promise<void>): Promise<void> {
    this.#isSpoilt = true
    await work(this.#innermost)
  }

  get #innermost(): Scope<DriverConnection> {
    if (this.#scope === undefined) throw closedError('A statement was sent', 'the transaction')
    return this.#scope.innermost
  }
}
