/** The event that a class of aggregates, or a decider, stores: its data judged, its version and the persons that it is about written down. */
import { type DomainEvent, domainEvent, type EventData, type EventMetadata } from './event.js'
import { validData } from './event-definition.js'
import type { EventShapes } from './event-shapes.js'
import { subjectsOf } from './personal-data.js'
import { createTimestamp, Timestamp } from './timestamp.js'
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
 * @throws `EventDataError` for data that the event's definition refuses
 * @throws `TypeError` where it cannot be told whose personal data it has
 */
export function newEvent(events: EventShapes, fields: EventFields): DomainEvent {
  const { eventName, originatorId, originatorVersion, timestamp, metadata, originatorTopic } = fields
  const topic = eventTopic(events, eventName)
  const attempted = `trigger ${topic}, version ${originatorVersion} of ${originatorId}`
  const data = validData(events.definitionOf(eventName), fields.data, attempted)
  const classVersion = writtenVersion(events.upcastsOf(eventName))
  const personal = subjectsOf(events.personalOf(eventName), { topic, originatorId, data })
  return domainEvent({
    originatorId,
    originatorVersion,
    topic,
    timestamp: timestamp === undefined ? createTimestamp() : Timestamp.from(timestamp),
    ...(originatorTopic === undefined ? {} : { originatorTopic }),
    data,
    ...(classVersion === undefined ? {} : { classVersion }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(personal === undefined ? {} : { personal }),
  })
}
