/** A Prisma interactive transaction that lives inside of ours, for the user's models and raw queries. */
import type { AsyncContext } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import { GuestTransaction, type Names } from './guest-transaction.js'
import type { PrismaClientLike } from './prisma-client.js'

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
  #transaction: GuestTransaction | undefined
  #finish: (commit: boolean) => void = ignore

  /**
   * @param base - a PrismaClient on the datastore's adapter
   * @param scope - whom it serves first
   * @param opening - tells the adapter that it is a guest who begins
   */
  constructor(base: PrismaClientLike, scope: Scope<DriverConnection>, opening: AsyncContext<OpenGuest>) {
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = (commit) => (commit ? resolve() : reject(rolledBack))
    })
    // It may be rejected before Prisma gets to awaiting it.
    finished.catch(ignore)
    const open: OpenGuest = (names) => (this.#transaction = new GuestTransaction(names, scope))
    let done: Promise<unknown> | undefined
    this.client = new Promise((resolve, reject) => {
      // Prisma writes into the options, so each call gets its own.
      const options = { maxWait: longestDelayMs, timeout: longestDelayMs }
      const work = async (client: object): Promise<void> => {
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

  /** Whether nothing of the transaction that it has served is left, and Prisma lets it go on. */
  get canServeAgain(): boolean {
    return this.#transaction?.isUnspoilt === true && performance.now() - this.#openedAt < longestServiceMs
  }

  /** @param scope - whom it serves from now on, undefined for nobody: its statements are refused */
  serve(scope: Scope<DriverConnection> | undefined): void {
    this.#transaction?.serve(scope)
  }

  /** @param commit - whether the transaction that it serves is about to commit */
  async end(commit: boolean): Promise<void> {
    this.#finish(commit)
    try {
      await this.#done
    } catch (error) {
      if (error !== rolledBack && commit) throw error
    }
  }
}

function ignore(): void {}
