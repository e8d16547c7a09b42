/** Stored events as programs of today see them. */
import { Erased } from './erased.js'
import { type DomainEvent, domainEvent, type EventData } from './event.js'
import { type EventDeclaration, validData } from './event-definition.js'
import { frozen } from './kept-values.js'
import { type PersonalFields, subjectsOf } from './personal-data.js'
import { type Upcast, upcastEvent } from './upcasting.js'

/** What an event's data are today. */
export interface PresentShape {
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
export function presentEvent(stored: DomainEvent, { upcasts, definition, personal }: PresentShape): DomainEvent {
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
  { upcasts, personal: fields }: Omit<PresentShape, 'definition'>,
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
