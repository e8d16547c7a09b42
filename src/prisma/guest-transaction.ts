/** What Prisma is given for the transaction of a guest: its statements go to the scope that it serves, whose end is ours alone. */
import { closedError } from '../transaction/closed.js'
import type { CapturedContext } from '../transaction/context.js'
import { noteWrite } from '../transaction/operations.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import { isRead, type SqlDriverTransaction, type SqlQuery, type SqlQueryable, type SqlResultSet } from './driver.js'

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
  #flow: CapturedContext | undefined
  #inFlight = 0
  #hasFailed = false
  #isEnded = false

  constructor(names: Names, scope: Scope<DriverConnection> | undefined) {
    this.provider = names.provider
    this.adapterName = names.adapterName
    this.#scope = scope
  }

  /** Whether every statement of it has been answered well. */
  get isAtRest(): boolean {
    return !this.#hasFailed && this.#inFlight === 0
  }

  /** Whether Prisma knows it no more. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  /** @param scope - to whom its statements go from now on, undefined for nobody: they are refused */
  serve(scope: Scope<DriverConnection> | undefined): void {
    this.#scope = scope
    if (scope === undefined) this.#flow = undefined
  }

  /** @param flow - where the operation was started whose statements come now: tracers look for its span */
  comeFrom(flow: CapturedContext | undefined): void {
    this.#flow = flow
  }

  queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return this.#run(query, (connection) => connection.query(query), isRead(query.sql))
  }

  executeRaw(query: SqlQuery): Promise<number> {
    return this.#run(query, (connection) => connection.execute(query), false)
  }

  async commit(): Promise<void> {
    this.#isEnded = true
  }

  async rollback(): Promise<void> {
    this.#isEnded = true
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

  async #run<T>({ sql }: SqlQuery, work: (connection: StatementRunner) => Promise<T>, reads: boolean): Promise<T> {
    this.#inFlight += 1
    try {
      const send = (): Promise<T> => {
        const scope = this.#innermost
        // What users send by $queryRaw may lock, set something, or call what writes.
        const isModelRead = reads && scope.operations.areReading
        return isModelRead ? scope.readInTurn(work, true) : scope.runInTurn(work, true)
      }
      const result = await (this.#flow === undefined ? send() : this.#flow.run(send))
      // Which operation it is shows where Prisma sends it: the other may be that of an operation beside.
      if (!isRead(sql)) noteWrite()
      return result
    } catch (error) {
      this.#hasFailed = true
      throw error
    } finally {
      this.#inFlight -= 1
    }
  }

  async #mark(work: (scope: Scope<DriverConnection>) => Promise<void>): Promise<void> {
    await work(this.#innermost)
  }

  get #innermost(): Scope<DriverConnection> {
    if (this.#scope === undefined) throw closedError('A statement was sent', 'the transaction')
    return this.#scope.innermost
  }
}
