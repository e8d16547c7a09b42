/** The event that a class of aggregates, or a decider, stores: its data judged and pinned, its version and the persons that it is about written down. */
import { DataError } from '../errors.js'
import { type DomainEvent, domainEvent, type EventData, type EventMetadata } from './event.js'
import { validData } from './event-definition.js'
import type { EventShapes } from './event-shapes.js'
import { frozen, pinned } from './kept-values.js'
import { subjectsOf } from './personal-data.js'
import { assertStorableIds } from './storable-text.js'
import { eventTags } from './tags.js'
import { createTimestamp, isStorable, Timestamp } from './timestamp.js'
import { eventTopic } from './topic.js'
import { writtenVersion } from './upcasting.js'

/** What is decided about an event before it is one. */
export interface EventFields {
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
  const topic = eventTopic(events, eventName)
  const attempted = (): string => `trigger ${topic}, version ${originatorVersion} of ${originatorId}`
  assertStorableIds({ originatorId, topic }, attempted)
  if (timestamp !== undefined) assertStorable(timestamp, attempted)
  const definition = events.definitionOf(eventName)
  const given = definition === undefined ? fields.data : validData(definition, fields.data, attempted())
  const data = pinned(given, attempted)
  const classVersion = writtenVersion(events.upcastsOf(eventName))
  const personal = subjectsOf(events.personalOf(eventName), { topic, originatorId, data })
  const tagsOf = events.tagsOf(eventName)
  const tags = tagsOf === undefined ? undefined : eventTags({ tagsOf, data, personal, attempted: attempted() })
  const event = {
    originatorId,
    originatorVersion,
    topic,
    timestamp: timestamp === undefined ? createTimestamp() : Timestamp.from(timestamp),
    data,
  }
  // Most have none of these.
  if ((originatorTopic ?? classVersion ?? metadata ?? personal ?? tags) === undefined) return domainEvent(event)
  return domainEvent({
    ...event,
    ...(originatorTopic === undefined ? {} : { originatorTopic }),
    ...(classVersion === undefined ? {} : { classVersion }),
    ...(metadata === undefined ? {} : { metadata: frozen(metadata) as EventMetadata }), // of the same shape
    ...(personal === undefined ? {} : { personal }),
    ...(tags === undefined ? {} : { tags }),
  })
}

function assertStorable(timestamp: Timestamp | Date, attempted: () => string): void {
  if (isStorable(timestamp)) return
  throw new DataError(
    `Cannot ${attempted()}: its timestamp is ${timestamp.toISOString()}, and a time has to be in the years 1 to 9999`,
  )
}
