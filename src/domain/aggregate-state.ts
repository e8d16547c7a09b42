/** The state of an aggregate apart from the aggregate: taken out of one, and put into a new one. */
import { Aggregate, type AggregateClass, type SnapshotState, tryRecordOf } from './aggregate.js'
import { eventsOf } from './aggregate-events.js'
import { constructBy, constructionOf } from './aggregate-record.js'
import { argumentsOfEvent, type DomainEvent } from './event.js'
import { upcastEvent } from './event-shapes.js'
import type { Timestamp } from './timestamp.js'

/** Everything that an aggregate is, but for its pending events. */
interface WholeState {
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
function constructorArguments(aggregateClass: AggregateClass, event: DomainEvent): unknown[] {
  const events = eventsOf(aggregateClass.prototype as object)
  if (events.creation === undefined) return []
  const { data, timestamp } = upcastEvent(event, events.upcastsOf(events.creation.name))
  return argumentsOfEvent(events.creation.parameterNames, data, timestamp)
}

const checked = new WeakSet<object>()

/**
 * Checks, once for a class, that its aggregates can be made again of what is seen of them from outside.
 *
 * @throws `TypeError` for one with `#private` members that does not have `snapshotState()` and `restoreState(state)`
 */
export function assertVisible(aggregate: Aggregate<object>): void {
  const prototype: object = Object.getPrototypeOf(aggregate)
  const creation = tryRecordOf(aggregate)?.creation
  // One that came from a snapshot does not know how it was created, and another of its class was checked before that was taken.
  if (checked.has(prototype) || creation === undefined || creation.topic === '') return
  const aggregateClass = aggregate.constructor as AggregateClass // of an aggregate
  if (!keepsOwnState(prototype) && hasPrivateMembers(aggregateClass, creation)) {
    throw new TypeError(
      `${eventsOf(prototype).className} has #private members, which snapshots and caches cannot see: give it snapshotState() ` +
        'and restoreState(state), or make them protected',
    )
  }
  checked.add(prototype)
}

/**
 * Private members cannot be looked for, but they cannot be added to one object twice either: so the constructor runs a second
 * time on the same aggregate, which nobody else has. Code that was compiled to WeakMaps without a check, as by tsc for targets
 * before ES2022, gives no sign.
 */
function hasPrivateMembers(
  aggregateClass: AggregateClass,
  creation: Parameters<typeof constructorArguments>[1],
): boolean {
  const args = constructorArguments(aggregateClass, creation)
  const construct = (onto?: object): object => {
    const construction = constructionOf(aggregateClass, creation, 'rebuilding')
    const run = (): object => Reflect.construct(aggregateClass, args) as object
    return constructBy(onto === undefined ? construction : { ...construction, onto }, run)
  }
  const aggregate = construct()
  try {
    construct(aggregate)
  } catch (error) {
    return error instanceof TypeError && /private|#/.test(error.message)
  }
  return false
}
