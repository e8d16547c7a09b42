/** The state of an aggregate apart from the aggregate: taken out of one, and put into a new one. */
import { Aggregate, type AggregateClass, type SnapshotState, tryRecordOf } from './aggregate.js'
import { eventsOf } from './aggregate-events.js'
import { constructBy, constructionOf } from './aggregate-record.js'
import type { DomainEvent } from './event.js'
import { argumentsOfEvent } from './event-data.js'
import type { Timestamp } from './timestamp.js'
import { upcastEvent } from './upcasting.js'

/** Everything that an aggregate is, but for its pending events. */
export interface WholeState {
  /** The event that created it; only its id and time count where the class does not keep its state by itself. */
  readonly creation: DomainEvent
  readonly version: number
  readonly modifiedOn: Timestamp
  /** The persons whose data are in the state. */
  readonly subjects: ReadonlySet<string>
  /** Its own members, or what `snapshotState` gives. */
  readonly state: object
}

/** Whether a class keeps its state by `snapshotState` and `restoreState`. */
export function keepsOwnState(prototype: object): prototype is SnapshotState {
  const { snapshotState, restoreState } = prototype as Partial<SnapshotState>
  if (snapshotState === undefined && restoreState === undefined) return false
  if (snapshotState !== undefined && restoreState !== undefined) return true
  throw new TypeError(
    `${prototype.constructor.name} has one of snapshotState() and restoreState(state): it needs both, or none`,
  )
}

/** The state of an aggregate, sharing everything with it. @throws `TypeError` for a class with one of the two methods */
export function stateOf(aggregate: Aggregate<object>): object {
  return keepsOwnState(aggregate) ? aggregate.snapshotState() : Object.assign({}, aggregate)
}

/**
 * Makes an aggregate that has a state. For a class that keeps its state by itself the constructor runs again, so that
 * private members exist; for others only that of the base class does.
 */
export function aggregateWith(aggregateClass: AggregateClass, whole: WholeState): Aggregate<object> {
  const isOwn = keepsOwnState(aggregateClass.prototype as object)
  const args = isOwn ? constructorArguments(aggregateClass, whole.creation) : []
  // The base class makes an object of the class that is named last.
  const construct = (): unknown => Reflect.construct(isOwn ? aggregateClass : Aggregate, args, aggregateClass)
  const construction = constructionOf(aggregateClass, whole.creation, 'rebuilding')
  const aggregate = constructBy(construction, construct) as Aggregate<object>
  const record = tryRecordOf(aggregate)
  if (record === undefined) throw new TypeError(`${aggregateClass.name} does not extend Aggregate`)
  record.version = whole.version
  record.modifiedOn = whole.modifiedOn
  record.subjects = whole.subjects
  record.shown = whole.subjects
  record.mode = 'live'
  if (keepsOwnState(aggregate))
    aggregate.restoreState(whole.state as never) // the class's own shape
  else Object.assign(aggregate, whole.state)
  return aggregate
}

/** The arguments with which the event that created an aggregate calls its constructor again. */
export function constructorArguments(aggregateClass: AggregateClass, event: DomainEvent): unknown[] {
  const events = eventsOf(aggregateClass.prototype as object)
  if (events.creation === undefined) return []
  const { data, timestamp } = upcastEvent(event, events.upcastsOf(events.creation.name))
  return argumentsOfEvent(events.creation.parameterNames, data, timestamp)
}
