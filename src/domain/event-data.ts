/** The way between the arguments of a call and the data of an event. */
import { DataError } from '../errors.js'
import { type EventData, reservedDataNames } from './event.js'
import { copied } from './kept-values.js'
import { isPlainObject } from './plain-objects.js'
import type { Timestamp } from './timestamp.js'

/** The content of an event to be, and the time that the caller gave it. */
export interface GivenData {
  readonly data: EventData
  readonly timestamp?: Date
}

/** What an event keeps of a call, in the words of the one who declared it. */
export interface Signature {
  /** For messages, such as `Dog.addTrick`. */
  readonly label: string
  /** One name per parameter; none when a single plain object is the data itself. */
  readonly parameterNames: readonly string[]
}

/**
 * Makes the data of an event of the arguments of a call, which they share with the caller until `newEvent` pins them. An
 * argument that is undefined leaves no name in the data.
 *
 * @throws `TypeError` for more arguments than names, or, without names, for anything but one plain object or nothing
 */
export function dataOfArguments(signature: Signature, args: readonly unknown[]): GivenData {
  const { label, parameterNames } = signature
  if (parameterNames.length === 0) return { data: dataOfObject(label, args) }
  if (args.length > parameterNames.length) {
    throw new TypeError(`${label} was called with ${args.length} arguments, and its event has ${parameterNames.length}`)
  }
  const data: Record<string, unknown> = {}
  let timestamp: Date | undefined
  for (const [index, name] of parameterNames.entries()) {
    const value = args[index]
    if (name === 'timestamp') timestamp = givenTimestamp(label, value)
    else if (value !== undefined) data[name] = value
  }
  return { data, ...(timestamp === undefined ? {} : { timestamp }) }
}

/** The arguments with which an event's body runs: own copies, the same whether the event is new or was stored. */
export function argumentsOfEvent(parameterNames: readonly string[], data: EventData, timestamp: Timestamp): unknown[] {
  if (parameterNames.length === 0) return [copied(data)]
  const args: unknown[] = []
  for (const name of parameterNames) args.push(name === 'timestamp' ? timestamp : copied(data[name]))
  return args
}

/** @throws `TypeError` for what is no date, `DataError` for one that is invalid */
export function givenTimestamp(label: string, value: unknown): Date | undefined {
  if (value === undefined || value === null) return undefined
  const problem = `${label} was given a timestamp that is not a valid Date`
  if (!(value instanceof Date)) throw new TypeError(problem)
  if (Number.isNaN(value.getTime())) throw new DataError(`${problem}: ${String(value)}`)
  return value
}

function dataOfObject(label: string, args: readonly unknown[]): EventData {
  const [value] = args
  if (args.length > 1 || (value !== undefined && !isPlainObject(value))) {
    throw new TypeError(`${label} takes one plain object or nothing, since its event names no parameters`)
  }
  const data = value ?? {}
  const reserved = Object.keys(data).find((name) => reservedDataNames.includes(name))
  if (reserved !== undefined) {
    throw new TypeError(`${label} was given '${reserved}', a name that belongs to the event itself: choose another`)
  }
  return data
}
