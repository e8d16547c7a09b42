/** Stored events as programs of today see them. */
import { Erased } from './erased.js'
import { type DomainEvent, domainEvent } from './event.js'
import { type EventDeclaration, validData } from './event-definition.js'
import { type Upcast, upcastEvent } from './upcasting.js'

/** What an event's data are today. */
export interface PresentShape {
  /** The steps that older data have to take. */
  readonly upcasts: readonly Upcast[] | undefined
  /** The event's definition, undefined where it has none. */
  readonly definition: EventDeclaration | undefined
}

/**
 * Gives an event with the present shape of its data: itself when it has that. Where its definition asks for it, the data are
 * judged, unless some of them are erased.
 *
 * @throws `EventDataError` for data that the definition refuses
 * @throws `TopicError` for an event that was written by a newer program
 */
export function presentEvent(stored: DomainEvent, { upcasts, definition }: PresentShape): DomainEvent {
  const event = upcastEvent(stored, upcasts)
  if (definition?.validatesOnRead !== true) return event
  if (Object.values(event.data).some((value) => value instanceof Erased)) return event
  const attempted = `apply ${event.topic}, version ${event.originatorVersion} of ${event.originatorId}`
  const data = validData(definition, event.data, attempted)
  return data === event.data ? event : domainEvent({ ...event, data })
}
