/** What an aggregate knows about itself beside its state, and how a constructor that is running gets it. */
import type { AggregateEvents } from './aggregate-events.js'
import type { DomainEvent, EventMetadata } from './event.js'
import { newEvent } from './event-shapes.js'
import { randomId } from './names.js'
import { noSubjects, withSubjects } from './personal-data.js'
import type { Timestamp } from './timestamp.js'

/**
 * What a call of an event's method does at the moment: `live` triggers the event; `applying` runs the body as a part of
 * the event that is being applied, without an event of its own; `rebuilding` does nothing, since the stream has the event.
 */
export type AggregateMode = 'live' | 'applying' | 'rebuilding'

/** An aggregate's identity, position and pending events. */
export interface AggregateRecord {
  readonly id: string
  readonly createdOn: Timestamp
  /** The event that created it; one without data where it comes from a snapshot that does not need it. */
  creation: DomainEvent
  version: number
  modifiedOn: Timestamp
  pending: DomainEvent[]
  mode: AggregateMode
  /** The persons whose data are in its state. */
  subjects: ReadonlySet<string>
  /** Those of them whose data were stored, when it was loaded or by a save: they had keys. */
  shown: ReadonlySet<string>
}

/** A constructor that runs because of an event. */
export interface Construction {
  /** The class that `new` names, not one of its bases. */
  readonly newTarget: NewableFunction
  /** The event that creates the aggregate: new, or stored and now repeated. */
  readonly event: DomainEvent
  /** What event methods do while the constructor runs. */
  mode: AggregateMode
  /** Whether the decorated constructor has begun. */
  isOwned: boolean
  /** Whether the base class has used it. */
  isTaken: boolean
  /** An aggregate that the constructor is to run on once more, instead of on a new one. */
  readonly onto?: object
}

let current: Construction | undefined

/** Runs a constructor on behalf of an event; constructions nest. */
export function constructBy<A>(
  given: Pick<Construction, 'newTarget' | 'event' | 'mode' | 'onto'>,
  run: (construction: Construction) => A,
): A {
  const outer = current
  const construction = { ...given, isOwned: false, isTaken: false }
  current = construction
  try {
    return run(construction)
  } finally {
    current = outer
  }
}

/** The construction that has begun for this class and has not reached the base class yet. */
export function openConstruction(newTarget: NewableFunction): Construction | undefined {
  return current !== undefined && current.newTarget === newTarget && !current.isTaken ? current : undefined
}

/** Makes the record of an aggregate that the given event creates. */
export function recordFor(event: DomainEvent, mode: AggregateMode): AggregateRecord {
  const { originatorId, originatorVersion, timestamp } = event
  return {
    id: originatorId,
    createdOn: timestamp,
    creation: event,
    modifiedOn: timestamp,
    version: originatorVersion,
    pending: [],
    mode,
    subjects: event.personal === undefined ? noSubjects : withSubjects(noSubjects, event.personal),
    shown: noSubjects,
  }
}

/** What the one who creates an aggregate decides. */
export interface Creation {
  readonly eventName: string
  /** The result of `createId`. */
  readonly originatorId: unknown
  readonly data: DomainEvent['data']
  readonly timestamp?: Date | undefined
  readonly metadata?: EventMetadata | undefined
}

/**
 * Makes the event that creates an aggregate of a class.
 *
 * @throws `TypeError` when the id is not a text, e.g. because `createId` is asynchronous; what `newEvent` throws
 */
export function creationEvent(events: AggregateEvents, creation: Creation): DomainEvent {
  return newEvent(events, {
    ...creation,
    originatorId: checkId(creation.originatorId, events.className),
    originatorVersion: events.initialVersion,
    originatorTopic: events.topic,
  })
}

/** What the class's `createId` gives for these arguments, or a random UUID where it has none. */
export function newId(newTarget: NewableFunction, args: readonly unknown[]): unknown {
  const createId: unknown = Reflect.get(newTarget, 'createId')
  if (createId === undefined) {
    if (!Reflect.has(newTarget.prototype as object, 'createId')) return randomId()
    throw new TypeError(`${newTarget.name}.createId must be static: there is no aggregate yet when the id is made`)
  }
  if (typeof createId !== 'function') throw new TypeError(`${newTarget.name}.createId must be a static method`)
  return Reflect.apply(createId, newTarget, args)
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
