/** The base class of aggregates: an id, a version, and the events that brought it there; a new event changes it, or, when it fails, nothing at all. */

import { type InspectOptions, inspect, isDeepStrictEqual } from 'node:util'
import {
  type AggregateEvents,
  type AggregateStatics,
  defaultCreationName,
  type EventHandler,
  eventsOf,
} from './aggregate-events.js'
import { type AggregateRecord, constructBy, openConstruction, recordFor } from './aggregate-record.js'
import {
  type DomainEvent,
  dataOfObject,
  type EventMetadata,
  endedError,
  type GivenData,
  givenTimestamp,
  isEnded,
  markEnded,
} from './event.js'
import type { DataArgument, EventDeclaration, EventDefinition } from './event-definition.js'
import { creationEvent, newEvent } from './event-shapes.js'
import { newId } from './names.js'
import { withSubjects } from './personal-data.js'
import type { Timestamp } from './timestamp.js'

/** The events of an aggregate that does not say what they are: any name, any object. */
export type AnyEvents = Record<string, object>

/** The events that a class of aggregates declares by `extends Aggregate<Events>`. */
export type EventsOf<A> = A extends Aggregate<infer Events> ? Events : never

/** The type of `static events`: one function per event, with the aggregate as `this` and the event's data. */
export type EventHandlers<A, Events extends object> = {
  readonly [Name in keyof Events]: (this: A, data: Events[Name]) => void
}

/** A class of aggregates, as `repository.get` and `rebuild` take it. */
export type AggregateClass<A extends Aggregate<object> = Aggregate<object>> = (abstract new (
  ...args: never[]
) => A) &
  AggregateStatics

/**
 * What an aggregate has whose state is more than its own public members, such as `#private` ones. Its snapshots keep what
 * `snapshotState` gives; to restore one, the constructor runs as it did at first, and then `restoreState`.
 */
export interface SnapshotState {
  /** The state, of values that can be stored. */
  snapshotState(): object
  /** Takes over a state. */
  restoreState(state: never): void
}

/** What can be decided about one event beside its data. */
export interface TriggerOptions {
  /** When it happened; default now. */
  readonly timestamp?: Date
  /** Facts about the event that are not its content. */
  readonly metadata?: EventMetadata
}

/** What can be decided about a new aggregate beside the data of its first event. */
export interface CreateOptions extends TriggerOptions {
  /** The id; default what the class's `createId` gives for the data. */
  readonly id?: string
}

/** Anything whose new events can be saved: an aggregate, or what a decider decided. */
export interface EventSource {
  /** Hands over the events that are not stored yet, oldest first. */
  collectEvents(): DomainEvent[]
}

/** What a field of a subclass must not hide: saves and snapshots rely on it. */
const hiddenMembers = ['id', 'version', 'createdOn', 'modifiedOn', 'pendingEvents']

let readRecord: (value: object) => AggregateRecord | undefined

/** The same in all copies of the package. */
const aggregateMark = Symbol.for('eventsourcing-prisma.aggregate')

/** Gives the record of an aggregate to the rest of the domain layer; undefined for anything else. */
export function tryRecordOf(value: unknown): AggregateRecord | undefined {
  return typeof value === 'object' && value !== null ? readRecord(value) : undefined
}

/**
 * The base class of aggregates. A subclass keeps its state in ordinary members and changes it in the bodies of its events:
 * methods decorated by `@event`, or the functions in `static events`.
 *
 * Its static members are those of `AggregateStatics`.
 *
 * Constructing a subclass triggers its first event: the one that `@event` on the class names, else `Created`. Rebuilding
 * runs the same constructor with the arguments in that event, so that `readonly` and `#private` members work. An event's
 * body, and the constructor, may call other events' methods: they then run as a part of it, without events of their own.
 *
 * @typeParam Events - for `static events`: the type of each event's data, by event name
 */
export abstract class Aggregate<Events extends object = AnyEvents> implements EventSource {
  /** Types only: no such member exists. */
  declare protected readonly eventTypes?: Events

  readonly #record: AggregateRecord

  static {
    readRecord = (value) => (#record in value ? value.#record : undefined)
    Object.defineProperty(this.prototype, aggregateMark, { value: true })
    // Not a method: declarations that are made file by file cannot name a member by this symbol.
    Object.defineProperty(this.prototype, inspect.custom, { value: shownInLogs })
  }

  /**
   * Creates an aggregate by one of `static events`: the constructor runs without arguments, then the event's body.
   *
   * @param name - the event
   * @param data - the event's data: a plain object
   * @throws whatever the body throws; `TypeError` when the class has no such event or its constructor has parameters;
   *   `EventDataError` for data that its definition refuses
   */
  static create<A extends Aggregate<object>, Name extends keyof EventsOf<A> & string>(
    this: new () => A,
    name: Name,
    data: EventsOf<A>[Name],
    options?: CreateOptions,
  ): A
  /** Creates an aggregate by an event that has a definition. */
  static create<A extends Aggregate<object>, Input extends object>(
    this: new () => A,
    definition: EventDefinition<string, Input, object>,
    ...given: [...data: DataArgument<Input>, options?: CreateOptions]
  ): A
  static create<A extends Aggregate<object>>(
    this: new () => A,
    declared: string | EventDeclaration,
    data: object = {},
    options: CreateOptions = {},
  ): A {
    const name = typeof declared === 'string' ? declared : declared.name
    const events = eventsOf(this.prototype as object)
    const handler = events.handlers.get(name)
    const label = `${events.className}.create('${name}')`
    if (handler === undefined) throw new TypeError(`${label} needs a body for that event in ${events.className}.events`)
    if (events.creation !== undefined) throw new TypeError(`${label}: the class has a decorated constructor, use 'new'`)
    if (events.constructorProblem !== undefined) throw new TypeError(events.constructorProblem)
    if (typeof declared !== 'string') assertDefined(events, declared)
    const given = dataOfObject(label, [data])
    const { timestamp, metadata } = options
    const originatorId = options.id ?? newId(this, [data])
    const event = creationEvent(events, {
      eventName: name,
      originatorId,
      timestamp: timestamp === undefined ? undefined : givenTimestamp(label, timestamp),
      metadata,
      data: given,
    })
    const aggregate = constructBy({ newTarget: this, event, mode: 'applying' }, () => new this())
    const record = aggregate.#record
    handler.apply(aggregate, event.data, event.timestamp)
    record.mode = 'live'
    record.pending.push(event)
    return aggregate
  }

  /** @throws `TypeError` when the constructor of the class has parameters that no event keeps; for the base class itself */
  constructor() {
    if (new.target === Aggregate) throw new TypeError('Aggregate is a base class: extend it')
    const construction = openConstruction(new.target)
    if (construction !== undefined) {
      construction.isTaken = true
      this.#record = recordFor(construction.event, construction.mode)
      if (construction.onto !== undefined) return construction.onto as this // made by the same class
      return
    }
    const events = eventsOf(new.target.prototype)
    if (events.constructorProblem !== undefined) throw new TypeError(events.constructorProblem)
    if (events.handlers.has(defaultCreationName)) {
      const { className } = events
      throw new TypeError(
        `${className} has its own event '${defaultCreationName}': use ${className}.create('${defaultCreationName}', …)`,
      )
    }
    const originatorId = newId(new.target, [])
    const event = creationEvent(events, { eventName: defaultCreationName, originatorId, data: Object.freeze({}) })
    this.#record = recordFor(event, 'live')
    this.#record.pending.push(event)
  }

  /** The id, the same as in all of the aggregate's events. */
  get id(): string {
    return this.#record.id
  }

  /** The version of the last event. */
  get version(): number {
    return this.#record.version
  }

  /** When the first event was triggered. */
  get createdOn(): Timestamp {
    return this.#record.createdOn
  }

  /** When the last event was triggered. */
  get modifiedOn(): Timestamp {
    return this.#record.modifiedOn
  }

  /** The events that were not collected yet, oldest first. */
  get pendingEvents(): readonly DomainEvent[] {
    return [...this.#record.pending]
  }

  /**
   * Hands over the pending events, oldest first, and forgets them.
   *
   * @throws `TypeError` where a field of the class hides a member of this one, which the compiler refuses as well
   */
  collectEvents(): DomainEvent[] {
    const hidden = hiddenMembers.find((name) => Object.hasOwn(this, name))
    if (hidden !== undefined) {
      const { className } = eventsOf(Object.getPrototypeOf(this))
      throw new TypeError(
        `${className} has a field '${hidden}', which every aggregate has already: give it another name`,
      )
    }
    const collected = this.#record.pending
    this.#record.pending = []
    this.#record.shown = this.#record.subjects
    return collected
  }

  /**
   * Whether the other is an aggregate of the same class with the same id, version, times, state and pending events.
   * `#private` members cannot be compared.
   */
  equals(other: unknown): boolean {
    if (this === other) return true
    if (typeof other !== 'object' || other === null || !(#record in other)) return false
    if (Object.getPrototypeOf(other) !== Object.getPrototypeOf(this)) return false
    const { mode: _ourMode, creation: _ours, shown: _oursShown, ...ours } = this.#record
    const { mode: _theirMode, creation: _theirs, shown: _theirsShown, ...theirs } = other.#record
    return isDeepStrictEqual(ours, theirs) && isDeepStrictEqual(Object.assign({}, this), Object.assign({}, other))
  }

  /**
   * Triggers one of `static events`, for classes without decorators.
   *
   * Within the body of an event this runs the other event's body only, and triggers nothing.
   *
   * @param name - the event
   * @param data - the event's data: a plain object; arrays and plain objects in it are copied
   * @throws whatever the event's body throws, with the aggregate as it was before; `TypeError` when there is no such event;
   *   `EventDataError` for data that its definition refuses
   */
  protected trigger<Name extends keyof Events & string>(name: Name, data: Events[Name], options?: TriggerOptions): void
  /** Triggers an event that has a definition. */
  protected trigger<Input extends object>(
    definition: EventDefinition<string, Input, object>,
    ...given: [...data: DataArgument<Input>, options?: TriggerOptions]
  ): void
  protected trigger(event: string | EventDeclaration, data: object = {}, options: TriggerOptions = {}): void {
    const name = typeof event === 'string' ? event : event.name
    const events = eventsOf(Object.getPrototypeOf(this))
    const handler = events.handlers.get(name)
    if (handler === undefined)
      throw new TypeError(`${events.className} cannot trigger '${name}': it has no event of that name`)
    const { label } = handler
    if (typeof event !== 'string') assertDefined(events, event)
    const given = dataOfObject(label, [data])
    const record = this.#record
    if (record.mode === 'rebuilding') return
    if (record.mode === 'applying') {
      // Not the time of now: the body must do the same when its event is applied again.
      handler.apply(this, given, record.modifiedOn)
      return
    }
    const { metadata } = options
    const timestamp = options.timestamp === undefined ? undefined : givenTimestamp(label, options.timestamp)
    triggerEvent(this, record, { handler, data: given, timestamp, metadata })
  }
}

/** @throws `TypeError` for a definition of the right name that is not the one that the class has */
function assertDefined(events: AggregateEvents, event: EventDeclaration): void {
  if (events.definitionOf(event.name) === event) return
  throw new TypeError(
    `${events.className} does not know this definition of '${event.name}': give it to @event or @applies, or name it in static definitions`,
  )
}

/** Whether a value is an aggregate, or the prototype of some, of another copy of this package. */
export function isOfAnotherCopy(value: object): boolean {
  return aggregateMark in value && !(value instanceof Aggregate)
}

/** Whether a value is an aggregate. */
export function isAggregate(value: unknown): value is Aggregate<object> {
  return tryRecordOf(value) !== undefined
}

/** Shows an aggregate in logs: class, id, version, times, then its own members. */
function shownInLogs(this: Aggregate<object>, depth: number, options: InspectOptions): string {
  const name = eventsOf(Object.getPrototypeOf(this)).className
  const record = tryRecordOf(this)
  if (record === undefined) return `[${name}.prototype]`
  const { id, version, createdOn, modifiedOn } = record
  if (depth < 0) return `[${name} ${id}]`
  const state: object = Object.assign({}, this)
  const shown = { id, version, createdOn: createdOn.iso, modifiedOn: modifiedOn.iso, ...state }
  return `${name} ${inspect(shown, { ...options, depth: options.depth === null ? null : depth })}`
}

/** A new event of an aggregate. */
interface NewEvent extends Pick<GivenData, 'data'> {
  readonly handler: EventHandler
  readonly timestamp?: Date | undefined
  readonly metadata?: EventMetadata | undefined
}

/**
 * Triggers an event: its handler changes the aggregate, then version and `modifiedOn` follow and the event is pending.
 *
 * @returns what the handler returned
 * @throws `AggregateEndedError` for one that an event has ended
 * @throws whatever the handler throws, with the aggregate as it was before; what `newEvent` throws
 */
export function triggerEvent(aggregate: object, record: AggregateRecord, given: NewEvent): unknown {
  const { handler, data, timestamp, metadata } = given
  const events = eventsOf(Object.getPrototypeOf(aggregate))
  if (isEnded(aggregate)) throw endedError(`trigger ${handler.label} of ${record.id}`)
  const event = newEvent(events, {
    eventName: handler.name,
    originatorId: record.id,
    originatorVersion: record.version + 1,
    data,
    timestamp,
    metadata,
  })
  const restore = rememberState(aggregate)
  record.mode = 'applying'
  let result: unknown
  try {
    result = handler.apply(aggregate, event.data, event.timestamp)
  } catch (error) {
    restore()
    throw error
  } finally {
    record.mode = 'live'
  }
  record.version = event.originatorVersion
  record.modifiedOn = event.timestamp
  if (event.personal !== undefined) record.subjects = withSubjects(record.subjects, event.personal)
  record.pending.push(event)
  if (events.endings.has(handler.name)) markEnded(aggregate)
  return result
}

/**
 * Remembers the state of an object and of everything that it holds, before something that may fail half-way.
 *
 * Covered are enumerable properties of objects of any class, arrays, maps, sets, dates and typed arrays, at any depth, also
 * in circles. Private `#fields` and what closures hold cannot be seen from outside and are not covered. The cost is one
 * visit per object held, paid on success too.
 *
 * @param root - the object; aggregates within it are not part of its state
 * @returns puts every remembered object back as it was, keeping its identity
 */
function rememberState(root: object): () => void {
  const held: object[] = [root]
  const before: unknown[] = []
  let seen: Set<object> | undefined
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    // Few objects are found in the list as quickly, and need no set of their own.
    if (held.length > 8) seen ??= new Set(held)
    if (seen === undefined ? held.includes(value) : seen.has(value)) return
    if (isAggregate(value)) return
    seen?.add(value)
    held.push(value)
  }
  // The list grows while it is read. Two lists and no closures per object: this runs before every event.
  for (const value of held) before.push(copyOf(value, visit))
  return () => {
    for (const [index, value] of held.entries()) restore(value, before[index])
  }
}

function copyOf(value: object, visit: (member: unknown) => void): unknown {
  if (Array.isArray(value)) {
    // Most lists are of texts and numbers, and may be long.
    for (let index = 0; index < value.length; index += 1) if (typeof value[index] === 'object') visit(value[index])
    return value.slice()
  }
  if (value instanceof Date) return value.getTime()
  if (value instanceof Map) {
    for (const entry of value) entry.forEach(visit)
    return [...value]
  }
  if (value instanceof Set) {
    for (const member of value) visit(member)
    return [...value]
  }
  if (ArrayBuffer.isView(value)) return bytesOf(value).slice()
  const copy: Record<PropertyKey, unknown> = { ...value }
  for (const key in copy) visit(copy[key])
  return copy
}

// `before` is what `copyOf` made of the same value.
function restore(value: object, before: unknown): void {
  if (Array.isArray(value)) restoreArray(value, before as unknown[])
  else if (value instanceof Date) restoreDate(value, before as number)
  else if (value instanceof Map) restoreMap(value, before as [unknown, unknown][])
  else if (value instanceof Set) restoreSet(value, before as unknown[])
  else if (ArrayBuffer.isView(value)) bytesOf(value).set(before as Uint8Array)
  else restoreProperties(value, before as object)
}

// Only what differs is written, here and below: what is frozen cannot have changed, and would refuse.
function restoreArray(value: unknown[], before: readonly unknown[]): void {
  if (value.length !== before.length) value.length = before.length
  for (const [index, member] of before.entries()) if (!Object.is(value[index], member)) value[index] = member
}

function restoreDate(value: Date, before: number): void {
  if (!Object.is(value.getTime(), before)) value.setTime(before)
}

function restoreMap(value: Map<unknown, unknown>, before: readonly [unknown, unknown][]): void {
  value.clear()
  for (const [key, member] of before) value.set(key, member)
}

function restoreSet(value: Set<unknown>, before: readonly unknown[]): void {
  value.clear()
  for (const member of before) value.add(member)
}

function restoreProperties(value: object, before: object): void {
  for (const key of Object.keys(value)) if (!Object.hasOwn(before, key)) Reflect.deleteProperty(value, key)
  for (const [key, member] of Object.entries(before)) {
    if (!Object.hasOwn(value, key) || !Object.is(Reflect.get(value, key), member)) Reflect.set(value, key, member)
  }
}

function bytesOf(value: ArrayBufferView): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
}
