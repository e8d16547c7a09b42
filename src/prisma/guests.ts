/** The guests of a datastore: those in transactions, and those that wait for the next one. */
import { AsyncContext, outsideOfEverything } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { Guest } from '../transaction/session.js'
import type { DriverConnection } from './connections.js'
import { type OpenGuest, PrismaGuest } from './guest.js'
import { isUnextended, type PrismaClientLike } from './prisma-client.js'

/** After a burst of transactions the others leave: each takes some twenty kilobytes. */
const mostWaiting = 32

/** A guest in one transaction. */
export class GuestVisit implements Guest {
  readonly #guest: PrismaGuest
  readonly #waiting: PrismaGuest[]

  /** @param waiting - where the guest goes afterwards */
  constructor(guest: PrismaGuest, waiting: PrismaGuest[]) {
    this.#guest = guest
    this.#waiting = waiting
  }

  get client(): Promise<object> {
    return this.#guest.client
  }

  /** An operation of it has failed: it serves no other transaction. */
  spoil(): void {
    this.#guest.spoil()
  }

  async end(commit: boolean): Promise<void> {
    const stays = commit && this.#waiting.length < mostWaiting && this.#guest.canServeAgain
    if (!stays) return await this.#guest.end(commit)
    this.#guest.serve(undefined)
    this.#waiting.push(this.#guest)
  }
}

/** Takes guests from transaction to transaction: opening and ending one costs Prisma more than several statements. */
export class Guests {
  /** Set while a guest is opened, for the adapter. */
  readonly opening: AsyncContext<OpenGuest> = new AsyncContext<OpenGuest>()
  readonly #waiting = new Map<PrismaClientLike, PrismaGuest[]>()

  /** @param base - the PrismaClient whose guest it is to be */
  enter(base: PrismaClientLike, scope: Scope<DriverConnection>): GuestVisit {
    const waiting = this.#waitingOf(base)
    for (let guest = waiting.pop(); guest !== undefined; guest = waiting.pop()) {
      if (guest.canServeAgain) {
        guest.serve(scope)
        return new GuestVisit(guest, waiting)
      }
      void guest.end(true)
    }
    const open = (): PrismaGuest => new PrismaGuest(base, scope, this.opening)
    // What may stay outlives the request that opens it.
    return new GuestVisit(isUnextended(base) ? outsideOfEverything(open) : open(), waiting)
  }

  /** Ends those that wait. */
  async close(): Promise<void> {
    const all = [...this.#waiting.values()].flat()
    this.#waiting.clear()
    for (const guest of all) await guest.end(true)
  }

  #waitingOf(base: PrismaClientLike): PrismaGuest[] {
    const known = this.#waiting.get(base)
    if (known !== undefined) return known
    const waiting: PrismaGuest[] = []
    // Clients that are extended anew for each request would be kept.
    if (isUnextended(base)) this.#waiting.set(base, waiting)
    return waiting
  }
}
