/** What the events of a class of aggregates, or of a decider, are like: for writing new ones, and reading old ones. */
import type { EventDeclaration } from './event-definition.js'
import type { PersonalFields } from './personal-data.js'
import type { PresentShape } from './present-event.js'
import type { TagsOf } from './tags.js'
import type { FormerTopics } from './topic.js'
import type { Upcast } from './upcasting.js'

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
  const shape = {
    upcasts: events.upcastsOf(eventName),
    definition: events.definitionOf(eventName),
    personal: events.personalOf(eventName),
  }
  byName.set(eventName, shape)
  return shape
}
