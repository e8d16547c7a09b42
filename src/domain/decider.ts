/** Deciders: the functional way to write an originator, as data and pure functions instead of a class. */
import { inspect } from 'node:util'
import { nearestName } from '../checked-options.js'
import { OriginatorIdError, OriginatorVersionError, TopicError } from '../errors.js'
import type { EventSource } from './aggregate.js'
import { assertDefinition, eventShapesOf } from './decider-shapes.js'
import {
  type DomainEvent,
  dataOfObject,
  type EventData,
  type EventMetadata,
  endedError,
  isEnded,
  markEnded,
} from './event.js'
import type { EventDeclaration } from './event-definition.js'
import { newEvent, presentEvent, shapeOf, type Upcasts } from './event-shapes.js'
import { copied } from './kept-values.js'
import type { FormerTopics } from './names.js'
import { noSubjects, type PersonalData, withSubjects } from './personal-data.js'
import type { SnapshotPolicy } from './snapshot-policy.js'
import type { TagsOf } from './tags.js'

/** An event as a decider decides it: its name and its data, one of the names and shapes that `evolve` has. */
export type DeciderEvent<Events extends object> = {
  readonly [Name in keyof Events & string]: {
    /** The event's name, without the decider's. */
    readonly type: Name
    /** What `evolve` is given with the state. */
    readonly data: Events[Name]
  }
}[keyof Events & string]

/** The arguments of a command after the state. */
export type CommandArguments<
  Commands extends object,
  Command extends keyof Commands,
> = Commands[Command] extends readonly unknown[] ? Commands[Command] : never

/**
 * What an originator is and does: all functions are pure and synchronous.
 *
 * @typeParam State - what is known after some events
 * @typeParam Events - the type of each event's data, by event name
 * @typeParam Commands - the arguments of each command after the state, as a tuple, by command name
 */
export interface Decider<State, Events extends object, Commands extends object> {
  /** The first part of the events' topics, like the name of a class of aggregates: both can share streams. */
  readonly name: string
  /** Topics that stored events may have from earlier times. */
  readonly formerTopics?: FormerTopics
  /** For events whose data had another shape before, as for a class of aggregates. */
  readonly upcasts?: Upcasts
  /** When snapshots are taken, and which of them are good. */
  readonly snapshots?: SnapshotPolicy
  /** Definitions of the events in `evolve`, which are found by their names. */
  readonly events?: readonly EventDeclaration[]
  /** Which fields of events are about a person, as for a class of aggregates. */
  readonly personal?: PersonalData
  /** Which tags events have that no definition gives any: by the event's name, what `tags` of a definition is. */
  readonly tags?: { readonly [Name in keyof Events]?: TagsOf<Events[Name] & object> }
  /** The state before the first event. */
  initialState(): State
  /** The commands: each gives the events that follow from the state, none where nothing changes, or throws. */
  readonly decide: {
    readonly [Command in keyof Commands]: (
      state: State,
      ...args: CommandArguments<Commands, Command>
    ) => readonly DeciderEvent<Events>[]
  }
  /** The state after an event, as a new value: neither state nor data may be changed. */
  readonly evolve: { readonly [Name in keyof Events]: (state: State, data: Events[Name]) => State }
}

/** One originator of a decider at a version. */
export interface DeciderState<State> {
  /** The originator's id. */
  readonly id: string
  /** The version of the last event; 0 where there is none. */
  readonly version: number
  /** What its events have come to. */
  readonly state: State
}

/** What a command decided: the state after it, and the new events to save. */
export interface Decision<State> extends DeciderState<State>, EventSource {
  /** The events that were not collected yet, oldest first. */
  readonly pendingEvents: readonly DomainEvent[]
}

/** The originator before its first event. @throws `TypeError` for a decider that cannot be */
export function initial<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  id: string,
): DeciderState<State> {
  eventShapesOf(decider)
  return Object.freeze({ id, version: 0, state: decider.initialState() })
}

/**
 * Brings an originator further, by stored events.
 *
 * @param current - `initial(decider, id)`, or a later state
 * @param events - of this originator, the ones after the state's version, oldest first
 * @returns the state after them; `current` itself where there are none
 * @throws `OriginatorIdError` for an event of another originator
 * @throws `OriginatorVersionError` for a gap or a repetition
 * @throws `TopicError` for an event that `evolve` does not have
 */
export function fold<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  current: DeciderState<State>,
  events: Iterable<DomainEvent>,
): DeciderState<State> {
  let { version, state } = current
  let subjects = knownSubjects(current)
  let hasJustEnded = isEnded(current)
  for (const event of events) {
    if (event.originatorId !== current.id) {
      throw new OriginatorIdError(
        `Cannot apply ${event.topic} of ${event.originatorId} to ${decider.name} ${current.id}: read the events of one originator`,
      )
    }
    if (event.originatorVersion !== version + 1) {
      throw new OriginatorVersionError(
        `Cannot apply ${event.topic} as version ${event.originatorVersion} of ${decider.name} ${current.id}: ` +
          `the next version is ${version + 1}`,
      )
    }
    // What follows the end is a new life.
    if (hasJustEnded) [state, subjects] = [decider.initialState(), noSubjects]
    state = evolved(decider, state, event)
    version = event.originatorVersion
    subjects = withSubjects(subjects, event.personal)
    hasJustEnded = hasEnded(decider, event)
  }
  if (version === current.version) return current
  const after = withShownSubjects(Object.freeze({ id: current.id, version, state }), subjects)
  if (hasJustEnded) markEnded(after)
  return after
}

/** A command and what it needs. */
interface Command<Commands extends object, Name extends keyof Commands & string> {
  readonly name: Name
  readonly args: CommandArguments<Commands, Name>
  /** Facts about the events that are not their content. */
  readonly metadata?: EventMetadata
}

/**
 * Lets a decider decide: nothing is stored, and `current` stays as it is.
 *
 * @returns the state after the decided events, and the events, for `application.save`
 * @throws `AggregateEndedError` where an event has ended the originator
 * @throws whatever the command throws; `EventDataError` for data that an event's definition refuses; `TypeError` for an unknown command, an asynchronous one, or one that gives events
 *   that `evolve` does not have
 */
export function decide<State, Events extends object, Commands extends object, Name extends keyof Commands & string>(
  decider: Decider<State, Events, Commands>,
  current: DeciderState<State>,
  command: Command<Commands, Name>,
): Decision<State> {
  const label = `${decider.name}.decide.${command.name}`
  if (isEnded(current)) throw endedError(`decide ${label} of ${current.id}`)
  if (!Object.hasOwn(decider.decide, command.name)) {
    const near = nearestName(command.name, Object.keys(decider.decide))
    throw new TypeError(`${label} does not exist${near === undefined ? '' : `; did you mean ${near}?`}`)
  }
  const decided = checkEvents(decider.decide[command.name](current.state, ...command.args), label)
  let { version, state } = current
  let subjects = knownSubjects(current)
  const events: DomainEvent[] = []
  for (const { type, data } of decided) {
    if (!Object.hasOwn(decider.evolve, type)) throw new TypeError(`${label} gave '${type}', which evolve does not have`)
    if (events.some((event) => hasEnded(decider, event)))
      throw endedError(`decide '${type}' after the end of ${decider.name} ${current.id}`)
    version += 1
    const event = newEvent(eventShapesOf(decider), {
      eventName: type,
      originatorId: current.id,
      originatorVersion: version,
      ...(version === 1 ? { originatorTopic: decider.name } : {}),
      data: dataOfObject(label, [data]),
      metadata: command.metadata,
    })
    state = evolved(decider, state, event)
    subjects = withSubjects(subjects, event.personal)
    events.push(event)
  }
  const decision = withKnownSubjects(decisionOf({ id: current.id, version, state }, events), subjects)
  shownByState.set(decision, shownSubjects(current))
  deciders.set(decision, decider)
  if (events.some((event) => hasEnded(decider, event))) markEnded(decision)
  return decision
}

function hasEnded<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  { topic }: DomainEvent,
): boolean {
  const { endings, nameOf } = eventShapesOf(decider)
  return endings.size > 0 && endings.has(nameOf(topic) ?? '')
}

const subjectsByState = new WeakMap<object, ReadonlySet<string>>()

/** The persons whose data are in a state. */
export function knownSubjects(state: DeciderState<unknown>): ReadonlySet<string> {
  return subjectsByState.get(state) ?? noSubjects
}

/** Notes whose data are in a state, and gives it back. */
function withKnownSubjects<S extends DeciderState<unknown>>(state: S, subjects: ReadonlySet<string>): S {
  if (subjects.size > 0) subjectsByState.set(state, subjects)
  return state
}

const shownByState = new WeakMap<object, ReadonlySet<string>>()

/** Those of these persons whose data were stored, when the state was loaded or by a save: they had keys. */
export function shownSubjects(state: DeciderState<unknown>): ReadonlySet<string> {
  return shownByState.get(state) ?? noSubjects
}

/** Notes whose data are in a state that was loaded, and gives it back. */
export function withShownSubjects<S extends DeciderState<unknown>>(state: S, subjects: ReadonlySet<string>): S {
  if (subjects.size > 0) shownByState.set(state, subjects)
  return withKnownSubjects(state, subjects)
}

const deciders = new WeakMap<object, Decider<unknown, object, object>>()

/** The decider that has decided this, undefined for anything else. */
export function deciderOf(decision: object): Decider<unknown, object, object> | undefined {
  return deciders.get(decision)
}

function decisionOf<State>(after: DeciderState<State>, events: DomainEvent[]): Decision<State> {
  let pending = events
  const decision: Decision<State> = Object.freeze({
    ...after,
    get pendingEvents() {
      return [...pending]
    },
    collectEvents() {
      const collected = pending
      pending = []
      shownByState.set(decision, knownSubjects(decision))
      return collected
    },
  })
  return decision
}

function evolved<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  state: State,
  event: DomainEvent,
): State {
  const shapes = eventShapesOf(decider)
  const name = shapes.nameOf(event.topic)
  if (name === undefined) {
    throw new TopicError(
      `The decider ${decider.name} has no event for the topic '${event.topic}', version ${event.originatorVersion} of ` +
        `${event.originatorId}: add it to evolve, or name it in formerTopics`,
    )
  }
  // The stored data have the shape that the event of this name had when it was decided.
  const evolve = decider.evolve[name as keyof Events] as (state: State, data: EventData) => State
  // A copy, new or stored, as the bodies of an aggregate's events have it.
  const data = copied(presentEvent(event, shapeOf(shapes, name)).data) as EventData // of the same shape
  return evolve.call(decider.evolve, state, data)
}

interface DecidedEvent {
  readonly type: string
  readonly data: object
}

function checkEvents(decided: unknown, label: string): readonly DecidedEvent[] {
  if (Array.isArray(decided)) {
    const odd = decided.findIndex((event: unknown) => typeof event !== 'object' || event === null)
    if (odd >= 0) throw new TypeError(`${label} gave ${inspect(decided[odd])} in the place of an event: { type, data }`)
    return decided as DecidedEvent[] // a type that evolve does not have is told later
  }
  if (decided instanceof Promise) decided.catch(() => undefined)
  throw new TypeError(
    `${label} must give a list of events, at once: it gave ${decided instanceof Promise ? 'a promise' : String(decided)}`,
  )
}

/** The type of each event's data, as the definitions have it. */
export type EventsOfDefinitions<Definitions extends readonly EventDeclaration[]> = {
  readonly [Definition in Definitions[number] as Definition['name']]: Definition extends {
    /** The data of the event. */
    readonly dataType?: infer Data extends object
  }
    ? Data
    : never
}

/** The events that the definitions make when they are called. */
export type DefinedEvents<Definitions extends readonly EventDeclaration[]> =
  Definitions[number] extends infer Definition
    ? Definition extends (...data: never[]) => infer Event
      ? Event
      : never
    : never

/**
 * Gives a decider back with its types inferred: states from `initialState`, the data of events from the parameters in
 * `evolve`, commands from the parameters in `decide`.
 *
 * A command without parameters takes the state all the same, `(_state) => …`: the compiler looks at functions without any
 * parameter before it knows the events.
 *
 * @throws `TypeError` for a decider that cannot work: without a name, with asynchronous functions, or with upcasts, definitions or
 *   personal fields of events that `evolve` does not have
 *
 * @example
 * const dogs = defineDecider({
 *   name: 'Dog',
 *   initialState: () => ({ tricks: [] as readonly string[] }),
 *   evolve: { TrickAdded: (state, data: { trick: string }) => ({ tricks: [...state.tricks, data.trick] }) },
 *   decide: { addTrick: (state, trick: string) => [{ type: 'TrickAdded', data: { trick } }] },
 * })
 */
export function defineDecider<
  State,
  Events extends object,
  const Commands extends Readonly<Record<string, readonly unknown[]>>,
>(definition: {
  readonly name: string
  readonly formerTopics?: FormerTopics
  readonly upcasts?: Upcasts
  readonly snapshots?: SnapshotPolicy
  readonly personal?: PersonalData
  readonly tags?: { readonly [Name in keyof NoInfer<Events>]?: TagsOf<NoInfer<Events>[Name] & object> }
  initialState(): State
  readonly evolve: { readonly [Name in keyof Events]: (state: State, data: Events[Name]) => State }
  readonly decide: {
    readonly [Command in keyof Commands]: (
      state: State,
      ...args: Commands[Command]
    ) => readonly DeciderEvent<NoInfer<Events>>[]
  }
}): Decider<State, Events, Commands>
/**
 * The same, with the definitions of its events, from which the types of their data follow.
 *
 * @example
 * const dogs = defineDecider([TrickAdded], {
 *   name: 'Dog',
 *   initialState: () => ({ tricks: [] as readonly string[] }),
 *   evolve: { TrickAdded: (state, { trick }) => ({ tricks: [...state.tricks, trick] }) },
 *   decide: { addTrick: (state, trick: string) => [TrickAdded({ trick })] },
 * })
 */
export function defineDecider<
  State,
  const Definitions extends readonly EventDeclaration[],
  const Commands extends Readonly<Record<string, readonly unknown[]>>,
>(
  events: Definitions,
  definition: {
    readonly name: string
    readonly formerTopics?: FormerTopics
    readonly upcasts?: Upcasts
    readonly snapshots?: SnapshotPolicy
    readonly personal?: PersonalData
    initialState(): State
    readonly evolve: {
      readonly [Name in keyof EventsOfDefinitions<Definitions>]: (
        state: State,
        data: EventsOfDefinitions<Definitions>[Name],
      ) => State
    }
    readonly decide: {
      readonly [Command in keyof Commands]: (
        state: State,
        ...args: Commands[Command]
      ) => ReadonlyArray<DefinedEvents<Definitions>>
    }
  },
): Decider<State, EventsOfDefinitions<Definitions>, Commands>
export function defineDecider(
  ...given: readonly [AnyDecider] | readonly [readonly EventDeclaration[], AnyDecider]
): AnyDecider {
  const decider = given.length === 1 ? given[0] : { ...given[1], events: given[0] }
  // What is wrong with it is to be found now, and not when the first event is decided.
  assertDefinition(decider)
  eventShapesOf(decider)
  return decider
}

type AnyDecider = Decider<unknown, object, object>
