/** Rebuilding: an aggregate from its stored events, for a repository; and new lives in the stream of one that has ended. */
import { OriginatorIdError, OriginatorVersionError, TopicError } from '../errors.js'
import { type Aggregate, type AggregateClass, tryRecordOf } from './aggregate.js'
import { type AggregateEvents, defaultCreationName, type EventHandler, eventsOf } from './aggregate-events.js'
import { type AggregateRecord, constructBy } from './aggregate-record.js'
import { type Decider, type DeciderState, initial } from './decider.js'
import { argumentsOfEvent, type DomainEvent, domainEvent, isEnded, markEnded } from './event.js'
import { type PresentShape, presentEvent, shapeOf } from './event-shapes.js'
import { withSubjects } from './personal-data.js'

/**
 * Rebuilds an aggregate from its events. Nothing is triggered by it: there are no pending events.
 *
 * @param aggregateClass - the class whose events these are
 * @param events - of one originator, oldest first, from the event that created it
 * @param begun - what the events before these were rebuilt to; it is changed
 * @returns undefined when there are no events
 * @throws `TopicError` when an event is unknown to the class, or the first one does not create an aggregate
 * @throws `OriginatorVersionError` for a gap, a repetition or a first event that is not the first of its stream
 * @throws `OriginatorIdError` for an event of another originator
 * @throws `EventDataError` for data that the event's definition refuses, where it judges what was stored
 */
export function rebuild<A extends Aggregate<object>>(
  aggregateClass: AggregateClass<A>,
  events: Iterable<DomainEvent>,
  begun?: A,
): A | undefined {
  let aggregate = begun
  let applied: AppliedTo | undefined
  for (const event of events) {
    if (aggregate === undefined) aggregate = constructFrom(aggregateClass, event)
    else if (isEnded(aggregate) && beginsLife(aggregate, event)) {
      aggregate = constructFrom(aggregateClass, event, aggregate.version + 1)
      applied = undefined
    } else {
      applied ??= { aggregate, record: recordOf(aggregate), events: eventsOf(Object.getPrototypeOf(aggregate)) }
      applyEvent(applied, event)
    }
  }
  return aggregate
}

/** What is the same for all events that are applied to one aggregate. */
interface AppliedTo {
  readonly aggregate: Aggregate<object>
  readonly record: AggregateRecord
  readonly events: AggregateEvents
}

/**
 * Brings an aggregate one event further, with an event that was stored before.
 *
 * Version and `modifiedOn` change after the event's body has run: where the body throws, they stay.
 *
 * @throws `OriginatorIdError` for an event of another originator
 * @throws `OriginatorVersionError` unless the event's version is the aggregate's plus 1
 * @throws `TopicError` when the aggregate's class has no such event
 */
function applyEvent({ aggregate, record, events }: AppliedTo, event: DomainEvent): void {
  assertOwn(record, event, events)
  checkVersion(event, record.version + 1, events)
  const { handler, shape, ends } = appliedEvent(events, event)
  const { data, timestamp } = presentEvent(event, shape)
  record.mode = 'applying'
  try {
    handler.apply(aggregate, data, timestamp)
  } finally {
    record.mode = 'live'
  }
  record.version = event.originatorVersion
  record.modifiedOn = event.timestamp
  if (event.personal !== undefined) {
    record.subjects = withSubjects(record.subjects, event.personal)
    record.shown = withSubjects(record.shown, event.personal)
  }
  if (ends) markEnded(aggregate)
}

/** What a class does with the events of a topic. */
interface AppliedEvent {
  readonly handler: EventHandler
  readonly shape: PresentShape
  readonly ends: boolean
}

const appliedEvents = new WeakMap<AggregateEvents, Map<string, AppliedEvent>>()

/** Looked up once for a class and a topic. */
function appliedEvent(events: AggregateEvents, event: DomainEvent): AppliedEvent {
  let byTopic = appliedEvents.get(events)
  if (byTopic === undefined) appliedEvents.set(events, (byTopic = new Map()))
  const known = byTopic.get(event.topic)
  if (known !== undefined) return known
  const name = nameOf(events, event)
  const handler = events.handlers.get(name)
  if (handler === undefined) {
    throw new TopicError(
      `Cannot apply ${event.topic}, version ${event.originatorVersion} of ${event.originatorId}: it creates a ${events.className}, and this one exists`,
    )
  }
  const applied = { handler, shape: shapeOf(events, name), ends: events.endings.has(name) }
  byTopic.set(event.topic, applied)
  return applied
}

/** @param version - of the event: that of a first event, unless a life has ended before it */
function constructFrom<A extends Aggregate<object>>(
  aggregateClass: AggregateClass<A>,
  stored: DomainEvent,
  version?: number,
): A {
  const events = eventsOf(aggregateClass.prototype as object)
  const name = nameOf(events, stored)
  const event = presentEvent(stored, shapeOf(events, name))
  checkVersion(event, version ?? events.initialVersion, events)
  if (events.constructorProblem !== undefined) throw new TypeError(events.constructorProblem)
  const { creation } = events
  const handler = events.handlers.get(name)
  if (!creates(events, name)) {
    throw new TopicError(
      `Cannot rebuild ${events.className} ${event.originatorId}: its first event is ${event.topic}, which does not create one`,
    )
  }
  const args = creation === undefined ? [] : argumentsOfEvent(creation.parameterNames, event.data, event.timestamp)
  const aggregate = constructBy(
    { newTarget: aggregateClass, event, mode: handler === undefined ? 'rebuilding' : 'applying' },
    () => Reflect.construct(aggregateClass, args) as A, // what `new` of it gives
  )
  handler?.apply(aggregate, event.data, event.timestamp)
  const record = recordOf(aggregate)
  record.mode = 'live'
  record.shown = record.subjects
  if (events.endings.has(name)) markEnded(aggregate)
  return aggregate
}

/** Whether an event creates the aggregate anew that has ended. @throws `OriginatorIdError` for an event of another originator */
function beginsLife(ended: Aggregate<object>, event: DomainEvent): boolean {
  const events = eventsOf(Object.getPrototypeOf(ended))
  assertOwn(recordOf(ended), event, events)
  return creates(events, nameOf(events, event))
}

/** Whether the event of this name is one that can create an aggregate. */
function creates({ creation, handlers }: AggregateEvents, name: string): boolean {
  return creation === undefined ? handlers.has(name) || name === defaultCreationName : name === creation.name
}

function assertOwn(
  record: AggregateRecord,
  { topic, originatorId }: DomainEvent,
  { className }: AggregateEvents,
): void {
  if (originatorId === record.id) return
  throw new OriginatorIdError(
    `Cannot apply ${topic} of ${originatorId} to ${className} ${record.id}: read the events of one originator`,
  )
}

function recordOf(aggregate: object): AggregateRecord {
  const record = tryRecordOf(aggregate)
  if (record === undefined)
    throw new TypeError(`Expected an aggregate: ${aggregate.constructor.name} does not extend Aggregate`)
  return record
}

function nameOf(events: AggregateEvents, event: DomainEvent): string {
  const name = events.nameOf(event.topic)
  if (name !== undefined) return name
  throw new TopicError(
    `${events.className} has no event for the topic '${event.topic}', version ${event.originatorVersion} of ` +
      `${event.originatorId}: give the class that event, or a static formerTopics that names what it is called now`,
  )
}

function checkVersion(event: DomainEvent, expected: number, { className }: AggregateEvents): void {
  if (event.originatorVersion === expected) return
  throw new OriginatorVersionError(
    `Cannot apply ${event.topic} as version ${event.originatorVersion} of ${className} ${event.originatorId}: ` +
      `the next version is ${expected}`,
  )
}

/**
 * Lets an aggregate that was made just now begin after the events of a former life: its pending events follow those.
 *
 * @param version - of the event that has ended it
 */
export function beginAfter(aggregate: Aggregate<object>, version: number): void {
  const record = tryRecordOf(aggregate)
  if (record === undefined || record.pending[0] !== record.creation) return
  const moved = version + 1 - record.creation.originatorVersion
  record.pending = record.pending.map((event) =>
    domainEvent({ ...event, originatorVersion: event.originatorVersion + moved }),
  )
  record.creation = record.pending[0] ?? record.creation
  record.version += moved
}

/** Whether an aggregate was made just now, and none of its events has been collected. */
export function isNew(aggregate: Aggregate<object>): boolean {
  const record = tryRecordOf(aggregate)
  return record !== undefined && record.pending[0] === record.creation
}

/** A decider's originator before the first event of a new life. @param version - of the event that has ended it */
export function initialAfter<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  id: string,
  version: number,
): DeciderState<State> {
  return Object.freeze({ ...initial(decider, id), version })
}
