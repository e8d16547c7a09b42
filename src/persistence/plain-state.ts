/** Reads the states that most events have, without a walk: texts, numbers and the like after a timestamp. */
import { Timestamp } from '../domain/timestamp.js'
import { timestampName } from './transcodings.js'

/** The content of a state. */
export interface PlainState {
  readonly timestamp: Timestamp
  readonly data: Readonly<Record<string, unknown>>
}

/**
 * Takes the content out of a parsed state in which nothing but the timestamp is an object, and no member but that belongs to the event.
 *
 * @returns undefined for any other state
 * @throws `RangeError` when the timestamp is none
 */
export function readPlainState(parsed: unknown): PlainState | undefined {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const members = parsed as Readonly<Record<string, unknown>>
  const iso = isoOf(members['timestamp'])
  if (iso === undefined) return undefined
  const data: Record<string, unknown> = {}
  for (const name in members) {
    if (name === 'timestamp') continue
    const value = members[name]
    if (isSpecial(name) || !isPlain(value)) return undefined
    data[name] = value
  }
  return { timestamp: Timestamp.fromISO(iso), data }
}

function isoOf(timestamp: unknown): string | undefined {
  if (typeof timestamp !== 'object' || timestamp === null) return undefined
  let count = 0
  for (const _ in timestamp) count += 1
  const { _type_: name, _data_: iso } = timestamp as Readonly<Record<string, unknown>>
  return count === 2 && name === timestampName && typeof iso === 'string' ? iso : undefined
}

function isSpecial(name: string): boolean {
  // A plain assignment to this one would change the prototype.
  return name === 'originator_topic' || name === 'class_version' || name === '_personal_' || name === '__proto__'
}

/** A number as great as this may have been another integer before it was rounded. */
const greatestExact = Number.MAX_SAFE_INTEGER

function isPlain(value: unknown): boolean {
  if (typeof value === 'number') return value <= greatestExact && value >= -greatestExact
  return typeof value !== 'object' || value === null
}
