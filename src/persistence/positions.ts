/** What callers give as positions in a log and as versions in a stream: taken as what they mean, or refused. */
import type { SelectEventsRange } from './recorder.js'

/** The greatest id that a database has. */
export const greatestPosition: bigint = 2n ** 63n - 1n

/**
 * A position in a log. Positions come from URLs, headers and JSON too, so a whole number and a text of digits are taken as the
 * position that they mean.
 *
 * @param what - the name of the argument, for the message
 * @throws `TypeError` for anything else, such as a fraction, a number beyond 2^53, or a text with other characters
 */
export function logPosition(value: bigint, what: string): bigint
/** The same, with null and undefined for none. */
export function logPosition(value: bigint | null | undefined, what: string): bigint | null
export function logPosition(value: unknown, what: string): bigint | null {
  if (value === null || value === undefined) return null
  const isMeant = Number.isSafeInteger(value) || (typeof value === 'string' && /^-?\d{1,19}$/.test(value))
  // One of the two, as was just checked.
  const position = typeof value === 'bigint' ? value : isMeant ? BigInt(value as number | string) : undefined
  if (position !== undefined && position <= greatestPosition && position >= -greatestPosition) return position
  throw new TypeError(
    `Cannot take ${described(value)} as ${what}: a position in a log is a bigint, or a whole number or a text of digits that means one.`,
  )
}

/**
 * How many to read at most.
 *
 * @throws `TypeError` for anything but a whole number
 */
export function checkLimit(value: number): number {
  if (Number.isSafeInteger(value)) return value
  throw new TypeError(`Cannot take ${described(value)} as limit: it is a whole number.`)
}

/**
 * A version in a stream.
 *
 * @param what - the name of the argument, for the message
 * @throws `TypeError` for anything but a whole number
 */
export function checkVersion(value: number | undefined, what: string): void {
  if (value === undefined || Number.isSafeInteger(value)) return
  throw new TypeError(`Cannot take ${described(value)} as ${what}: a version is a whole number.`)
}

/** @throws `TypeError` where a bound of the range, or its limit, is no whole number */
export function checkRange({ gt, lte, limit }: SelectEventsRange): void {
  checkVersion(gt, 'gt')
  checkVersion(lte, 'lte')
  if (limit !== undefined) checkLimit(limit)
}

function described(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
