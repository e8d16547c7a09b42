/** Given some events, when something is done, then these events follow: tests of aggregates and deciders, without a store. */
import { fail } from 'node:assert/strict'
import { inspect } from 'node:util'
import { type Aggregate, type AggregateClass, isAggregate } from '../domain/aggregate.js'
import { eventsOf } from '../domain/aggregate-events.js'
import { type CommandArguments, type Decider, type DeciderEvent, decide, fold, initial } from '../domain/decider.js'
import { isEnded } from '../domain/ended.js'
import { type DomainEvent, domainEvent } from '../domain/event.js'
import { pinned } from '../domain/kept-values.js'
import { newEvent } from '../domain/new-event.js'
import { shapesOf } from '../domain/read-event.js'
import { rebuild } from '../domain/rebuild.js'
import { type SnapshotKind, type Snapshotted, takeSnapshot } from '../domain/snapshot.js'
import { Timestamp } from '../domain/timestamp.js'
import { eventTopic } from '../domain/topic.js'
import { microsecondsOf, nextTime } from './fixed-sources.js'
import { type Outcome, outcomeOf, type ScenarioEvent } from './scenario-outcome.js'
import { unrecordedChange, unrecordedChangeOfState } from './unrecorded-change.js'

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
