/** Snapshots, which are the states of originators at a version, and copies of originators, which share nothing that can change; with what an aggregate is apart from itself. */

import { Aggregate, type AggregateClass, isAggregate, type SnapshotState, tryRecordOf } from './aggregate.js'
import { eventsOf } from './aggregate-events.js'
import { constructBy } from './aggregate-record.js'
import { type Decider, type DeciderState, knownSubjects, withShownSubjects } from './decider.js'
import { argumentsOfEvent, type DomainEvent, domainEvent, isEnded, markEnded } from './event.js'
import { upcastData, upcastEvent, writtenVersion } from './event-shapes.js'
import { copied, isPlainObject, pinnedState, valueTypeOf } from './kept-values.js'
import { isTopicOf, type TopicOwner } from './names.js'
import { noSubjects, withSubjects } from './personal-data.js'
import { createTimestamp, Timestamp } from './timestamp.js'

/** What can have snapshots. */
export type SnapshotKind = AggregateClass | Decider<unknown, object, object>

/** An originator that a snapshot is taken of, and made from one. */
export type Snapshotted = Aggregate<object> | DeciderState<unknown>

/** The topic of all snapshots; the Python library, which can read them, has the same. */
const snapshotTopic = 'eventsourcing.domain:Snapshot'

/** A state that is no object, such as a decider's number, is kept under this name. */
const wholeState = '_state'

/** Says that the state is undefined, which nothing can be stored as. */
const noState = '_no_state'

/**
 * Takes a snapshot, as an event for the store of snapshots. It shares no arrays and plain objects with the originator. Its
 * state as a whole is personal data of everybody whose data the originator knows.
 *
 * @throws `DataError` for a state with a value that could not be read again, `TranscodingNotRegisteredError` for one of an unknown type
 * @throws `TypeError` for an aggregate that has one of `snapshotState()` and `restoreState(state)`, or none of them and `#private`
 *   members
 */
export function takeSnapshot(kind: SnapshotKind, originator: Snapshotted): DomainEvent {
  const { upcasts, revision } = kind.snapshots ?? {}
  const classVersion = writtenVersion(upcasts)
  const { topic } = ownerOf(kind)
  const { id: originatorId, version: originatorVersion } = originator
  const attempted = (): string => `take a snapshot of ${topic} ${originatorId}, version ${originatorVersion}`
  const { times, fields } = isAggregate(originator) ? stateOfAggregate(originator) : stateOfDecider(originator)
  const state = Object.freeze({
    ...times,
    ...pinnedState(fields, attempted),
    ...(classVersion === undefined ? {} : { class_version: classVersion }),
  })
  const subjects = [...subjectsIn(originator)].sort()
  return domainEvent({
    originatorId,
    originatorVersion,
    topic: snapshotTopic,
    timestamp: createTimestamp(),
    data: { topic, state, ...(revision === undefined ? {} : { revision }) },
    ...(subjects.length === 0 ? {} : { personal: { state: subjects } }),
  })
}

/**
 * Makes the originator that a snapshot was taken of.
 *
 * @param stored - as it was read from the store of snapshots; it is used up
 * @returns undefined when the snapshot is not good for this kind: of another topic or revision, written by a newer program,
 *   by the other style without what this one needs, or erased with somebody's data. The events tell the same.
 */
export function restoreSnapshot(kind: SnapshotKind, stored: DomainEvent): Snapshotted | undefined {
  const { topic, state, revision } = stored.data
  const { revision: expected, upcasts = [] } = kind.snapshots ?? {}
  if (!isTopicOf(ownerOf(kind), topic) || revision !== expected || !isPlainObject(state)) return undefined
  const { class_version: version = 1, ...fields } = state
  if (typeof version !== 'number' || version < 1 || version > upcasts.length + 1) return undefined
  const present = upcastData(fields, upcasts.slice(version - 1), `the snapshots of ${ownerOf(kind).topic}`)
  return typeof kind === 'function' ? restoreAggregate(kind, stored, present) : restoreDecider(stored, present)
}

/** The persons whose data are in the state of an originator. */
export function subjectsIn(originator: Snapshotted): ReadonlySet<string> {
  return isAggregate(originator) ? (tryRecordOf(originator)?.subjects ?? noSubjects) : knownSubjects(originator)
}

function ownerOf(kind: SnapshotKind): TopicOwner {
  if (typeof kind === 'function') return eventsOf(kind.prototype as object)
  return { topic: kind.name, formerTopics: kind.formerTopics }
}

/** What a snapshot keeps of an originator. */
interface KeptState {
  /** Its times, which stay timestamps. */
  readonly times?: object
  readonly fields: object
}

function stateOfAggregate(aggregate: Aggregate<object>): KeptState {
  assertVisible(aggregate)
  const times = { _created_on: aggregate.createdOn, _modified_on: aggregate.modifiedOn }
  const state = stateOf(aggregate)
  if (!keepsOwnState(aggregate)) return { times, fields: state }
  const { topic, originatorVersion, data, classVersion } = tryRecordOf(aggregate)?.creation ?? {}
  return { times: { ...times, _creation: { topic, originatorVersion, data, classVersion } }, fields: state }
}

function stateOfDecider({ state }: DeciderState<unknown>): KeptState {
  if (state === undefined) return { fields: { [noState]: true } }
  return { fields: isPlainObject(state) ? state : { [wholeState]: state } }
}

function restoreAggregate(
  aggregateClass: AggregateClass,
  { originatorId, originatorVersion, personal }: DomainEvent,
  present: Readonly<Record<string, unknown>>,
): Aggregate<object> | undefined {
  const { _created_on: createdOn, _modified_on: modifiedOn, _creation: creation, ...state } = present
  if (!(createdOn instanceof Timestamp) || !(modifiedOn instanceof Timestamp)) return undefined
  if (keepsOwnState(aggregateClass.prototype as object) !== (creation !== undefined)) return undefined
  const created = domainEvent({
    ...(isPlainObject(creation) ? creation : { originatorVersion: 1, topic: '', data: {} }),
    originatorId,
    timestamp: createdOn,
  } as DomainEvent) // a creation was written by `stateOfAggregate`
  const subjects = withSubjects(noSubjects, personal)
  return aggregateWith(aggregateClass, {
    creation: created,
    version: originatorVersion,
    modifiedOn,
    subjects,
    state: copied(state) as object,
  }) // of the same shape
}

function restoreDecider(
  { originatorId, originatorVersion, personal }: DomainEvent,
  present: Readonly<Record<string, unknown>>,
): DeciderState<unknown> | undefined {
  const { _created_on: _created, _modified_on: _modified, _creation: creation, ...fields } = present
  if (creation !== undefined) return undefined
  const whole = fields[noState] === true ? undefined : fields
  const state = Object.hasOwn(fields, wholeState) ? fields[wholeState] : whole
  return withShownSubjects(
    Object.freeze({ id: originatorId, version: originatorVersion, state: copied(state) }),
    withSubjects(noSubjects, personal),
  )
}

/**
 * Copies an originator, without its pending events.
 *
 * Copied are arrays, maps, sets, dates, typed arrays, plain objects and instances of classes, at any depth, also in circles.
 * Instances with a transcoding are made again by it, frozen instances of classes are shared. The state of an aggregate that has `snapshotState` and `restoreState` is copied by them.
 *
 * @returns undefined for a state with a function in it, which would still be about the original
 * @throws `TypeError` for one with `#private` members that does not keep its state by itself
 */
export function copyOriginator(originator: Snapshotted): Snapshotted | undefined {
  const copy = copyOf(originator)
  if (copy !== undefined && isEnded(originator)) markEnded(copy)
  return copy
}

function copyOf(originator: Snapshotted): Snapshotted | undefined {
  if (!isAggregate(originator)) return copyOfState(originator)
  const record = tryRecordOf(originator)
  if (record === undefined) return undefined
  assertVisible(originator)
  const { creation, version, modifiedOn, subjects } = record
  const copier = new Copier()
  const state = copier.copy(stateOf(originator)) as object // as what it is a copy of
  if (copier.hasFailed) return undefined
  const aggregateClass = originator.constructor as AggregateClass // of an aggregate
  return aggregateWith(aggregateClass, { creation, version, modifiedOn, subjects, state })
}

function copyOfState(originator: DeciderState<unknown>): DeciderState<unknown> | undefined {
  const { id, version } = originator
  const copier = new Copier()
  const state = copier.copy(originator.state)
  if (copier.hasFailed) return undefined
  return withShownSubjects(Object.freeze({ id, version, state }), knownSubjects(originator))
}

// What is frozen may hold what is not.
function isContainer(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

/** Copies a graph of values; each object once. */
class Copier {
  hasFailed = false
  readonly #copies = new Map<object, object>()

  copy(value: unknown): unknown {
    if (typeof value === 'function') this.hasFailed = true
    if (typeof value !== 'object' || value === null) return value
    const known = this.#copies.get(value)
    if (known !== undefined) return known
    if (value instanceof Timestamp || (Object.isFrozen(value) && !isContainer(value))) return value
    return this.#copyObject(value)
  }

  #copyObject(value: object): unknown {
    if (value instanceof Date) return new Date(value)
    if (Buffer.isBuffer(value)) return Buffer.from(value)
    if (ArrayBuffer.isView(value)) return structuredClone(value)
    const type = isContainer(value) ? undefined : valueTypeOf(value)
    if (type !== undefined) return type.isImmutable === true ? value : type.decode(this.copy(type.encode(value)))
    if (Array.isArray(value)) return this.#filled(value, [])
    if (value instanceof Map) {
      const copy = this.#remembered(value, new Map<unknown, unknown>())
      for (const [key, member] of value) copy.set(this.copy(key), this.copy(member))
      return copy
    }
    if (value instanceof Set) {
      const copy = this.#remembered(value, new Set<unknown>())
      for (const member of value) copy.add(this.copy(member))
      return copy
    }
    return this.#filled(value, Object.create(Object.getPrototypeOf(value) as object | null) as object)
  }

  #filled(value: object, copy: object): object {
    this.#remembered(value, copy)
    for (const key of Reflect.ownKeys(value)) {
      const descriptor = Object.getOwnPropertyDescriptor(value, key)
      if (descriptor === undefined) continue
      if ('value' in descriptor) descriptor.value = this.copy(descriptor.value)
      else this.hasFailed = true
      Object.defineProperty(copy, key, descriptor)
    }
    return copy
  }

  #remembered<Copy extends object>(value: object, copy: Copy): Copy {
    this.#copies.set(value, copy)
    return copy
  }
}

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
function aggregateWith(aggregateClass: AggregateClass, whole: WholeState): Aggregate<object> {
  const isOwn = keepsOwnState(aggregateClass.prototype as object)
  const args = isOwn ? constructorArguments(aggregateClass, whole.creation) : []
  // The base class makes an object of the class that is named last.
  const construct = (): unknown => Reflect.construct(isOwn ? aggregateClass : Aggregate, args, aggregateClass)
  const given = { newTarget: aggregateClass, event: whole.creation, mode: 'rebuilding' } as const
  const aggregate = constructBy(given, construct) as Aggregate<object>
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
function assertVisible(aggregate: Aggregate<object>): void {
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
    const given = { newTarget: aggregateClass, event: creation, mode: 'rebuilding' } as const
    const run = (): object => Reflect.construct(aggregateClass, args) as object
    return constructBy(onto === undefined ? given : { ...given, onto }, run)
  }
  const aggregate = construct()
  try {
    construct(aggregate)
  } catch (error) {
    return error instanceof TypeError && /private|#/.test(error.message)
  }
  return false
}
