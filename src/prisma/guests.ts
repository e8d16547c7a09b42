/** The guests of a datastore: those in transactions, and those that wait for the next one. */
import { AsyncContext, captureFlow, outsideOfEverything } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { Guest } from '../transaction/session.js'
import type { DriverConnection } from './connections.js'
import { type OpenGuest, PrismaGuest } from './guest.js'

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

  /** What Prisma knows its transaction by. */
  get transaction(): Promise<object> {
    return this.#guest.transaction
  }

  /** Whether an operation of it has failed. */
  hasFailed = false

  /** An operation of it has failed, or may go on for longer than it is awaited: it serves no other transaction. */
  spoil(): void {
    this.#guest.spoil()
  }

  /** An operation starts here: its statements are sent as from here, whatever Prisma sends them with. */
  operation(): void {
    this.#guest.comeFrom(captureFlow())
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
  readonly #waiting = new Map<object, PrismaGuest[]>()

  /** @param original - the PrismaClient whose guest it is to be: those that are extended from it have the same */
  enter(original: object, scope: Scope<DriverConnection>): GuestVisit {
    const waiting = this.#waitingOf(original)
    for (let guest = waiting.pop(); guest !== undefined; guest = waiting.pop()) {
      if (guest.canServeAgain) {
        guest.serve(scope)
        return new GuestVisit(guest, waiting)
      }
      void guest.end(true)
    }
    // What may stay outlives the request that opens it.
    const guest = outsideOfEverything(() => new PrismaGuest(original, scope, this.opening))
    return new GuestVisit(guest, waiting)
  }

  /** Ends those that wait. */
  async close(): Promise<void> {
    const all = [...this.#waiting.values()].flat()
    this.#waiting.clear()
    for (const guest of all) await guest.end(true)
  }

  #waitingOf(original: object): PrismaGuest[] {
    const waiting = this.#waiting.get(original) ?? []
    this.#waiting.set(original, waiting)
    return waiting
  }
}
