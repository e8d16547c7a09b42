/** Triggering: a new event changes its aggregate, or, when it fails, nothing at all. */
import { type EventHandler, eventsOf } from './aggregate-events.js'
import type { AggregateRecord } from './aggregate-record.js'
import { endedError, isEnded, markEnded } from './ended.js'
import type { EventMetadata } from './event.js'
import type { GivenData } from './event-data.js'
import { newEvent } from './new-event.js'
import { withSubjects } from './personal-data.js'
import { rememberState } from './state-restoration.js'

/** A new event of an aggregate. */
export interface NewEvent extends GivenData {
  readonly handler: EventHandler
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
  record.subjects = withSubjects(record.subjects, event.personal)
  record.pending.push(event)
  if (events.endings.has(handler.name)) markEnded(aggregate)
  return result
}
