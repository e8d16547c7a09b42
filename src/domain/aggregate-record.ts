/** What an aggregate knows about itself beside its state, and how a constructor that is running gets it. */
import type { DomainEvent } from './event.js'
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
