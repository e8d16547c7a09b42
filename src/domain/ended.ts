/** Originators whose last event has ended them: nothing follows it. */
import { AggregateEndedError } from '../errors.js'

const ended = new WeakSet<object>()

/** Notes that the last event of an aggregate, or of a decider's state, has ended it. */
export function markEnded(originator: object): void {
  ended.add(originator)
}

/** Whether the last event of an aggregate, or of a decider's state, has ended it. */
export function isEnded(originator: object): boolean {
  return ended.has(originator)
}

/** @param attempted - completes "Cannot" */
export function endedError(attempted: string): AggregateEndedError {
  return new AggregateEndedError(
    `Cannot ${attempted}: its last event has ended it. Its states up to there are read by a version; nothing follows it but a new life, by the option newLife.`,
  )
}
