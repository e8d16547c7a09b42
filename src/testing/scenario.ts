/** Given some events, when something is done or decided, then these events follow: tests of aggregates, deciders and decisions by tags, without a store. */
import { fail } from 'node:assert/strict'
import { inspect } from 'node:util'
import type { Decide, FactsByName, ValuesOf } from '../application/decisions.js'
import { type Aggregate, type AggregateClass, isAggregate } from '../domain/aggregate.js'
import { eventsOf } from '../domain/aggregate-events.js'
import { type CommandArguments, type Decider, type DeciderEvent, decide, fold, initial } from '../domain/decider.js'
import { type DomainEvent, domainEvent, isEnded } from '../domain/event.js'
import { definitionOfEvent, type NamedEvent } from '../domain/event-definition.js'
import { newEvent } from '../domain/event-shapes.js'
import { type Facts, factsOf, shapesOfFacts } from '../domain/facts.js'
import { pinned } from '../domain/kept-values.js'
import { eventTopic } from '../domain/names.js'
import { shapesOf } from '../domain/read-event.js'
import { rebuild } from '../domain/rebuild.js'
import { type SnapshotKind, type Snapshotted, takeSnapshot } from '../domain/snapshot.js'
import { hasAllTags, Secret, type Tag } from '../domain/tags.js'
import { Timestamp } from '../domain/timestamp.js'
import { microsecondsOf, nextTime } from './in-memory.js'
import {
  type Outcome,
  outcomeOf,
  type ScenarioEvent,
  unrecordedChange,
  unrecordedChangeOfState,
} from './scenario-outcome.js'

/** An event that was stored with an older shape of its data. */
export interface OlderEvent extends ScenarioEvent {
  readonly classVersion: number
}

/** An aggregate with a past. */
export interface AggregateScenario<A> {
  /** Does something with the aggregate; where it has no past, makes it. */
  when(act: (aggregate: A) => unknown): Outcome<A>
}

/** An originator of a decider with a past. */
export interface DeciderScenario<State, Commands extends object> {
  /** Lets the decider decide a command. */
  when<Name extends keyof Commands & string>(command: Name, ...args: CommandArguments<Commands, Name>): Outcome<State>
}

const originatorId = '00000000-0000-4000-8000-000000000001'

/**
 * Begins a scenario with the events that have happened, oldest first; none for something new.
 *
 * It refuses what a store refuses. A state that has changed without an event, such as by a method that lacks `@event`, or that
 * the events do not rebuild, makes every check fail.
 *
 * @example
 * given(Dog, { type: 'Registered', data: { name: 'Fido' } })
 *   .when((dog) => dog.addTrick('sit'))
 *   .thenEvents({ type: 'TrickAdded', data: { trick: 'sit' } })
 */
export function given<A extends Aggregate<object>>(
  aggregateClass: AggregateClass<A>,
  ...past: readonly ScenarioEvent[]
): AggregateScenario<A>
/**
 * The same for a decider.
 *
 * @example
 * given(cart, { type: 'Added', data: { item: 'bone' } }).when('checkOut').thenEvents({ type: 'CheckedOut' })
 */
export function given<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  ...past: ReadonlyArray<DeciderEvent<Events> | OlderEvent>
): DeciderScenario<State, Commands>
export function given(
  kind: AggregateClass | Decider<unknown, object, object>,
  ...past: readonly ScenarioEvent[]
): AggregateScenario<Aggregate<object>> | DeciderScenario<unknown, Record<string, unknown[]>> {
  return typeof kind === 'function' ? aggregateScenario(kind, past) : deciderScenario(kind, past)
}

function aggregateScenario(
  aggregateClass: AggregateClass,
  past: readonly ScenarioEvent[],
): AggregateScenario<Aggregate<object>> {
  return {
    when(act) {
      const { className: subject, initialVersion } = eventsOf(aggregateClass.prototype as object)
      const stored = pastEvents(aggregateClass, past, initialVersion)
      const before = rebuild(aggregateClass, stored)
      const story = { subject, past, act: act.toString() }
      let result: unknown
      try {
        // Without a past there is nothing to act on: the function makes the aggregate.
        result = act(before as Aggregate<object>)
      } catch (error) {
        return outcomeOf(story, { error, pending: before?.pendingEvents ?? [] })
      }
      const state = actedOn(before, result)
      const events = state.pendingEvents
      const kind = state.constructor as AggregateClass // of an aggregate
      const error = refusalOfSave(kind, state, events)
      if (error !== undefined) return outcomeOf(story, { error, pending: [] })
      return outcomeOf(story, { state, events, change: unrecordedChange(kind, [...stored, ...events], state) })
    },
  }
}

function actedOn(before: Aggregate<object> | undefined, result: unknown): Aggregate<object> {
  if (result instanceof Promise) {
    // What it comes to is not waited for.
    result.catch(() => undefined)
    fail('The function given to `when` has to act at once: it returned a promise.')
  }
  const aggregate = before ?? result
  if (isAggregate(aggregate)) return aggregate
  return fail('Without given events, the function given to `when` has to return the new aggregate.')
}

function deciderScenario(
  decider: Decider<unknown, object, object>,
  past: readonly ScenarioEvent[],
): DeciderScenario<unknown, Record<string, unknown[]>> {
  return {
    when(name, ...args) {
      const stored = pastEvents(decider, past, 1)
      const before = fold(decider, initial(decider, originatorId), stored)
      const story = { subject: decider.name, past, act: `${name}(${args.map((arg) => inspect(arg)).join(', ')})` }
      try {
        const decision = decide(decider, before, { name, args } as never) // checked by the types of `given`
        const events = decision.pendingEvents
        const refusal = refusalOfSave(decider, decision, events)
        if (refusal !== undefined) return outcomeOf(story, { error: refusal, pending: [] })
        const change =
          unrecordedChangeOfState(decider, stored, before) ??
          unrecordedChangeOfState(decider, [...stored, ...events], decision)
        return outcomeOf(story, { state: decision.state, events, change })
      } catch (error) {
        return outcomeOf(story, { error, pending: [] })
      }
    },
  }
}

/** Why a save of the events would store nothing: there is no snapshot of the state. Kinds without snapshots have any state. */
function refusalOfSave(kind: SnapshotKind, originator: Snapshotted, events: readonly DomainEvent[]): unknown {
  if (kind.snapshots === undefined || events.length === 0 || isEnded(originator)) return undefined
  try {
    takeSnapshot(kind, originator)
    return undefined
  } catch (error) {
    return error
  }
}

/** The past, a millisecond between its events, the last of them a millisecond ago. */
function pastEvents(kind: SnapshotKind, past: readonly ScenarioEvent[], firstVersion: number): DomainEvent[] {
  if (past.length === 0) return []
  const shapes = shapesOf(kind)
  const now = microsecondsOf(nextTime())
  return past.map(({ type, data = {}, classVersion }, index) => {
    const originatorVersion = firstVersion + index
    const timestamp = Timestamp.fromMicroseconds(now - (past.length - index) * 1000)
    if (classVersion === undefined)
      return newEvent(shapes, { eventName: type, originatorId, originatorVersion, data: { ...data }, timestamp })
    const topic = eventTopic(shapes, type)
    const stored = pinned(data, () => `give ${topic}`)
    return domainEvent({ originatorId, originatorVersion, topic, timestamp, data: { ...stored }, classVersion })
  })
}

/** Events that have happened. */
export interface FactsScenario {
  /**
   * Lets a decision be made, as `application.decide` does.
   *
   * @throws `AssertionError` where a given event is none that the items ask for
   */
  whenDecide<const Items extends FactsByName>(items: Items, decide: Decide<Items>): Outcome<undefined>
}

/**
 * Begins a scenario with the events that have happened, oldest first, in whatever stream.
 *
 * @param past - as definitions make them: `CourseDefined({ course: 'c', capacity: 10 })`
 *
 * @example
 * givenFacts(CourseDefined({ course: 'c', capacity: 1 }))
 *   .whenDecide({ taken: taken('c') }, ({ taken }) => subscribe(taken))
 *   .thenEvents(StudentSubscribed({ course: 'c', student: 's' }))
 */
export function givenFacts(...past: ReadonlyArray<NamedEvent<string, object>>): FactsScenario {
  const now = microsecondsOf(nextTime())
  const stored = past.map((event, index) =>
    factOf(event, index + 1, Timestamp.fromMicroseconds(now - (past.length - index) * 1000)),
  )
  return {
    whenDecide(items, decide) {
      const all = Object.entries(items)
      const outside = stored.find((event) => !all.some(([, facts]) => isAskedFor(event, facts)))
      if (outside !== undefined) {
        const { topic, tags = [] } = outside
        fail(
          `${topic} with ${tags.map(textOf).join(' and ') || 'no tags'} is given, and none of the facts ask for it: it would change nothing. ` +
            'Ask for it, or leave it out.',
        )
      }
      const story = { subject: 'facts', past, act: decide.toString() }
      try {
        const values = all.map(([name, facts]) => [name, valueOf(facts, stored)] as const)
        // By the names of the items, each the value of its facts.
        const decided: unknown = decide(Object.fromEntries(values) as ValuesOf<typeof items>)
        if (!Array.isArray(decided)) fail('The decision has to give a list of events, at once.')
        const events = decided.map((event: NamedEvent<string, object>, index) => factOf(event, index + 1))
        return outcomeOf(story, { state: undefined, events, change: undefined })
      } catch (error) {
        return outcomeOf<undefined>(story, { error, pending: [] })
      }
    },
  }
}

function factOf(event: NamedEvent<string, object>, originatorVersion: number, timestamp?: Date): DomainEvent {
  const definition = definitionOfEvent(event)
  if (definition === undefined)
    return fail(`Give events that definitions make, as ${event.type}({ … }) of defineEvent().`)
  const eventName = definition.name
  return newEvent(shapesOfFacts(definition), {
    eventName,
    originatorId,
    originatorVersion,
    data: { ...event.data },
    timestamp,
  })
}

function valueOf<Value>(facts: Facts<Value>, stored: readonly DomainEvent[]): Value {
  const asked = stored.filter((event) => isAskedFor(event, facts))
  return factsOf(facts, facts.onlyLast ? asked.slice(-1) : asked)
}

function isAskedFor({ topic, tags = [] }: DomainEvent, facts: Facts<unknown>): boolean {
  return facts.cases.has(topic.slice(topic.lastIndexOf('.') + 1)) && hasAllTags({ tags }, facts.tags)
}

function textOf({ name, value }: Tag): string {
  return `${name}:${value instanceof Secret ? value.reveal() : value}`
}
