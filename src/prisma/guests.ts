/** The guests of a datastore that wait for the next transaction. */
import { AsyncContext, outsideOfEverything } from '../transaction/context.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import { Guest, type OpenGuest } from './guest.js'

/** After a burst of transactions the others leave: each takes some twenty kilobytes. */
const mostWaiting = 32

/** Takes guests from transaction to transaction: opening and ending one costs Prisma more than several statements. */
export class Guests {
  /** Set while a guest is opened, for the adapter. */
  readonly opening: AsyncContext<OpenGuest> = new AsyncContext<OpenGuest>()
  readonly #waiting = new Map<object, Guest[]>()

  /** @param original - the PrismaClient whose guest it is to be: those that are extended from it have the same */
  enter(original: object, scope: Scope<DriverConnection>): Guest {
    const waiting = this.#waitingOf(original)
    for (let guest = waiting.pop(); guest !== undefined; guest = waiting.pop()) {
      if (guest.canServeAgain) {
        guest.serve(scope)
        return guest
      }
      guest.spoil()
      void guest.leave(true)
    }
    const home = { opening: this.opening, takeBack: (guest: Guest) => takeBack(guest, waiting) }
    // What may stay outlives the request that opens it.
    const guest = outsideOfEverything(() => new Guest(original, home))
    guest.serve(scope)
    return guest
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

  #waitingOf(original: object): Guest[] {
    const waiting = this.#waiting.get(original) ?? []
    this.#waiting.set(original, waiting)
    return waiting
  }
}

function takeBack(guest: Guest, waiting: Guest[]): boolean {
  if (waiting.length >= mostWaiting || !guest.canServeAgain) return false
  guest.serve(undefined)
  waiting.push(guest)
  return true
}
