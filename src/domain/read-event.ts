/** Reading events one by one, as projections and policies do: of which kind one is, and its data in their present shape. */
import type { Aggregate, AggregateClass, EventsOf } from './aggregate.js'
import { eventsOf } from './aggregate-events.js'
import type { Decider } from './decider.js'
import { eventShapesOf } from './decider-shapes.js'
import type { DomainEvent } from './event.js'
import type { EventDeclaration, EventDefinition } from './event-definition.js'
import { type EventShapes, presentEvent, shapeOf } from './event-shapes.js'
import { eventTopic, storedTopics } from './names.js'
import type { SnapshotKind } from './snapshot.js'

/** The data of the event of one name. */
export type DataOf<Events, Name extends keyof Events> = Events[Name] extends object ? Events[Name] : never

/**
 * Gives an event with its data in their present shape and with their type, if it is of this class and definition.
 *
 * @param event - as a subscription or an event store gives it
 * @returns undefined for any other event
 * @throws `TypeError` for an event that the class or decider does not have
 * @throws `EventDataError` for data that the definition refuses, where it judges what was stored
 * @throws `TopicError` for an event that was written by a newer program
 *
 * @example
 * for await (const { event } of school.subscribe({ topics: topicsOf(Dog, TrickAdded) })) {
 *   const added = readEvent(Dog, TrickAdded, event)
 *   if (added !== undefined) console.log(added.originatorId, added.data.trick)
 * }
 */
export function readEvent<Input extends object, Data extends object>(
  kind: AggregateClass | { readonly name: string; readonly evolve: object },
  definition: EventDefinition<string, Input, Data>,
  event: DomainEvent,
): DomainEvent<Data> | undefined
/** The same for an event of a decider, by its name. */
export function readEvent<State, Events extends object, Commands extends object, Name extends keyof Events & string>(
  decider: Decider<State, Events, Commands>,
  name: Name,
  event: DomainEvent,
): DomainEvent<DataOf<Events, Name>> | undefined
/** The same for an event of a class, by its name. */
export function readEvent<A extends Aggregate<object>, Name extends keyof EventsOf<A> & string>(
  aggregateClass: AggregateClass<A>,
  name: Name,
  event: DomainEvent,
): DomainEvent<DataOf<EventsOf<A>, Name>> | undefined
export function readEvent(
  kind: AggregateClass | { readonly name: string; readonly evolve: object },
  wanted: string | EventDeclaration,
  event: DomainEvent,
): DomainEvent | undefined {
  const shapes = shapesOf(kind as SnapshotKind) // what else a decider has does not matter here
  const name = checkedName(shapes, wanted)
  if (shapes.nameOf(event.topic) !== name) return undefined
  return presentEvent(event, shapeOf(shapes, name))
}

/**
 * The topics that stored events of one kind may have, today's first: for `subscribe` and `selectNotifications`.
 *
 * @param event - the event's name or definition
 * @throws `TypeError` for one that the class or decider does not have
 */
export function topicsOf(
  kind: AggregateClass | { readonly name: string; readonly evolve: object },
  event: string | EventDeclaration,
): string[] {
  const shapes = shapesOf(kind as SnapshotKind) // what else a decider has does not matter here
  return storedTopics(shapes, checkedName(shapes, event))
}

/** What the events of a class of aggregates, or of a decider, are like. */
export function shapesOf(kind: SnapshotKind): EventShapes {
  return typeof kind === 'function' ? eventsOf(kind.prototype as object) : eventShapesOf(kind)
}

function checkedName(shapes: EventShapes, event: string | EventDeclaration): string {
  if (typeof event === 'string') {
    if (shapes.nameOf(eventTopic(shapes, event)) === event) return event
    throw new TypeError(`${shapes.topic} has no event '${event}': nothing could be read as it`)
  }
  if (shapes.definitionOf(event.name) === event) return event.name
  throw new TypeError(`${shapes.topic} does not know this definition of '${event.name}': it is not one of its events`)
}
