/** Who may do something now, and how long others wait for it: nothing that hangs may keep them waiting. */

/** Lets one holder in at a time, in the order of asking. */
export class Turn {
  #isHeld = false
  readonly #waiting: Array<() => void> = []

  /** Takes the turn if nobody has it. */
  tryTake(): boolean {
    if (this.#isHeld) return false
    return (this.#isHeld = true)
  }

  /**
   * Waits for the turn. Call `end` afterwards, in a `finally`.
   *
   * @param signal - gives up waiting; the promise then rejects with the signal's reason
   */
  async take(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) throw asError(signal.reason)
    if (this.tryTake()) return
    await new Promise<void>((resolve, reject) => {
      const enter = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        const place = this.#waiting.indexOf(enter)
        if (place >= 0) this.#waiting.splice(place, 1)
        reject(asError(signal?.reason))
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.push(enter)
    })
  }

  /** Gives the turn to the one that has waited longest. Call it once for each turn. */
  end(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#isHeld = false
    else next()
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}

/** Something that is in, as far as the lock knows it. */
interface Occupant {
  /** What it was asked for from, if that is in as well. */
  readonly outer: Occupant | undefined
}

interface Request {
  readonly alone: boolean
  readonly inside: Occupant | undefined
  readonly grant: () => void
}

/** How to ask for a place. */
interface PlaceOptions {
  /** Whether nobody else may be in. */
  readonly alone: boolean
  /** The operation, which is in already, that the asking code runs inside of. */
  readonly inside: Occupant | undefined
  /** Makes the signal that gives up waiting. */
  readonly signal: () => AbortSignal
}

/**
 * Who may work in a scope: its operations side by side, or one nested scope (or flush, or commit) alone.
 *
 * First come, first served. An operation can contain others, as a query extension does: what is asked for from inside an
 * operation goes first and does not wait for that operation, nor for those around it, which could not end before. Nor does it wait
 * for operations that wait themselves to be alone for something inside of them.
 */
export class ScopeLock {
  #operations = 0
  #isTaken = false
  #waiting: Request[] = []

  /** Takes a place if one is free. Call `leave` afterwards. */
  tryEnter(alone: boolean, inside: Occupant | undefined): boolean {
    const hasToWait = inside === undefined && this.#waiting.length > 0
    if (hasToWait || !this.#fits(alone, inside)) return false
    if (alone) this.#isTaken = true
    else this.#operations += 1
    return true
  }

  /** Waits for a place; the promise rejects with the signal's reason. */
  async enter({ alone, inside, signal }: PlaceOptions): Promise<void> {
    if (!this.tryEnter(alone, inside)) await this.#wait(alone, inside, signal())
  }

  /** Gives a place back. To be called once by each who had one. @param alone - as it was asked for */
  leave(alone: boolean): void {
    if (alone) this.#isTaken = false
    else this.#operations -= 1
    if (this.#waiting.length > 0) this.#admit()
  }

  #fits(alone: boolean, inside: Occupant | undefined): boolean {
    if (this.#isTaken) return false
    return !alone || this.#operations === 0 || (inside !== undefined && this.#operations <= this.#waitingWith(inside))
  }

  /** How many operations that are in cannot end before somebody has been in alone. */
  #waitingWith(inside: Occupant): number {
    const stuck = new Set<Occupant>()
    const add = (occupant: Occupant | undefined): void => {
      for (let each = occupant; each !== undefined; each = each.outer) stuck.add(each)
    }
    add(inside)
    for (const request of this.#waiting) if (request.alone) add(request.inside)
    return stuck.size
  }

  async #wait(alone: boolean, inside: Occupant | undefined, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== request)
        reject(asError(signal.reason))
        this.#admit()
      }
      const request: Request = {
        alone,
        inside,
        grant: () => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        },
      }
      if (inside === undefined) this.#waiting.push(request)
      else this.#waiting.unshift(request)
      if (signal.aborted) giveUp()
      else signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  #admit(): void {
    for (
      let first = this.#waiting[0];
      first !== undefined && this.#fits(first.alone, first.inside);
      first = this.#waiting[0]
    ) {
      this.#waiting.shift()
      if (first.alone) this.#isTaken = true
      else this.#operations += 1
      first.grant()
    }
  }
}

// Node's timers fire at once beyond.
const longestMs = 2_147_483_647

/**
 * Whether a promise settles within so many milliseconds, however it does. Never rejects.
 *
 * @param ms - `Infinity` for no limit
 */
export function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    // When something has kept the process busy, the timer comes before the answer that is there already.
    const limit = (): void => void setImmediate(() => resolve(false))
    const timer = ms > longestMs ? undefined : setTimeout(limit, ms)
    const settled = (): void => {
      clearTimeout(timer)
      resolve(true)
    }
    promise.then(settled, settled)
  })
}
