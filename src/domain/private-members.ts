/** `#private` members, which nothing outside of their class can see: an aggregate with them has to keep its state by itself. */
import { type Aggregate, type AggregateClass, tryRecordOf } from './aggregate.js'
import { eventsOf } from './aggregate-events.js'
import { constructBy, constructionOf } from './aggregate-record.js'
import { constructorArguments, keepsOwnState } from './aggregate-state.js'

const checked = new WeakSet<object>()

/**
 * Checks, once for a class, that its aggregates can be made again of what is seen of them from outside.
 *
 * @throws `TypeError` for one with `#private` members that does not have `snapshotState()` and `restoreState(state)`
 */
export function assertVisible(aggregate: Aggregate<object>): void {
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
    const construction = constructionOf(aggregateClass, creation, 'rebuilding')
    const run = (): object => Reflect.construct(aggregateClass, args) as object
    return constructBy(onto === undefined ? construction : { ...construction, onto }, run)
  }
  const aggregate = construct()
  try {
    construct(aggregate)
  } catch (error) {
    return error instanceof TypeError && /private|#/.test(error.message)
  }
  return false
}
