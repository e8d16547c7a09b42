/** Prisma interactive transactions that live inside of ours, one after the other, for the user's models and raw queries. */
import { AsyncContext, Flow, outsideOfEverything } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { Guest as SessionGuest } from '../transaction/session.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import {
  prismaTransaction,
  prismaTransactionOf,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQuery,
  strangerError,
} from './driver.js'
import {
  DriverTransaction,
  innermostOf,
  type Names,
  type Savepoints,
  sendOfGuest,
  type TransactionTarget,
} from './driver-transaction.js'

/** The largest delay of a Node timer: Prisma's own limits must never be the ones that end a transaction. */
const longestDelayMs = 2_147_483_647
/** Prisma ends a transaction that is open for longer than its limit, wherever it is: none gets near. */
const longestServiceMs = 3_600_000

/** Ends Prisma's transaction; nobody sees it. */
const rolledBack = new Error('rolled back')

/**
 * What the adapter gives Prisma in place of a transaction while a guest is opened; undefined once it has been opened. On Deno 2.9.6 an operation
 * of a later request, outside of any transaction, was seen in that context: it begins one of its own.
 */
export type OpenGuest = (
  names: Names,
  isolationLevel?: SqlIsolationLevel,
) => SqlDriverTransaction | Promise<SqlDriverTransaction> | undefined

/** Where a guest comes from, and goes to. */
interface GuestHome {
  /** Tells the adapter that it is a guest who begins. */
  readonly opening: AsyncContext<OpenGuest>
  /** Prisma has opened it on the datastore's adapter. */
  served(): void
  /** Takes it back from a transaction that commits. @returns false where it has to end */
  takeBack(guest: Guest): boolean
}

/** Serves one transaction after the other: opening and ending one costs Prisma more than a statement. Its end is ours alone. */
export class Guest implements SessionGuest, TransactionTarget {
  /** What Prisma knows its transaction by. */
  readonly transaction: Promise<object>
  readonly savepoints: Savepoints
  readonly #home: GuestHome
  readonly #done: Promise<unknown>
  readonly #openedAt = performance.now()
  #scope: Scope<DriverConnection> | undefined
  #flow: Flow | undefined
  #inFlight = 0
  #hasFailed = false
  #isSpoilt = false
  #isOpened = false
  /** Whether Prisma knows it no more. */
  #isEnded = false
  #finish: (commit: boolean) => void = ignore

  /** @param base - a PrismaClient on the datastore's adapter */
  constructor(base: object, home: GuestHome) {
    this.#home = home
    this.savepoints = {
      set: async (name) => await innermostOf(this.#scope).savepoints.set(name),
      returnTo: async (name) => await innermostOf(this.#scope).savepoints.returnTo(name),
      remove: async (name) => await innermostOf(this.#scope).savepoints.remove(name),
    }
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = (commit) => (commit ? resolve() : reject(rolledBack))
    })
    // It may be rejected before Prisma gets to awaiting it.
    finished.catch(ignore)
    const open: OpenGuest = (names) => {
      if (this.#isOpened) return undefined
      this.#isOpened = true
      return new DriverTransaction(names, this)
    }
    let done: Promise<unknown> | undefined
    this.transaction = new Promise((resolve, reject) => {
      // Prisma writes into the options, so each call gets its own.
      const options = { maxWait: longestDelayMs, timeout: longestDelayMs }
      const work = async (client: object): Promise<void> => {
        // Its transaction is one on an adapter of its own.
        if (!this.#isOpened) throw strangerError()
        home.served()
        resolve(prismaTransactionOf(client))
        await finished
      }
      // What extensions have made of `$transaction` is for those who call it.
      done = home.opening.run(
        open,
        (): Promise<unknown> => Reflect.apply(prismaTransaction(base), base, [work, options]),
      )
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
    const isYoung = performance.now() - this.#openedAt < longestServiceMs
    return this.#isOpened && !this.#isEnded && !this.#isSpoilt && this.#inFlight === 0 && isYoung
  }

  /** Whether an operation of the transaction that it serves has failed. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  /** An operation has failed: Prisma may go on with it. */
  fail(): void {
    this.#hasFailed = true
    this.#isSpoilt = true
  }

  /** It may be used for longer than its operations are awaited: it serves no other transaction. */
  spoil(): void {
    this.#isSpoilt = true
  }

  /** @param scope - the transaction to which its statements go from now on, undefined for none: they are refused */
  serve(scope: Scope<DriverConnection> | undefined): void {
    this.#scope = scope
    this.#flow = undefined
  }

  /** An operation starts here: its statements are sent in this async context, also in what tracers keep there, wherever Prisma sends them. */
  operation(): void {
    this.#flow = new Flow('eventsourcing-prisma.operation')
  }

  async run<T>(query: SqlQuery, send: (connection: StatementRunner) => Promise<T>): Promise<T> {
    this.#inFlight += 1
    try {
      return await sendOfGuest(this.#scope, query, send, this.#flow)
    } catch (error) {
      this.#isSpoilt = true
      throw error
    } finally {
      this.#inFlight -= 1
    }
  }

  /** Prisma's transaction ends, which says nothing about ours. */
  async end(): Promise<void> {
    this.#isEnded = true
  }

  async leave(commit: boolean): Promise<void> {
    if (commit && this.#home.takeBack(this)) return
    // Prisma would connect again to end what it has ended.
    if (this.#isEnded) return
    this.#finish(commit)
    try {
      await this.#done
    } catch (error) {
      if (error !== rolledBack && commit) throw error
    } finally {
      // Prisma keeps the last hundred transactions that have ended: nothing of a request is to be kept with them.
      this.serve(undefined)
    }
  }
}

function ignore(): void {}

/** After a burst of transactions the others leave: each takes some twenty kilobytes. */
const mostWaiting = 32

/** Takes guests from transaction to transaction: opening and ending one costs Prisma more than several statements. */
export class Guests {
  /** Set while a guest is opened, for the adapter. */
  readonly opening: AsyncContext<OpenGuest> = new AsyncContext<OpenGuest>()
  readonly #waiting = new Map<object, Guest[]>()
  readonly #served = new WeakSet<object>()

  /** @param original - the PrismaClient whose guest it is to be: those that are extended from it have the same */
  enter(original: object, scope: Scope<DriverConnection>): Guest {
    const waiting = this.#waiting.get(original) ?? []
    this.#waiting.set(original, waiting)
    for (let guest = waiting.pop(); guest !== undefined; guest = waiting.pop()) {
      if (guest.canServeAgain) {
        guest.serve(scope)
        return guest
      }
      guest.spoil()
      void guest.leave(true)
    }
    const served = (): void => void this.#served.add(original)
    const home = { opening: this.opening, served, takeBack: (guest: Guest) => takeBack(guest, waiting) }
    // What may stay outlives the request that opens it.
    const guest = outsideOfEverything(() => new Guest(original, home))
    guest.serve(scope)
    return guest
  }

  /** Whether a PrismaClient has had a guest, and so is on the datastore's adapter. */
  haveServed(original: object): boolean {
    return this.#served.has(original)
  }

  /** Ends those that wait. */
  async close(): Promise<void> {
    const all = [...this.#waiting.values()].flat()
    this.#waiting.clear()
    for (const guest of all) {
      guest.spoil()
      await guest.leave(true)
    }
  }
}

function takeBack(guest: Guest, waiting: Guest[]): boolean {
  if (waiting.length >= mostWaiting || !guest.canServeAgain) return false
  guest.serve(undefined)
  waiting.push(guest)
  return true
}
