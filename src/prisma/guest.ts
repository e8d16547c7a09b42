/** A Prisma interactive transaction that lives inside of ours, for the user's models and raw queries. */
import type { AsyncContext, CapturedContext } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import type { SqlDriverTransaction, SqlIsolationLevel } from './driver.js'
import { GuestTransaction, type Names } from './guest-transaction.js'
import { prismaTransaction, prismaTransactionOf } from './prisma-client.js'

/** The largest delay of a Node timer: Prisma's own limits must never be the ones that end a transaction. */
const longestDelayMs = 2_147_483_647
/** Prisma ends a transaction that is open for longer than its limit, wherever it is: none gets near. */
const longestServiceMs = 3_600_000

/** Ends Prisma's transaction; nobody sees it. */
const rolledBack = new Error('rolled back')

/** What the adapter gives Prisma in place of a transaction while a guest is opened. */
export type OpenGuest = (
  names: Names,
  isolationLevel?: SqlIsolationLevel,
) => SqlDriverTransaction | Promise<SqlDriverTransaction>

/** Serves one transaction after the other: opening and ending one costs Prisma more than a statement. */
export class PrismaGuest {
  /** What Prisma knows its transaction by. */
  readonly transaction: Promise<object>
  readonly #done: Promise<unknown>
  readonly #openedAt = performance.now()
  #scope: Scope<DriverConnection> | undefined
  #driver: GuestTransaction | undefined
  #flow: CapturedContext | undefined
  #isSpoilt = false
  #finish: (commit: boolean) => void = ignore

  /**
   * @param base - a PrismaClient on the datastore's adapter
   * @param scope - whom it serves first
   * @param opening - tells the adapter that it is a guest who begins
   */
  constructor(base: object, scope: Scope<DriverConnection>, opening: AsyncContext<OpenGuest>) {
    this.#scope = scope
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = (commit) => (commit ? resolve() : reject(rolledBack))
    })
    // It may be rejected before Prisma gets to awaiting it.
    finished.catch(ignore)
    // The scope is not to be kept by this function, which Prisma keeps.
    const open: OpenGuest = (names) => {
      this.#driver = new GuestTransaction(names, this.#scope)
      this.#driver.comeFrom(this.#flow)
      return this.#driver
    }
    let done: Promise<unknown> | undefined
    this.transaction = new Promise((resolve, reject) => {
      // Prisma writes into the options, so each call gets its own.
      const options = { maxWait: longestDelayMs, timeout: longestDelayMs }
      const work = async (client: object): Promise<void> => {
        resolve(prismaTransactionOf(client))
        await finished
      }
      // What extensions have made of `$transaction` is for those who call it.
      done = opening.run(open, (): Promise<unknown> => Reflect.apply(prismaTransaction(base), base, [work, options]))
      done.catch(reject)
    })
    this.transaction.catch(ignore)
    this.#done = done ?? Promise.resolve()
    this.#done.catch(ignore)
  }

  /**
   * Whether it can serve another transaction: nothing that it was asked for in the one before can still be sent. The function
   * of a query extension may go on after the operation that it is in, and after a failure so may Prisma.
   */
  get canServeAgain(): boolean {
    const { isAtRest, isEnded } = this.#driver ?? { isAtRest: false, isEnded: true }
    const isYoung = performance.now() - this.#openedAt < longestServiceMs
    return !this.#isSpoilt && isAtRest && !isEnded && isYoung
  }

  /** An operation of it has failed, or may go on for longer than it is awaited. */
  spoil(): void {
    this.#isSpoilt = true
  }

  /** @param scope - whom it serves from now on, undefined for nobody: its statements are refused */
  serve(scope: Scope<DriverConnection> | undefined): void {
    this.#scope = scope
    if (scope === undefined) this.#flow = undefined
    this.#driver?.serve(scope)
  }

  /** @param flow - where the operation was started whose statements come next */
  comeFrom(flow: CapturedContext): void {
    this.#flow = flow
    this.#driver?.comeFrom(flow)
  }

  /** @param commit - whether the transaction that it serves is about to commit */
  async end(commit: boolean): Promise<void> {
    // Prisma would connect again to end what it has ended.
    if (this.#driver?.isEnded === true) return
    this.#finish(commit)
    try {
      await this.#done
    } catch (error) {
      if (error !== rolledBack && commit) throw error
    }
  }
}

function ignore(): void {}
