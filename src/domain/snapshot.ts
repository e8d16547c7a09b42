/** Snapshots: the state of an originator at a version, kept so that the events before it need not be read. */
import { Aggregate, type AggregateClass, isAggregate, type SnapshotState, tryRecordOf } from './aggregate.js'
import { eventsOf } from './aggregate-events.js'
import { constructBy, constructionOf } from './aggregate-record.js'
import type { Decider, DeciderState } from './decider.js'
import { type DomainEvent, domainEvent } from './event.js'
import { argumentsOfEvent, pinned } from './event-data.js'
import { createTimestamp, Timestamp } from './timestamp.js'
import { isTopicOf, type TopicOwner } from './topic.js'
import { upcastData, upcastEvent, writtenVersion } from './upcasting.js'

/** What can have snapshots. */
export type SnapshotKind = AggregateClass | Decider<unknown, object, object>

/** An originator that a snapshot is taken of, and made from one. */
export type Snapshotted = Aggregate<object> | DeciderState<unknown>

/** The topic of all snapshots; the Python library, which can read them, has the same. */
const snapshotTopic = 'eventsourcing.domain:Snapshot'

/** A state that is no object, such as a decider's number, is kept under this name. */
const wholeState = '_state'

/**
 * Takes a snapshot, as an event for the store of snapshots. It shares no arrays and plain objects with the originator.
 *
 * @throws `TypeError` for an aggregate that has `snapshotState()` and no `restoreState(state)`
 */
export function takeSnapshot(kind: SnapshotKind, originator: Snapshotted): DomainEvent {
  const { upcasts, revision } = kind.snapshots ?? {}
  const classVersion = writtenVersion(upcasts)
  const state = {
    ...(isAggregate(originator) ? stateOfAggregate(originator) : stateOfDecider(originator)),
    ...(classVersion === undefined ? {} : { class_version: classVersion }),
  }
  const { topic } = ownerOf(kind)
  return domainEvent({
    originatorId: originator.id,
    originatorVersion: originator.version,
    topic: snapshotTopic,
    timestamp: createTimestamp(),
    data: { topic, state: pinned(state), ...(revision === undefined ? {} : { revision }) },
  })
}

/**
 * Makes the originator that a snapshot was taken of.
 *
 * @param stored - as it was read from the store of snapshots; it is used up
 * @returns undefined when the snapshot is not good for this kind: of another topic or revision, written by a newer program,
 *   or by the other style without what this one needs. The events tell the same.
 */
export function restoreSnapshot(kind: SnapshotKind, stored: DomainEvent): Snapshotted | undefined {
  const { topic, state, revision } = stored.data
  const { revision: expected, upcasts = [] } = kind.snapshots ?? {}
  if (!isTopicOf(ownerOf(kind), topic) || revision !== expected || !isRecord(state)) return undefined
  const { class_version: version = 1, ...fields } = state
  if (typeof version !== 'number' || version < 1 || version > upcasts.length + 1) return undefined
  const present = upcastData(fields, upcasts.slice(version - 1), `the snapshots of ${ownerOf(kind).topic}`)
  return typeof kind === 'function' ? restoreAggregate(kind, stored, present) : restoreDecider(stored, present)
}

function ownerOf(kind: SnapshotKind): TopicOwner {
  if (typeof kind === 'function') return eventsOf(kind.prototype as object)
  return { topic: kind.name, formerTopics: kind.formerTopics }
}

function stateOfAggregate(aggregate: Aggregate<object>): object {
  const times = { _created_on: aggregate.createdOn, _modified_on: aggregate.modifiedOn }
  const { snapshotState, restoreState } = aggregate as Partial<SnapshotState>
  if (snapshotState === undefined) return Object.assign(times, aggregate)
  if (restoreState === undefined) {
    throw new TypeError(
      `Cannot take a snapshot of ${aggregate.constructor.name} ${aggregate.id}: it has snapshotState() and no restoreState(state)`,
    )
  }
  const { topic, originatorVersion, data, classVersion } = tryRecordOf(aggregate)?.creation ?? {}
  const creation = { topic, originatorVersion, data, classVersion }
  return { ...times, _creation: creation, ...Reflect.apply(snapshotState, aggregate, []) }
}

function stateOfDecider({ state }: DeciderState<unknown>): object {
  return isRecord(state) ? state : { [wholeState]: state }
}

function restoreAggregate(
  aggregateClass: AggregateClass,
  { originatorId, originatorVersion }: DomainEvent,
  present: Readonly<Record<string, unknown>>,
): Aggregate<object> | undefined {
  const { _created_on: createdOn, _modified_on: modifiedOn, _creation: creation, ...state } = present
  if (!(createdOn instanceof Timestamp) || !(modifiedOn instanceof Timestamp)) return undefined
  const { restoreState } = aggregateClass.prototype as Partial<SnapshotState>
  if ((restoreState === undefined) !== (creation === undefined)) return undefined
  const event = domainEvent({
    ...(isRecord(creation) ? creation : { originatorVersion: 1, topic: '', data: {} }),
    originatorId,
    timestamp: createdOn,
  } as DomainEvent) // a creation was written by `stateOfAggregate`
  const aggregate = restoreState === undefined ? bare(aggregateClass, event) : constructedAgain(aggregateClass, event)
  const record = tryRecordOf(aggregate)
  if (record === undefined) return undefined
  record.version = originatorVersion
  record.modifiedOn = modifiedOn
  record.mode = 'live'
  if (restoreState === undefined) Object.assign(aggregate, state)
  else Reflect.apply(restoreState, aggregate, [state])
  return aggregate
}

/** An aggregate without any state: only the constructor of the base class runs. */
function bare(aggregateClass: AggregateClass, event: DomainEvent): Aggregate<object> {
  const construct = (): Aggregate<object> => Reflect.construct(Aggregate, [], aggregateClass) as Aggregate<object>
  return constructBy(constructionOf(aggregateClass, event, 'rebuilding'), construct)
}

/** An aggregate as it was when it was new. */
function constructedAgain(aggregateClass: AggregateClass, event: DomainEvent): Aggregate<object> {
  const events = eventsOf(aggregateClass.prototype as object)
  const { creation } = events
  const { data } = upcastEvent(event, events.upcastsOf(events.nameOf(event.topic) ?? ''))
  const args = creation === undefined ? [] : argumentsOfEvent(creation.parameterNames, data, event.timestamp)
  const construct = (): Aggregate<object> => Reflect.construct(aggregateClass, args) as Aggregate<object>
  return constructBy(constructionOf(aggregateClass, event, 'rebuilding'), construct)
}

function restoreDecider(
  { originatorId, originatorVersion }: DomainEvent,
  present: Readonly<Record<string, unknown>>,
): DeciderState<unknown> | undefined {
  const { _created_on: _created, _modified_on: _modified, _creation: creation, ...fields } = present
  if (creation !== undefined) return undefined
  const state = Object.hasOwn(fields, wholeState) ? fields[wholeState] : fields
  return Object.freeze({ id: originatorId, version: originatorVersion, state })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
