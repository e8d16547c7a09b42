/** Handlers of projections: which events they take, and what they do with each. */
import type { Aggregate, AggregateClass, EventsOf } from '../domain/aggregate.js'
import type { Decider } from '../domain/decider.js'
import type { DomainEvent } from '../domain/event.js'
import { type EventDefinition, isEventDefinition } from '../domain/event-definition.js'
import { presentEvent } from '../domain/event-shapes.js'
import { type DataOf, readEvent, topicsOf } from '../domain/read-event.js'
import type { Timestamp } from '../domain/timestamp.js'
import type { ChangeRows } from '../persistence/projection-recorder.js'
import type { Metadata } from '../persistence/stored-event.js'

/** An event as a handler is given it. */
export interface ProjectedEvent<Data = object> {
  /** The id of the aggregate, or whatever else owns the stream. */
  readonly originatorId: string
  /** Which event of the stream it is, from 1. */
  readonly originatorVersion: number
  /** When it was triggered. */
  readonly timestamp: Timestamp
  /** Its content, in its present shape. */
  readonly data: Data
  /** Facts about it that are not its content. */
  readonly metadata: Metadata | undefined
  /** Its position in the log; undefined inline, where it has none yet. */
  readonly position: bigint | undefined
  /**
   * Its log and position, such as `TrainingSchool/4711`: the same each time that it is handled, so that others can tell what they have had
   * already. Inline, where it has no position yet, its stream and version.
   */
  readonly id: string
  /** As it was stored, such as `Dog.TrickAdded`. */
  readonly topic: string
}

/** An event with its position in the log, as a batch has it. */
export interface PositionedEvent {
  readonly event: DomainEvent
  readonly position: bigint | undefined
}

/** What handlers are run with, beside the events. */
export interface ApplyOptions {
  /** The name of the log that the events are of; undefined inline. */
  readonly log?: string | undefined
  /** Asked after each event: whether to leave the rest. Default never. */
  readonly isOver?: () => boolean
  /** Changes many rows at once, where that can be done. */
  readonly changeRows?: ChangeRows | undefined
}

/** Handles events in order. @returns how many were handled */
export type ApplyEvents = (events: readonly PositionedEvent[], options?: ApplyOptions) => Promise<number>

/** A timer as its handler is given it. */
export interface FiredTimer<Data = unknown> {
  /** As it was set. */
  readonly id: string
  /** As it was set, read again by the application's mapper. */
  readonly data: Data
  /** When it was due. */
  readonly at: Date
  /** What it is for. */
  readonly topic: string
}

/** What handles the timers of one topic. */
export interface TimerHandler {
  /** Of the timers that it takes. */
  readonly topic: string
  /** Called for each that is due. */
  readonly handle: (timer: FiredTimer) => unknown
}

/** One handler with the events that it takes; made by `on`. */
export interface ProjectionHandler {
  /** The class or decider whose events it takes; undefined for those of a definition, from whatever stream. */
  readonly kind?: ProjectedKind
  /** The topics of its events; undefined where any topic may be one. */
  readonly topics: readonly string[] | undefined
  /** Gives the event in its present shape where this handler takes it. */
  readonly read: (event: DomainEvent) => DomainEvent | undefined
  /** Handles one event. */
  readonly handle: (event: ProjectedEvent) => unknown
  /** The timers that it takes, in the place of events; made by `onTimer`. */
  readonly timer?: TimerHandler
}

/** What is done with one event; awaited. */
export type Handle<Data> = (event: ProjectedEvent<Data>) => unknown

/** A class of aggregates, or a decider as far as its events go. */
export type ProjectedKind = AggregateClass | { readonly name: string; readonly evolve: object }

/**
 * Handles the events of one definition of a class or decider.
 *
 * @throws `TypeError` for an event that the class or decider does not have
 *
 * @example
 * on(Dog, TrickAdded, async ({ originatorId, data }) => await db.trick.create({ data: { dog: originatorId, trick: data.trick } }))
 */
export function on<Input extends object, Data extends object>(
  kind: ProjectedKind,
  definition: EventDefinition<string, Input, Data>,
  handle: Handle<Data>,
): ProjectionHandler
/** The same for an event of a decider, by its name. */
export function on<State, Events extends object, Commands extends object, Name extends keyof Events & string>(
  decider: Decider<State, Events, Commands>,
  name: Name,
  handle: Handle<DataOf<Events, Name>>,
): ProjectionHandler
/** The same for an event of a class, by its name. */
export function on<A extends Aggregate<object>, Name extends keyof EventsOf<A> & string>(
  aggregateClass: AggregateClass<A>,
  name: Name,
  handle: Handle<DataOf<EventsOf<A>, Name>>,
): ProjectionHandler
/**
 * Handles the events of one definition, of whatever stream: by the name of the event, without upcasts, which belong to classes and
 * deciders.
 */
export function on<Input extends object, Data extends object>(
  definition: EventDefinition<string, Input, Data>,
  handle: Handle<Data>,
): ProjectionHandler
export function on(...args: readonly unknown[]): ProjectionHandler {
  const [first, second, third] = args
  if (typeof third === 'function') {
    return handlerOf(first as ProjectedKind, second as EventDefinition, third as ProjectionHandler['handle'])
  }
  if (isEventDefinition(first) && typeof second === 'function') {
    const definition = first
    return {
      topics: undefined,
      read: (event) =>
        event.topic.endsWith(`.${definition.name}`)
          ? presentEvent(event, { upcasts: undefined, definition, personal: undefined })
          : undefined,
      handle: second as ProjectionHandler['handle'], // as the overloads say
    }
  }
  throw new TypeError('Cannot make a handler: on() takes a class or decider, an event, and a function.')
}

/**
 * Handles events of a decider by a table of functions, as its `evolve` is one.
 *
 * @example
 * of(cart, { ItemAdded: async ({ data }) => …, Closed: async () => … })
 */
export function of<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  table: { readonly [Name in keyof Events & string]?: Handle<DataOf<Events, Name>> },
): ProjectionHandler[] {
  return Object.entries(table).map(([name, handle]) => handlerOf(decider, name, handle as ProjectionHandler['handle']))
}

function handlerOf(
  kind: ProjectedKind,
  event: string | EventDefinition,
  handle: ProjectionHandler['handle'],
): ProjectionHandler {
  const read = readEvent as (
    kind: ProjectedKind,
    wanted: string | EventDefinition,
    event: DomainEvent,
  ) => DomainEvent | undefined
  return { kind, topics: topicsOf(kind, event), read: (stored) => read(kind, event, stored), handle }
}

/** An event as a handler is given it. @param log - the name of its log; undefined inline */
export function projected(event: DomainEvent, position: bigint | undefined, log: string | undefined): ProjectedEvent {
  const { originatorId, originatorVersion, timestamp, data, metadata, topic } = event
  const id = position === undefined ? `${originatorId}/${originatorVersion}` : `${log ?? ''}/${position}`
  return { originatorId, originatorVersion, timestamp, data, metadata, position, id, topic }
}
