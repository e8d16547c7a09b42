/** What the events of a class of aggregates, or of a decider, are like: new ones are judged and pinned, old ones are read in their present shape. */
import { DataError, TopicError } from '../errors.js'
import { type DomainEvent, domainEvent, type EventData, type EventMetadata } from './event.js'
import { type EventDeclaration, validData } from './event-definition.js'
import { frozen, pinned } from './kept-values.js'
import { assertStorableIds, eventTopic, type FormerTopics } from './names.js'
import { Erased, type PersonalFields, subjectsOf } from './personal-data.js'
import { eventTags, type TagsOf } from './tags.js'
import { createTimestamp, isStorable, Timestamp } from './timestamp.js'

/** What is said of events by their names. */
export interface EventShapes {
  /** The first part of the events' topics. */
  readonly topic: string
  readonly formerTopics: FormerTopics | undefined
  /** The name that the event with a stored topic has today, undefined for an unknown topic. */
  readonly nameOf: (topic: string) => string | undefined
  /** The steps that bring stored data of an event to its present shape; none for most events. */
  readonly upcastsOf: (eventName: string) => readonly Upcast[] | undefined
  /** The definition of an event, undefined where it has none. */
  readonly definitionOf: (eventName: string) => EventDeclaration | undefined
  /** The personal fields of an event, undefined where it has none. */
  readonly personalOf: (eventName: string) => PersonalFields | undefined
  /** Which tags an event has, undefined where it has none. */
  readonly tagsOf: (eventName: string) => TagsOf | undefined
  /** The events that end their originator; empty for most. */
  readonly endings: ReadonlySet<string>
}

const shapes = new WeakMap<EventShapes, Map<string, PresentShape>>()

/** The present shape of one event: it is looked up once for each class or decider. */
export function shapeOf(events: EventShapes, eventName: string): PresentShape {
  let byName = shapes.get(events)
  if (byName === undefined) shapes.set(events, (byName = new Map()))
  const known = byName.get(eventName)
  if (known !== undefined) return known
  const upcasts = events.upcastsOf(eventName)
  const shape = {
    topic: eventTopic(events, eventName),
    upcasts,
    writtenVersion: writtenVersion(upcasts),
    definition: events.definitionOf(eventName),
    personal: events.personalOf(eventName),
    tagsOf: events.tagsOf(eventName),
  }
  byName.set(eventName, shape)
  return shape
}

// Each step knows the shapes before and after it; what they are is nobody else's business.
/** Turns the data of one version into that of the next. It gets a frozen object and gives a new one. */
export type Upcast = (data: never) => object

/** The steps of each event, by its name: the first from version 1 to 2, the next from 2 to 3, and so on. */
export type Upcasts = Readonly<Record<string, readonly Upcast[]>>

/** The version that an event is written with, undefined for the first: that is how rows without a version are. */
export function writtenVersion(steps: readonly Upcast[] | undefined): number | undefined {
  return steps === undefined || steps.length === 0 ? undefined : steps.length + 1
}

/**
 * Gives an event with the present shape of its data: itself when it has that.
 *
 * @throws `TopicError` for a version that is still to come
 */
export function upcastEvent(event: DomainEvent, steps: readonly Upcast[] = []): DomainEvent {
  const { classVersion = 1 } = event
  if (classVersion === steps.length + 1) return event
  if (classVersion > steps.length + 1) {
    throw new TopicError(
      `Cannot read ${event.topic}, version ${event.originatorVersion} of ${event.originatorId}: it was written in version ` +
        `${classVersion} of that event, and this program knows ${steps.length + 1}. Deploy the program that wrote it.`,
    )
  }
  const data = upcastData(event.data, steps.slice(classVersion - 1), event.topic)
  return domainEvent({ ...event, classVersion: steps.length + 1, data })
}

/** Runs the steps one after the other. @throws `TypeError` when one gives no object */
export function upcastData(data: object, steps: readonly Upcast[], label: string): Readonly<Record<string, unknown>> {
  let current: unknown = data
  for (const step of steps) {
    current = step(current as never) // the shape that the step before gave
    if (typeof current !== 'object' || current === null || current instanceof Promise) {
      throw new TypeError(`An upcast of ${label} must give the new data, at once: it gave ${String(current)}`)
    }
    current = frozen(current)
  }
  return current as Readonly<Record<string, unknown>> // just checked
}

/** What an event is like today. */
export interface PresentShape {
  /** Its topic. */
  readonly topic: string
  /** The version that it is written with, undefined for the first. */
  readonly writtenVersion: number | undefined
  /** Which tags it has, undefined where it has none. */
  readonly tagsOf: TagsOf | undefined
  /** The steps that older data have to take. */
  readonly upcasts: readonly Upcast[] | undefined
  /** The event's definition, undefined where it has none. */
  readonly definition: EventDeclaration | undefined
  /** Its personal fields, undefined where it has none. */
  readonly personal: PersonalFields | undefined
}

/**
 * Gives an event with the present shape of its data: itself when it has that. Where its definition asks for it, the data are
 * judged, unless some of them are erased.
 *
 * @throws `EventDataError` for data that the definition refuses
 * @throws `TopicError` for an event that was written by a newer program
 */
export function presentEvent(
  stored: DomainEvent,
  { upcasts, definition, personal }: Pick<PresentShape, 'upcasts' | 'definition' | 'personal'>,
): DomainEvent {
  // Most events have had one shape only.
  if (upcasts === undefined && stored.classVersion === undefined && definition?.validatesOnRead !== true) return stored
  const erased = Object.keys(stored.data).filter((field) => stored.data[field] instanceof Erased)
  const event = upcasted(stored, { upcasts, personal }, erased)
  if (definition?.validatesOnRead !== true || erased.length > 0) return event
  const attempted = `apply ${event.topic}, version ${event.originatorVersion} of ${event.originatorId}`
  const data = validData(definition, event.data, attempted)
  return data === event.data ? event : domainEvent({ ...event, data: frozen(data) as EventData }) // of the same shape
}

/** Upcasts an event, and tells anew which of its fields are personal. */
function upcasted(
  stored: DomainEvent,
  { upcasts, personal: fields }: Pick<PresentShape, 'upcasts' | 'personal'>,
  erased: readonly string[],
): DomainEvent {
  let event: DomainEvent
  try {
    event = upcastEvent(stored, upcasts)
  } catch (error) {
    if (erased.length === 0) throw error
    const { topic, originatorVersion, originatorId } = stored
    throw new TypeError(
      `Cannot upcast ${topic}, version ${originatorVersion} of ${originatorId}, whose ${erased.join(', ')} is erased: an upcast ` +
        `has to pass placeholders of personal data on. ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  }
  if (event === stored || stored.personal === undefined) return event
  const before = Object.entries(stored.personal).filter(([field]) => Object.hasOwn(event.data, field))
  const { topic, originatorId, data } = event
  return domainEvent({
    ...event,
    personal: { ...Object.fromEntries(before), ...subjectsOf(fields, { topic, originatorId, data }) },
  })
}

/** What is decided about an event before it is one. */
interface EventFields {
  readonly eventName: string
  readonly originatorId: string
  readonly originatorVersion: number
  readonly data: EventData
  /** Default now. */
  readonly timestamp?: Date | undefined
  readonly metadata?: EventMetadata | undefined
  /** The topic of the class, for the event that creates an aggregate. */
  readonly originatorTopic?: string | undefined
}

/**
 * Makes an event of a class or a decider.
 *
 * The data and the metadata may be the caller's: the event has copies of its own.
 *
 * @throws `EventDataError` for data that the event's definition refuses
 * @throws `DataError` for a value, a time or an id that could not be read again
 * @throws `TypeError` where it cannot be told whose personal data it has, or what its tags are
 */
export function newEvent(events: EventShapes, fields: EventFields): DomainEvent {
  const { eventName, originatorId, originatorVersion, timestamp, metadata, originatorTopic } = fields
  const { topic, definition, writtenVersion: classVersion, personal: marks, tagsOf } = shapeOf(events, eventName)
  const attempted = (): string => `trigger ${topic}, version ${originatorVersion} of ${originatorId}`
  assertStorableIds({ originatorId, topic }, attempted)
  if (timestamp !== undefined) assertStorable(timestamp, attempted)
  const given = definition === undefined ? fields.data : validData(definition, fields.data, attempted())
  const data = pinned(given, attempted)
  const personal = marks === undefined ? undefined : subjectsOf(marks, { topic, originatorId, data })
  const tags = tagsOf === undefined ? undefined : eventTags({ tagsOf, data, personal, attempted: attempted() })
  return domainEvent({
    originatorId,
    originatorVersion,
    topic,
    timestamp: timestamp === undefined ? createTimestamp() : Timestamp.from(timestamp),
    originatorTopic,
    data,
    classVersion,
    metadata: metadata === undefined ? undefined : (frozen(metadata) as EventMetadata), // of the same shape
    personal,
    tags,
  })
}

/** What is said of the events of a class of aggregates. */
interface CreatingShapes extends EventShapes {
  /** For messages. */
  readonly className: string
  /** The version of a new aggregate. */
  readonly initialVersion: number
}

/** What the one who creates an aggregate decides. */
interface Creation {
  readonly eventName: string
  /** The result of `createId`. */
  readonly originatorId: unknown
  readonly data: EventData
  readonly timestamp?: Date | undefined
  readonly metadata?: EventMetadata | undefined
}

/**
 * Makes the event that creates an aggregate of a class.
 *
 * @throws `TypeError` when the id is not a text, e.g. because `createId` is asynchronous; what `newEvent` throws
 */
export function creationEvent(events: CreatingShapes, creation: Creation): DomainEvent {
  return newEvent(events, {
    ...creation,
    originatorId: checkId(creation.originatorId, events.className),
    originatorVersion: events.initialVersion,
    originatorTopic: events.topic,
  })
}

function checkId(id: unknown, className: string): string {
  if (typeof id === 'string' && id !== '') return id
  if (id instanceof Promise) {
    // The promise is of no more use; its failure must not end the process as an unhandled rejection.
    id.catch(() => undefined)
    throw new TypeError(
      `${className}.createId gave a promise: ids are made synchronously, look things up before creating`,
    )
  }
  throw new TypeError(`${className}.createId must give a text that is not empty, not ${String(id)}`)
}

function assertStorable(timestamp: Timestamp | Date, attempted: () => string): void {
  if (isStorable(timestamp)) return
  throw new DataError(
    `Cannot ${attempted()}: its timestamp is ${timestamp.toISOString()}, and a time has to be in the years 1 to 9999`,
  )
}
