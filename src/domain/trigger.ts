/** Triggering: a new event changes its aggregate, or, when it fails, nothing at all. */
import { type EventHandler, eventsOf } from './aggregate-events.js'
import type { AggregateRecord } from './aggregate-record.js'
import { type EventMetadata, endedError, type GivenData, isEnded, markEnded } from './event.js'
import { newEvent } from './event-shapes.js'
import { withSubjects } from './personal-data.js'

/** A new event of an aggregate. */
interface NewEvent extends Pick<GivenData, 'data'> {
  readonly handler: EventHandler
  readonly timestamp?: Date | undefined
  readonly metadata?: EventMetadata | undefined
}

/**
 * Triggers an event: its handler changes the aggregate, then version and `modifiedOn` follow and the event is pending.
 *
 * @param isAggregate - tells of an object in the aggregate's state that it is another aggregate
 * @returns what the handler returned
 * @throws `AggregateEndedError` for one that an event has ended
 * @throws whatever the handler throws, with the aggregate as it was before; what `newEvent` throws
 */
export function triggerEvent(
  aggregate: object,
  record: AggregateRecord,
  given: NewEvent,
  isAggregate: (value: object) => boolean,
): unknown {
  const { handler, data, timestamp, metadata } = given
  const events = eventsOf(Object.getPrototypeOf(aggregate))
  if (isEnded(aggregate)) throw endedError(`trigger ${handler.label} of ${record.id}`)
  const event = newEvent(events, {
    eventName: handler.name,
    originatorId: record.id,
    originatorVersion: record.version + 1,
    data,
    timestamp,
    metadata,
  })
  const restore = rememberState(aggregate, isAggregate)
  record.mode = 'applying'
  let result: unknown
  try {
    result = handler.apply(aggregate, event.data, event.timestamp)
  } catch (error) {
    restore()
    throw error
  } finally {
    record.mode = 'live'
  }
  record.version = event.originatorVersion
  record.modifiedOn = event.timestamp
  if (event.personal !== undefined) record.subjects = withSubjects(record.subjects, event.personal)
  record.pending.push(event)
  if (events.endings.has(handler.name)) markEnded(aggregate)
  return result
}

/**
 * Remembers the state of an object and of everything that it holds, before something that may fail half-way.
 *
 * Covered are enumerable properties of objects of any class, arrays, maps, sets, dates and typed arrays, at any depth, also
 * in circles. Private `#fields` and what closures hold cannot be seen from outside and are not covered. The cost is one
 * visit per object held, paid on success too.
 *
 * @param root - the object
 * @param isSeparate - tells of an object within that it is not part of this state
 * @returns puts every remembered object back as it was, keeping its identity
 */
function rememberState(root: object, isSeparate: (value: object) => boolean): () => void {
  const held: object[] = [root]
  const before: unknown[] = []
  let seen: Set<object> | undefined
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    // Few objects are found in the list as quickly, and need no set of their own.
    if (held.length > 8) seen ??= new Set(held)
    if (seen === undefined ? held.includes(value) : seen.has(value)) return
    if (isSeparate(value)) return
    seen?.add(value)
    held.push(value)
  }
  // The list grows while it is read. Two lists and no closures per object: this runs before every event.
  for (const value of held) before.push(copyOf(value, visit))
  return () => {
    for (const [index, value] of held.entries()) restore(value, before[index])
  }
}

function copyOf(value: object, visit: (member: unknown) => void): unknown {
  if (Array.isArray(value)) {
    // Most lists are of texts and numbers, and may be long.
    for (let index = 0; index < value.length; index += 1) if (typeof value[index] === 'object') visit(value[index])
    return value.slice()
  }
  if (value instanceof Date) return value.getTime()
  if (value instanceof Map) {
    for (const entry of value) entry.forEach(visit)
    return [...value]
  }
  if (value instanceof Set) {
    for (const member of value) visit(member)
    return [...value]
  }
  if (ArrayBuffer.isView(value)) return bytesOf(value).slice()
  const copy: Record<PropertyKey, unknown> = { ...value }
  for (const key in copy) visit(copy[key])
  return copy
}

// `before` is what `copyOf` made of the same value.
function restore(value: object, before: unknown): void {
  if (Array.isArray(value)) restoreArray(value, before as unknown[])
  else if (value instanceof Date) restoreDate(value, before as number)
  else if (value instanceof Map) restoreMap(value, before as [unknown, unknown][])
  else if (value instanceof Set) restoreSet(value, before as unknown[])
  else if (ArrayBuffer.isView(value)) bytesOf(value).set(before as Uint8Array)
  else restoreProperties(value, before as object)
}

// Only what differs is written, here and below: what is frozen cannot have changed, and would refuse.
function restoreArray(value: unknown[], before: readonly unknown[]): void {
  if (value.length !== before.length) value.length = before.length
  for (const [index, member] of before.entries()) if (!Object.is(value[index], member)) value[index] = member
}

function restoreDate(value: Date, before: number): void {
  if (!Object.is(value.getTime(), before)) value.setTime(before)
}

function restoreMap(value: Map<unknown, unknown>, before: readonly [unknown, unknown][]): void {
  value.clear()
  for (const [key, member] of before) value.set(key, member)
}

function restoreSet(value: Set<unknown>, before: readonly unknown[]): void {
  value.clear()
  for (const member of before) value.add(member)
}

function restoreProperties(value: object, before: object): void {
  for (const key of Object.keys(value)) if (!Object.hasOwn(before, key)) Reflect.deleteProperty(value, key)
  for (const [key, member] of Object.entries(before)) {
    if (!Object.hasOwn(value, key) || !Object.is(Reflect.get(value, key), member)) Reflect.set(value, key, member)
  }
}

function bytesOf(value: ArrayBufferView): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
}
