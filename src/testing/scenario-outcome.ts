/** What came of a scenario, and the checks of it: each tells the scenario in words where it fails. */
import { AssertionError } from 'node:assert/strict'
import { inspect, isDeepStrictEqual } from 'node:util'
import { type Aggregate, type AggregateClass, isAggregate } from '../domain/aggregate.js'
import { type Decider, type DeciderState, fold, initial } from '../domain/decider.js'
import type { DomainEvent } from '../domain/event.js'
import { isPlainObject, pinned } from '../domain/kept-values.js'
import { rebuild } from '../domain/rebuild.js'
import { keepsOwnState, stateOf } from '../domain/snapshot.js'

/** An event as tests write it: its name and its data. */
export interface ScenarioEvent {
  /** The event's name, without that of its class. */
  readonly type: string
  /** Its data; default none. */
  readonly data?: object
  /** Of an event that was stored before: the version that its data have the shape of; default the present one. */
  readonly classVersion?: number
}

/** A class of errors, as `thenThrows` takes it. */
type ErrorType = new (...args: never[]) => Error

/** What came of it. Each check throws an `AssertionError` with the difference, and gives itself back for the next one. */
export interface Outcome<State> {
  /** The events that were triggered or decided, in order, and no others. */
  thenEvents(...events: readonly ScenarioEvent[]): Outcome<State>
  /** That there were no events, and it was not refused. */
  thenNothing(): Outcome<State>
  /**
   * What the members named here are in the state after it; each is compared as a whole, however deep, so that an empty object
   * says that nothing is in it. A state that is no object, such as the number of a decider, is compared itself.
   */
  thenState(expected: State extends object ? Partial<State> : State): Outcome<State>
  /** That it was refused, by an error of this class or with a message that fits, and nothing was triggered. */
  thenThrows(expected: RegExp | ErrorType): Outcome<State>
}

/** What was given and done, for messages. */
export interface Story {
  /** The name of the class or the decider. */
  readonly subject: string
  readonly past: readonly ScenarioEvent[]
  /** What was done, as the test has it. */
  readonly act: string
}

/** What was done has come to an end, or has thrown. `pending` are the events that it triggered even so. */
type Ending<State> =
  | { readonly state: State; readonly events: readonly DomainEvent[]; readonly change: UnrecordedChange | undefined }
  | { readonly error: unknown; readonly pending: readonly DomainEvent[] }

const mostEventsTold = 5
const longestText = 120

/** Holds the checks to what came of it. */
export function outcomeOf<State>(story: Story, ending: Ending<State>): Outcome<State> {
  const compare = (actual: unknown, expected: unknown, problem: string, checked: Checked): Outcome<State> => {
    if (isDeepStrictEqual(actual, expected)) return outcome
    throw failure(story, { actual, expected, problem, ...checked })
  }
  const done = (checked: Checked): Done<State> => doneOf(story, ending, checked)
  const thenEvents: Outcome<State>['thenEvents'] = (...expected) => {
    const checked = { check: thenEvents }
    return compare(done(checked).events.map(written), expected.map(writtenByTest), 'Other events followed.', checked)
  }
  const thenNothing: Outcome<State>['thenNothing'] = () => {
    const checked = { check: thenNothing }
    return compare(done(checked).events.map(written), [], 'Events followed.', checked)
  }
  const thenState: Outcome<State>['thenState'] = (expected) => {
    const checked = { check: thenState }
    const { state } = done(checked)
    const actual = isPlainObject(expected) ? membersOf(state, Object.keys(expected)) : state
    return compare(actual, expected, 'The state is another one.', checked)
  }
  const thenThrows: Outcome<State>['thenThrows'] = (expected) => {
    const checked = { check: thenThrows }
    if (!('error' in ending)) {
      const actual = { events: ending.events.map(written) }
      return compare(actual, { error: nameOf(expected) }, 'It was not refused.', checked)
    }
    const { error, pending } = ending
    if (!fits(error, expected)) {
      const sides = { actual: String(error), expected: nameOf(expected), cause: error }
      throw failure(story, { ...sides, ...checked, problem: 'It was refused by another error.' })
    }
    return compare(pending.map(written), [], 'It was refused, and events were triggered.', checked)
  }
  const outcome: Outcome<State> = { thenEvents, thenNothing, thenState, thenThrows }
  return outcome
}

/** It was not refused. */
type Done<State> = Exclude<Ending<State>, { readonly error: unknown }>

function doneOf<State>(story: Story, ending: Ending<State>, checked: Checked): Done<State> {
  if ('error' in ending) throw ending.error
  if (ending.change === undefined) return ending
  const problem =
    'The state is not the one that the events make: something changes without an event, or is not repeated.'
  throw failure(story, { ...ending.change, problem, ...checked })
}

/** Which check has failed, and by which error. */
interface Checked {
  readonly check: (...args: never[]) => unknown
  readonly cause?: unknown
}

/** Both sides of a comparison that has failed. */
interface Difference extends Checked {
  readonly actual: unknown
  readonly expected: unknown
  readonly problem: string
}

/** The error of a check: it tells the story, and both sides. */
export function failure(story: Story, { actual, expected, problem, check, cause }: Difference): AssertionError {
  const operator = 'deepStrictEqual'
  // Not every framework shows both sides by itself; the message that is made where there is none has their difference.
  const { message: difference } = new AssertionError({ actual, expected, operator })
  const message = `${textOf(story)}\n${problem}\n\n${difference}`
  // The first line of the stack, which frameworks show, is that of the test.
  const error = new AssertionError({ actual, expected, message, stackStartFn: check })
  // Given to the constructor, the operator makes some versions of Node append the difference to the message again.
  return Object.assign(error, { operator, ...(cause === undefined ? {} : { cause }) })
}

function textOf({ subject, past, act }: Story): string {
  const told = past.slice(-mostEventsTold).map(({ type, data = {} }) => {
    return Object.keys(data).length === 0 ? type : `${type} ${shortened(inspect(data, { breakLength: Infinity }))}`
  })
  const untold = past.length - told.length
  if (untold > 0) told.unshift(`${untold} events`)
  return `Given ${subject}: ${told.join(', ') || 'no events'}\nwhen ${shortened(act)}`
}

function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length > longestText ? `${line.slice(0, longestText)}…` : line
}

function membersOf(state: unknown, names: readonly string[]): object {
  const owner: object = Object(state) as object // itself, unless the state is no object
  return Object.fromEntries(names.map((name) => [name, Reflect.get(owner, name) as unknown]))
}

function fits(error: unknown, expected: RegExp | ErrorType): boolean {
  if (!(expected instanceof RegExp)) return error instanceof expected
  return error instanceof Error && error.message.search(expected) !== -1
}

function nameOf(expected: RegExp | ErrorType): string {
  return expected instanceof RegExp ? String(expected) : expected.name
}

function written({ topic, data }: DomainEvent): ScenarioEvent {
  return { type: topic.slice(topic.lastIndexOf('.') + 1), data: { ...data } }
}

/** As an event would have it: without the members that are undefined. */
function writtenByTest({ type, data = {} }: ScenarioEvent): ScenarioEvent {
  return { type, data: pinned({ ...data }, () => `expect ${type}`) }
}

/** The state that there is, and the one that the events make. */
interface UnrecordedChange {
  readonly actual: unknown
  readonly expected: unknown
}

/**
 * Compares an aggregate with one that its events rebuild, as the store would do it.
 *
 * @param events - all of them, the pending ones last
 * @returns undefined where the two are alike; functions, and `#private` members without `snapshotState`, are not compared
 */
export function unrecordedChange(
  aggregateClass: AggregateClass,
  events: readonly DomainEvent[],
  aggregate: Aggregate<object>,
): UnrecordedChange | undefined {
  const rebuilt = rebuild(aggregateClass, events)
  // Events that somebody has collected are not there any more.
  if (rebuilt === undefined || rebuilt.version !== aggregate.version) return undefined
  return changeOf(ownStateOf(aggregate), ownStateOf(rebuilt))
}

/** The same for a state of a decider, of which neither commands nor `evolve` may change anything. */
export function unrecordedChangeOfState(
  decider: Decider<unknown, object, object>,
  events: readonly DomainEvent[],
  after: DeciderState<unknown>,
): UnrecordedChange | undefined {
  const { state } = fold(decider, initial(decider, after.id), events)
  return changeOf({ state: after.state }, { state })
}

function ownStateOf(aggregate: Aggregate<object>): object {
  return keepsOwnState(aggregate) ? Object.assign({}, aggregate, aggregate.snapshotState()) : stateOf(aggregate)
}

function changeOf(actual: object, expected: object): UnrecordedChange | undefined {
  const names = new Set([...Object.keys(actual), ...Object.keys(expected)])
  const differing = [...names].filter((name) => {
    const [one, other] = [Reflect.get(actual, name) as unknown, Reflect.get(expected, name) as unknown]
    // Two functions are never alike.
    return !isDeepStrictEqual(one, other) && !hasFunction(one) && !hasFunction(other)
  })
  if (differing.length === 0) return undefined
  const only = (members: object): object =>
    Object.fromEntries(Object.entries(members).filter(([name]) => differing.includes(name)))
  return { actual: only(actual), expected: only(expected) }
}

function hasFunction(value: unknown, seen: Set<unknown> = new Set()): boolean {
  if (typeof value === 'function') return true
  if (typeof value !== 'object' || value === null || seen.has(value) || isAggregate(value)) return false
  seen.add(value)
  const items = value instanceof Map ? [...value].flat() : value instanceof Set ? [...value] : Object.values(value)
  return items.some((item) => hasFunction(item, seen))
}
