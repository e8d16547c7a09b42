/** The way between the arguments of a call and the data of an event, without sharing arrays, objects, maps and sets. */
import { type EventData, reservedDataNames } from './event.js'
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
 * Makes the data of an event of the arguments of a call. An argument that is undefined leaves no name in the data.
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
    else if (value !== undefined) data[name] = pinned(value)
  }
  return { data: Object.freeze(data), ...(timestamp === undefined ? {} : { timestamp }) }
}

/** The arguments with which an event's body runs: own copies, the same whether the event is new or was stored. */
export function argumentsOfEvent(parameterNames: readonly string[], data: EventData, timestamp: Timestamp): unknown[] {
  if (parameterNames.length === 0) return [copied(data)]
  return parameterNames.map((name) => (name === 'timestamp' ? timestamp : copied(data[name])))
}

/** Whether a value is an object literal, as opposed to an array or an instance of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** A copy of arrays, plain objects, maps and sets, however deep, the first two frozen; any other value is given back as it is. */
export function pinned(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(pinned))
  return isPlainObject(value) ? Object.freeze(mapped(value, pinned)) : collection(value, pinned)
}

/** The same, not frozen. */
export function copied(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copied)
  return isPlainObject(value) ? mapped(value, copied) : collection(value, copied)
}

/** @throws `TypeError` for what is no time */
export function givenTimestamp(label: string, value: unknown): Date | undefined {
  if (value === undefined || value === null) return undefined
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value
  throw new TypeError(`${label} was given a timestamp that is not a valid Date`)
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
  return Object.freeze(mapped(data, pinned))
}

/** Instances of subclasses may hold more than their base class knows. */
function isOf<Instance extends object>(type: new () => Instance, value: unknown): value is Instance {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === type.prototype
}

function collection(value: unknown, change: (member: unknown) => unknown): unknown {
  if (isOf(Map, value)) return new Map([...value].map(([key, member]) => [change(key), change(member)]))
  return isOf(Set, value) ? new Set([...value].map(change)) : value
}

function mapped(value: Record<string, unknown>, change: (member: unknown) => unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const name of Object.keys(value)) {
    // A plain assignment to `__proto__` would change the copy's prototype instead of copying the property.
    if (name === '__proto__') Object.defineProperty(result, name, { value: change(value[name]), enumerable: true })
    else if (value[name] !== undefined) result[name] = change(value[name])
  }
  return result
}
