/** The record of something that happened to an originator, and the way between the arguments of a call and the data of that. */
import { AggregateEndedError, DataError } from '../errors.js'
import { copied, isPlainObject } from './kept-values.js'
import type { Subjects } from './personal-data.js'
import type { Tag } from './tags.js'
import type { Timestamp } from './timestamp.js'

/** The content of an event: named values, read-only and frozen on the outside. */
export type EventData = Readonly<Record<string, unknown>>

/** Facts about an event that are not its content (who, why, from where), as a JSON object. */
export type EventMetadata = Readonly<Record<string, unknown>>

/**
 * One event of one originator.
 *
 * The contract with a mapper. Writing: `data`'s own enumerable properties, `timestamp` and, where they are there,
 * `originatorTopic` and `classVersion` are the event's state (`timestamp`, `originator_topic` and `class_version` in stored
 * rows of the Python library);
 * `originatorId`, `originatorVersion`, `topic` and `metadata` have columns of their own. Reading: `domainEvent()` of what
 * was stored, with `Timestamp.fromISO()` of the stored text, gives back an equal record. `data` never holds one of
 * `reservedDataNames`, so the names in a stored state cannot collide.
 */
export interface DomainEvent<Data extends object = EventData> {
  /** The id of the aggregate, or whatever else owns the sequence. */
  readonly originatorId: string
  /** The position in the originator's sequence, without gaps; the first event has 1 by default. */
  readonly originatorVersion: number
  /** The stable name of the event's type, such as `Dog.TrickAdded`. */
  readonly topic: string
  /** When the event was triggered; a `Date` that keeps microseconds and its ISO text. */
  readonly timestamp: Timestamp
  /** The topic of the aggregate's class, such as `Dog`; only on the event that creates an originator. */
  readonly originatorTopic?: string
  /** The event's content. */
  readonly data: Data
  /** The version of the event's class that `data` has the shape of; absent for the first. */
  readonly classVersion?: number
  /** What is known of the event beside its content. */
  readonly metadata?: EventMetadata
  /** Which fields of the data are personal: by name, the persons that they are about. */
  readonly personal?: Subjects
  /** What it is about beyond its originator; only on events that are to be stored. */
  readonly tags?: readonly Tag[]
}

/** Names that an event's data cannot have, because the stored state uses them for the event itself. */
export const reservedDataNames: readonly string[] = Object.freeze([
  'timestamp',
  'originatorId',
  'originatorVersion',
  'originatorTopic',
  'originator_id',
  'originator_version',
  'originator_topic',
  'class_version',
  '_personal_',
])

/**
 * Makes a domain event: the fields are copied, the record and its data are frozen.
 *
 * Values inside the data are not copied here; `Aggregate` copies the arrays and plain objects that it is given.
 *
 * @param fields - the event's fields; `data` may be frozen already and is then kept as it is
 */
export function domainEvent<Data extends object>(fields: DomainEventFields<Data>): DomainEvent<Data> {
  const { originatorId, originatorVersion, topic, timestamp, originatorTopic, data, classVersion, metadata } = fields
  const { personal, tags } = fields
  // One for each event that is read: spreading members that may be missing takes several times as long.
  const own = Object.isFrozen(data) ? data : Object.freeze({ ...data })
  const event: Writable<DomainEvent<Data>> =
    originatorTopic === undefined
      ? { originatorId, originatorVersion, topic, timestamp, data: own }
      : { originatorId, originatorVersion, topic, timestamp, originatorTopic, data: own }
  if (classVersion !== undefined) event.classVersion = classVersion
  if (metadata !== undefined) event.metadata = metadata
  if (personal !== undefined) event.personal = personal
  if (tags !== undefined) event.tags = tags
  return Object.freeze(event)
}

type SometimesThere = 'originatorTopic' | 'classVersion' | 'metadata' | 'personal' | 'tags'

/** The fields of an event: those that not every event has may be undefined. */
type DomainEventFields<Data extends object> = Omit<DomainEvent<Data>, SometimesThere> & {
  readonly [Name in SometimesThere]?: DomainEvent<Data>[Name] | undefined
}

type Writable<Fields> = { -readonly [Name in keyof Fields]: Fields[Name] }

const ended = new WeakSet<object>()

/** Notes that the last event of an aggregate, or of a decider's state, has ended it. */
export function markEnded(originator: object): void {
  ended.add(originator)
}

/** Whether the last event of an aggregate, or of a decider's state, has ended it. */
export function isEnded(originator: object): boolean {
  return ended.has(originator)
}

/** @param attempted - completes "Cannot" */
export function endedError(attempted: string): AggregateEndedError {
  return new AggregateEndedError(
    `Cannot ${attempted}: its last event has ended it. Its states up to there are read by a version; nothing follows it but a new life, by the option newLife.`,
  )
}

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

/**
 * The same where the one argument is the data.
 *
 * @throws `TypeError` for anything but one plain object or nothing, and for a name that belongs to the event itself
 */
export function dataOfObject(label: string, args: readonly unknown[]): EventData {
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
