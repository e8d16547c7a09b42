/** Finds what has changed without an event: the store would rebuild another state. */
import { isDeepStrictEqual } from 'node:util'
import { type Aggregate, type AggregateClass, isAggregate } from '../domain/aggregate.js'
import { keepsOwnState, stateOf } from '../domain/aggregate-state.js'
import { type Decider, type DeciderState, fold, initial } from '../domain/decider.js'
import type { DomainEvent } from '../domain/event.js'
import { rebuild } from '../domain/rebuild.js'

/** The state that there is, and the one that the events make. */
export interface UnrecordedChange {
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
  return changeOf(membersOf(aggregate), membersOf(rebuilt))
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

function membersOf(aggregate: Aggregate<object>): object {
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
