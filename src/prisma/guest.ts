/** A Prisma interactive transaction that lives inside of ours, for the user's models and raw queries. */
import type { AsyncContext } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import { GuestTransaction, type Names } from './guest-transaction.js'
import { hasOriginalTransactions, isUnextended, type PrismaClientLike } from './prisma-client.js'

/** The largest delay of a Node timer: Prisma's own limits must never be the ones that end a transaction. */
const longestDelayMs = 2_147_483_647
/** Prisma ends a transaction that is open for longer than its limit, wherever it is: none gets near. */
const longestServiceMs = 3_600_000

/** Ends Prisma's transaction; nobody sees it. */
const rolledBack = new Error('rolled back')

/** What the adapter gives Prisma in place of a transaction while a guest is opened. */
export type OpenGuest = (names: Names) => GuestTransaction

/** Serves one transaction after the other: opening and ending one costs Prisma more than a statement. */
export class PrismaGuest {
  /** The client that Prisma passes to the callback of `$transaction`. */
  readonly client: Promise<object>
  readonly #done: Promise<unknown>
  readonly #openedAt = performance.now()
  #scope: Scope<DriverConnection> | undefined
  #transaction: GuestTransaction | undefined
  /** Whether Prisma alone decides what is sent by it, and until when. */
  #isPlain = false
  #isSpoilt = false
  #finish: (commit: boolean) => void = ignore

  /**
   * @param base - a PrismaClient on the datastore's adapter
   * @param scope - whom it serves first
   * @param opening - tells the adapter that it is a guest who begins
   */
  constructor(base: PrismaClientLike, scope: Scope<DriverConnection>, opening: AsyncContext<OpenGuest>) {
    this.#scope = scope
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = (commit) => (commit ? resolve() : reject(rolledBack))
    })
    // It may be rejected before Prisma gets to awaiting it.
    finished.catch(ignore)
    // The scope is not to be kept by this function, which Prisma keeps.
    const open: OpenGuest = (names) => (this.#transaction = new GuestTransaction(names, this.#scope))
    let done: Promise<unknown> | undefined
    this.client = new Promise((resolve, reject) => {
      // Prisma writes into the options, so each call gets its own.
      const options = { maxWait: longestDelayMs, timeout: longestDelayMs }
      const work = async (client: object): Promise<void> => {
        this.#isPlain = isUnextended(client) && hasOriginalTransactions(base)
        resolve(client)
        await finished
      }
      done = opening.run(open, () => base.$transaction(work, options))
      done.catch(reject)
    })
    this.client.catch(ignore)
    this.#done = done ?? Promise.resolve()
    this.#done.catch(ignore)
  }

  /**
   * Whether it can serve another transaction: nothing that it was asked for in the one before can still be sent. The function
   * of a query extension may go on after the operation that it is in, and after a failure so may Prisma.
   */
  get canServeAgain(): boolean {
    const { isAtRest, isEnded } = this.#transaction ?? { isAtRest: false, isEnded: true }
    const isYoung = performance.now() - this.#openedAt < longestServiceMs
    return this.#isPlain && !this.#isSpoilt && isAtRest && !isEnded && isYoung
  }

  /** An operation of it has failed. */
  spoil(): void {
    this.#isSpoilt = true
  }

  /** @param scope - whom it serves from now on, undefined for nobody: its statements are refused */
  serve(scope: Scope<DriverConnection> | undefined): void {
    this.#scope = scope
    this.#transaction?.serve(scope)
  }

  /** @param commit - whether the transaction that it serves is about to commit */
  async end(commit: boolean): Promise<void> {
    // Prisma would connect again to end what it has ended.
    if (this.#transaction?.isEnded === true) return
    this.#finish(commit)
    try {
      await this.#done
    } catch (error) {
      if (error !== rolledBack && commit) throw error
    }
  }
}

function ignore(): void {}
