/** Reads the states that most events have, in a fraction of the time: data of JSON's own types after a timestamp. */
import { deepestState } from '../domain/kept-values.js'
import { Timestamp } from '../domain/timestamp.js'

/** The content of a state. */
export interface PlainState {
  readonly timestamp: Timestamp
  readonly data: Record<string, unknown>
}

const start = '{"timestamp":{"_type_":"datetime_iso","_data_":"'
const closingBrace = '}'.charCodeAt(0)

/** What makes an integer that a number may not hold; it may be in a text as well. */
const longNumber = /\d{16}/

/**
 * Reads a state in which nothing but the timestamp has a type or belongs to the event itself.
 *
 * @returns undefined for any other state, also for one that is not well-formed
 * @throws `RangeError` when the timestamp is none
 */
export function readPlainState(text: string): PlainState | undefined {
  if (!text.startsWith(start)) return undefined
  const end = text.indexOf('"', start.length)
  if (end === -1 || text.charCodeAt(end + 1) !== closingBrace) return undefined
  const data = readRest(text, end + 2)
  if (data === undefined) return undefined
  return { timestamp: Timestamp.fromISO(text.slice(start.length, end)), data }
}

function readRest(text: string, from: number): Record<string, unknown> | undefined {
  if (text.length === from + 1 && text.charCodeAt(from) === closingBrace) return {}
  if (!text.startsWith(',"', from)) return undefined
  const rest = `{${text.slice(from + 1)}`
  if (isSpecial(rest) || mayBeDeep(rest)) return undefined
  try {
    return JSON.parse(rest) as Record<string, unknown> // it begins with a brace
  } catch {
    return undefined
  }
}

/** Whether it may have typed values, or names that belong to the event. */
function isSpecial(rest: string): boolean {
  if (longNumber.test(rest) || rest.includes('"timestamp"') || rest.includes('\\u')) return true
  return (
    rest.includes('_') &&
    (rest.includes('_type_') ||
      rest.includes('"originator_topic"') ||
      rest.includes('"class_version"') ||
      rest.includes('"_personal_"'))
  )
}

function mayBeDeep(rest: string): boolean {
  return rest.length > 2 * deepestState && (rest.includes('[') || rest.indexOf('{', 1) !== -1)
}
