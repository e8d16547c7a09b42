/** Given some events, when something is done, then these events follow: tests of aggregates and deciders, without a store. */
import { deepStrictEqual, fail } from 'node:assert/strict'
import { type Aggregate, type AggregateClass, isAggregate } from '../domain/aggregate.js'
import { eventsOf } from '../domain/aggregate-events.js'
import { type CommandArguments, type Decider, type DeciderEvent, decide, fold, initial } from '../domain/decider.js'
import { type DomainEvent, domainEvent } from '../domain/event.js'
import { newEvent } from '../domain/new-event.js'
import { shapesOf } from '../domain/read-event.js'
import { rebuild } from '../domain/rebuild.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { createTimestamp } from '../domain/timestamp.js'
import { eventTopic } from '../domain/topic.js'

/** An event as tests write it: its name and its data. */
export interface ScenarioEvent {
  /** The event's name, without that of its class. */
  readonly type: string
  /** Its data; default none. */
  readonly data?: object
  /** Of an event that was stored before: the version that its data have the shape of; default the present one. */
  readonly classVersion?: number
}

/** What came of it. Each check throws an `AssertionError` with the difference, and gives itself back for the next one. */
export interface Outcome<State> {
  /** The events that were triggered or decided, in order, and no others; none for nothing. */
  thenEvents(...events: readonly ScenarioEvent[]): Outcome<State>
  /** What the members named here are in the state after it. */
  thenState(expected: Partial<State>): Outcome<State>
  /** That it was refused, by an error of this class or with a message that fits, and nothing was triggered. */
  thenThrows(expected: RegExp | (new (...args: never[]) => Error)): Outcome<State>
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
  ...past: ReadonlyArray<DeciderEvent<Events>>
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
      const events = eventsOf(aggregateClass.prototype as object)
      const before = rebuild(aggregateClass, pastEvents(aggregateClass, past, events.initialVersion))
      return outcomeOf(() => {
        // Without a past there is nothing to act on: the function makes the aggregate.
        const result = act(before as Aggregate<object>)
        const aggregate = before ?? result
        if (!isAggregate(aggregate))
          fail('Without given events, the function given to `when` has to return the new aggregate.')
        return { state: aggregate, events: aggregate.pendingEvents }
      }, before)
    },
  }
}

function deciderScenario(
  decider: Decider<unknown, object, object>,
  past: readonly ScenarioEvent[],
): DeciderScenario<unknown, Record<string, unknown[]>> {
  return {
    when(name, ...args) {
      const before = fold(decider, initial(decider, originatorId), pastEvents(decider, past, 1))
      return outcomeOf(() => {
        const decision = decide(decider, before, { name, args } as never) // checked by the types of `given`
        return { state: decision.state, events: decision.pendingEvents }
      }, undefined)
    },
  }
}

function pastEvents(kind: SnapshotKind, past: readonly ScenarioEvent[], firstVersion: number): DomainEvent[] {
  const shapes = shapesOf(kind)
  return past.map(({ type, data = {}, classVersion }, index) => {
    const originatorVersion = firstVersion + index
    if (classVersion === undefined)
      return newEvent(shapes, { eventName: type, originatorId, originatorVersion, data: { ...data } })
    const topic = eventTopic(shapes, type)
    const timestamp = createTimestamp()
    return domainEvent({ originatorId, originatorVersion, topic, timestamp, data: { ...data }, classVersion })
  })
}

interface Result<State> {
  readonly state: State
  readonly events: readonly DomainEvent[]
}

function outcomeOf<State>(act: () => Result<State>, before: Aggregate<object> | undefined): Outcome<State> {
  let result: Result<State> | undefined
  let error: unknown
  try {
    result = act()
  } catch (reason) {
    error = reason
  }
  const done = (): Result<State> => {
    if (result !== undefined) return result
    throw error
  }
  const outcome: Outcome<State> = {
    thenEvents(...expected) {
      deepStrictEqual(
        done().events.map(written),
        expected.map(({ type, data = {} }) => ({ type, data: { ...data } })),
      )
      return outcome
    },
    thenState(expected) {
      const state: object = Object(done().state) as object
      const actual = Object.fromEntries(Object.keys(expected).map((key) => [key, Reflect.get(state, key) as unknown]))
      deepStrictEqual(actual, { ...expected })
      return outcome
    },
    thenThrows(expected) {
      if (result !== undefined) {
        deepStrictEqual({ events: result.events.map(written) }, { error: String(expected) }, 'It was not refused.')
      }
      assertError(error, expected)
      deepStrictEqual(before?.pendingEvents.map(written) ?? [], [], 'It was refused, and events were triggered.')
      return outcome
    },
  }
  return outcome
}

function assertError(error: unknown, expected: RegExp | (new (...args: never[]) => Error)): void {
  const fits =
    expected instanceof RegExp ? error instanceof Error && expected.test(error.message) : error instanceof expected
  if (!fits) fail(`It was refused by another error than ${String(expected)}: ${String(error)}`)
}

function written({ topic, data }: DomainEvent): ScenarioEvent {
  return { type: topic.slice(topic.lastIndexOf('.') + 1), data: { ...data } }
}
