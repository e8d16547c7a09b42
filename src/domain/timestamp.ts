/** Points in time with microseconds: a `Date` for users that keeps the exact text it was stored as. */
import { ProgrammingError } from '../errors.js'

const microsecondsPerMillisecond = 1000
/** How far the clock may step back before new timestamps follow it instead of staying in order. */
const largestStepBackMs = 1000
/** As this library writes times, and Python those with a fraction. */
const storedShape = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}\+00:00$/
const zero = '0'.charCodeAt(0)
/** From the 1st of March of the year 0. */
const daysUntil1970 = 719_468
const isoText = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:?\d{2})?$/

let lastWritten = { milliseconds: Number.NaN, text: '' }

let make: (iso: string, milliseconds: number) => Timestamp

/**
 * An immutable `Date` that keeps microseconds and, in `iso`, the text that it was made from.
 *
 * Everything that a `Date` does works to the millisecond (`getTime()`, formatting); comparing with `<` and `>`, `valueOf()`,
 * `iso` and JSON are exact to the microsecond. The methods that change a `Date` throw a `TypeError`.
 */
export class Timestamp extends Date {
  /** The exact text, such as `2026-01-02T03:04:05.678901+00:00`, with the offset that it was given in. */
  readonly iso: string

  /**
   * Not for direct use: call `Timestamp.fromISO`, `Timestamp.from` or `createTimestamp`.
   *
   * @param iso - ISO 8601 text that names the same point in time as `milliseconds`
   * @param milliseconds - since 1970 in UTC, without the microseconds
   */
  private constructor(iso: string, milliseconds: number) {
    super(milliseconds)
    this.iso = iso
    Object.freeze(this)
  }

  /**
   * Reads ISO 8601 text, as stored by this library or by Python's `datetime.isoformat()`.
   *
   * The text is kept as it is. Without an offset it is taken as UTC; digits after the sixth of a second's fraction are kept
   * in `iso` only.
   *
   * @throws `RangeError` when the text is not a date and time
   */
  static fromISO(iso: string): Timestamp {
    const milliseconds = storedShape.test(iso) ? millisecondsOf(iso) : parsedMilliseconds(iso)
    if (Number.isNaN(milliseconds))
      throw new RangeError(`Cannot read '${iso}' as a timestamp: it is not an ISO 8601 date and time`)
    return new Timestamp(iso, milliseconds)
  }

  /**
   * Makes a timestamp of any date; a timestamp is returned as it is.
   *
   * @throws `RangeError` for an invalid date
   */
  static from(date: Date): Timestamp {
    if (date instanceof Timestamp) return date
    return new Timestamp(`${date.toISOString().slice(0, -1)}000+00:00`, date.getTime())
  }

  /** Makes a timestamp of microseconds since 1970 in UTC. */
  static fromMicroseconds(microseconds: number): Timestamp {
    const milliseconds = Math.floor(microseconds / microsecondsPerMillisecond)
    const rest = microseconds - milliseconds * microsecondsPerMillisecond
    const digits = rest < 10 ? `00${rest}` : rest < 100 ? `0${rest}` : String(rest)
    // Many come from one millisecond.
    if (milliseconds !== lastWritten.milliseconds) {
      lastWritten = { milliseconds, text: new Date(milliseconds).toISOString().slice(0, -1) }
    }
    return new Timestamp(`${lastWritten.text}${digits}+00:00`, milliseconds)
  }

  /** Milliseconds since 1970 with the microseconds as a fraction, so that `<` and `>` are exact. */
  override valueOf(): number {
    const digits = isoText.exec(this.iso)?.[1]?.slice(3, 6).padEnd(3, '0') ?? '0'
    return this.getTime() + Number(digits) / microsecondsPerMillisecond
  }

  /** The exact text. */
  override toJSON(): string {
    return this.iso
  }

  static {
    make = (iso, milliseconds) => new Timestamp(iso, milliseconds)
    for (const name of Object.getOwnPropertyNames(Date.prototype).filter((member) => member.startsWith('set'))) {
      Object.defineProperty(this.prototype, name, {
        value: (): never => {
          throw new TypeError(`Cannot change a timestamp with ${name}(): make a new Date of it first`)
        },
      })
    }
  }
}

/** Milliseconds since 1970; NaN for what is no time. */
function parsedMilliseconds(iso: string): number {
  const match = isoText.exec(iso)
  if (match === null) return Number.NaN
  return Date.parse(match[2] === undefined ? `${iso}Z` : iso)
}

/**
 * The same for a text of `storedShape`, in a quarter of the time: each event that is read has one.
 *
 * @see https://howardhinnant.github.io/date_algorithms.html#days_from_civil for the days
 */
function millisecondsOf(iso: string): number {
  const month = twoDigits(iso, 5)
  const day = twoDigits(iso, 8)
  const hour = twoDigits(iso, 11)
  const minute = twoDigits(iso, 14)
  const second = twoDigits(iso, 17)
  const isCertain = month >= 1 && month <= 12 && day >= 1 && day <= (month === 2 ? 28 : 30)
  if (!isCertain || hour > 23 || minute > 59 || second > 59) return parsedMilliseconds(iso)
  // Years begin in March here, so that a leap day is the last of its year.
  const year = twoDigits(iso, 0) * 100 + twoDigits(iso, 2) - (month <= 2 ? 1 : 0)
  const leapDays = Math.floor(year / 4) - Math.floor(year / 100) + Math.floor(year / 400)
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  const days = year * 365 + leapDays + dayOfYear - daysUntil1970
  const milliseconds = twoDigits(iso, 20) * 10 + iso.charCodeAt(22) - zero
  return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + milliseconds
}

function twoDigits(text: string, index: number): number {
  return (text.charCodeAt(index) - zero) * 10 + text.charCodeAt(index + 1) - zero
}

/**
 * A time as Python's `datetime.isoformat()` writes it in UTC: six digits for a fraction, none where there is no fraction.
 *
 * @returns for a time that is none, or not in the years 0 to 9999, some other text
 */
export function isoFormat(date: Date): string {
  const milliseconds = date.getTime()
  if (Number.isNaN(milliseconds)) return 'Invalid Date'
  const iso = date.toISOString()
  return milliseconds % microsecondsPerMillisecond === 0 ? `${iso.slice(0, -5)}+00:00` : `${iso.slice(0, -1)}000+00:00`
}

/** What an event keeps of a date: it cannot change any more. */
export function millisecondTimestamp(date: Date): Timestamp {
  return make(isoFormat(date), date.getTime())
}

/** Whether a time can be stored and read again, here and by Python: its year is one from 1 to 9999. */
export function isStorable(date: Date): boolean {
  const iso = date instanceof Timestamp ? date.iso : isoFormat(date)
  return isoText.test(iso) && !iso.startsWith('0000')
}

/**
 * Gives back what a stored time was: a date, which may be changed, where it has no more digits than that, else the timestamp. It
 * was a timestamp, too, where `markedTimestamp` says so.
 */
export function dateOrTimestamp(stored: Timestamp): Date {
  const { iso } = stored
  if (iso[dateLength] === ' ') {
    const unmarked = `${iso.slice(0, dateLength)}T${iso.slice(dateLength + 1)}`
    return unmarked === isoFormat(stored) ? make(unmarked, stored.getTime()) : stored
  }
  return iso === isoFormat(stored) ? new Date(stored.getTime()) : stored
}

/** Writes a timestamp that looks like a date with a space instead of the T. ISO 8601 and Python take both. */
export function markedTimestamp(timestamp: Timestamp): Timestamp {
  const { iso } = timestamp
  if (iso !== isoFormat(timestamp)) return timestamp
  return make(`${iso.slice(0, dateLength)} ${iso.slice(dateLength + 1)}`, timestamp.getTime())
}

const dateLength = '2026-01-02'.length

let replacedClock: (() => number) | undefined

/**
 * Replaces the clock, for tests.
 *
 * @param microseconds - gives the time of each timestamp to come, since 1970 in UTC
 * @returns puts the clock back
 * @throws `ProgrammingError` when it is replaced already
 */
export function setClock(microseconds: () => number): () => void {
  if (replacedClock !== undefined) throw new ProgrammingError('The clock is replaced already: restore it first.')
  replacedClock = microseconds
  return () => {
    if (replacedClock === microseconds) replacedClock = undefined
  }
}

let clockOffsetMs = performance.timeOrigin
let lastMicroseconds = Number.NEGATIVE_INFINITY

/**
 * Reads the clock, in UTC and to the microsecond.
 *
 * Each call gives a later time than the call before it in this process; only a system clock that is set back by more than
 * a second is followed back. The milliseconds are those of `Date.now()`, or the next after many calls in one of them.
 */
export function createTimestamp(): Timestamp {
  if (replacedClock !== undefined) return Timestamp.fromMicroseconds(replacedClock())
  const milliseconds = Date.now()
  const elapsedMs = performance.now()
  // The monotonic clock only fills in the microseconds: the system clock may have been adjusted since the process started.
  if (Math.abs(clockOffsetMs + elapsedMs - milliseconds) > 2) clockOffsetMs = milliseconds - elapsedMs
  const first = milliseconds * microsecondsPerMillisecond
  const measured = Math.floor((clockOffsetMs + elapsedMs) * microsecondsPerMillisecond)
  let microseconds = Math.min(Math.max(measured, first), first + microsecondsPerMillisecond - 1)
  const wasSetBack = lastMicroseconds - microseconds > largestStepBackMs * microsecondsPerMillisecond
  if (microseconds <= lastMicroseconds && !wasSetBack) microseconds = lastMicroseconds + 1
  lastMicroseconds = microseconds
  return Timestamp.fromMicroseconds(microseconds)
}
