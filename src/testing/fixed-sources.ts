/** A clock and ids that are the same in each run of a test. */
import { setIdSource } from '../domain/names.js'
import { createTimestamp, setClock, Timestamp } from '../domain/timestamp.js'

/** Something that was put in the place of what is used otherwise. */
export interface Replacement extends Disposable {
  /** Puts back what was there before; harmless when that was done. The end of a `using` block does it, too. */
  restore(): void
}

/** A clock that a test sets. */
export interface FixedClock extends Replacement {
  /** The time that the next event gets. */
  readonly now: Timestamp
  /** Moves it on. */
  advance(milliseconds: number): void
}

/** How a fixed clock goes. */
export interface FixedClockOptions {
  /** Milliseconds that it moves on by with each event; default 1. With 0, events have equal times. */
  readonly stepMs?: number
}

const microsecondsPerMillisecond = 1000

let current: FixedClock | undefined

/**
 * Replaces the clock of this library in this process: events get times from `start` on. `Date.now()` stays what it is.
 *
 * @param start - default 2026-01-01 00:00 UTC
 * @throws `ProgrammingError` when it is replaced already
 * @throws `RangeError` for a time that is none
 *
 * @example
 * using clock = fixedClock('2026-05-01T10:00:00Z')
 */
export function fixedClock(
  start: Date | string = '2026-01-01T00:00:00Z',
  { stepMs = 1 }: FixedClockOptions = {},
): FixedClock {
  let next = microsecondsOf(typeof start === 'string' ? Timestamp.fromISO(start) : Timestamp.from(start))
  const step = inMicroseconds(stepMs)
  const putBack = setClock(() => {
    const now = next
    next += step
    return now
  })
  const restore = (): void => {
    putBack()
    if (current === clock) current = undefined
  }
  const clock: FixedClock = {
    get now() {
      return Timestamp.fromMicroseconds(next)
    },
    advance(milliseconds) {
      next += inMicroseconds(milliseconds)
    },
    restore,
    [Symbol.dispose]: restore,
  }
  current = clock
  return clock
}

/** A time that is not after the one that the next event gets; a fixed clock is not moved on by it. */
export function nextTime(): Timestamp {
  return current?.now ?? createTimestamp()
}

/** Microseconds since 1970 in UTC. */
export function microsecondsOf(time: Timestamp): number {
  return Math.round(time.valueOf() * microsecondsPerMillisecond)
}

function inMicroseconds(milliseconds: number): number {
  if (Number.isFinite(milliseconds)) return Math.round(milliseconds * microsecondsPerMillisecond)
  throw new RangeError(`Cannot move a clock by ${milliseconds} milliseconds`)
}

/**
 * Replaces the random ids of new aggregates in this process: they are 00000000-0000-4000-8000-000000000001, …2, and so on.
 *
 * @throws `ProgrammingError` when they are replaced already
 */
export function fixedIds(): Replacement {
  let count = 0
  const restore = setIdSource(() => {
    count += 1
    return `00000000-0000-4000-8000-${count.toString(16).padStart(12, '0')}`
  })
  return { restore, [Symbol.dispose]: restore }
}
