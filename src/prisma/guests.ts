/** The guests of a datastore: those in transactions, and those that wait for the next one. */
import { AsyncContext, outsideOfEverything } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { Guest } from '../transaction/session.js'
import type { DriverConnection } from './connections.js'
import { type OpenGuest, PrismaGuest } from './guest.js'
import { isExtended, type PrismaClientLike } from './prisma-client.js'

/** A guest in one transaction. */
export class GuestVisit implements Guest {
  readonly #guest: PrismaGuest
  readonly #waiting: PrismaGuest[] | undefined

  /** @param waiting - where the guest goes afterwards, undefined when it leaves */
  constructor(guest: PrismaGuest, waiting: PrismaGuest[] | undefined) {
    this.#guest = guest
    this.#waiting = waiting
  }

  get client(): Promise<object> {
    return this.#guest.client
  }

  async end(commit: boolean): Promise<void> {
    if (!commit || this.#waiting === undefined || !this.#guest.canServeAgain) return await this.#guest.end(commit)
    this.#guest.serve(undefined)
    this.#waiting.push(this.#guest)
  }
}

/**
 * Takes guests from transaction to transaction.
 *
 * Only those of clients without extensions: the functions of a query extension may go on after the operation that they
 * are in, and what they send then must not come to another transaction. Without them Prisma has nothing more to send once all
 * operations have ended well.
 */
export class Guests {
  /** Set while a guest is opened, for the adapter. */
  readonly opening: AsyncContext<OpenGuest> = new AsyncContext<OpenGuest>()
  readonly #waiting = new Map<PrismaClientLike, PrismaGuest[]>()

  /** @param base - the PrismaClient whose guest it is to be */
  enter(base: PrismaClientLike, scope: Scope<DriverConnection>): GuestVisit {
    if (isExtended(base)) return new GuestVisit(new PrismaGuest(base, scope, this.opening), undefined)
    const waiting = this.#waitingOf(base)
    for (let guest = waiting.pop(); guest !== undefined; guest = waiting.pop()) {
      if (guest.canServeAgain) {
        guest.serve(scope)
        return new GuestVisit(guest, waiting)
      }
      void guest.end(false)
    }
    // It outlives the request that opens it.
    const guest = outsideOfEverything(() => new PrismaGuest(base, scope, this.opening))
    return new GuestVisit(guest, waiting)
  }

  /** Ends those that wait. */
  async close(): Promise<void> {
    const all = [...this.#waiting.values()].flat()
    this.#waiting.clear()
    for (const guest of all) await guest.end(false)
  }

  #waitingOf(base: PrismaClientLike): PrismaGuest[] {
    const known = this.#waiting.get(base)
    if (known !== undefined) return known
    const waiting: PrismaGuest[] = []
    this.#waiting.set(base, waiting)
    return waiting
  }
}
