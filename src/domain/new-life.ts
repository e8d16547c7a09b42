/** New lives: what goes on in the stream of an originator that an event has ended. */
import { type Aggregate, tryRecordOf } from './aggregate.js'
import { type Decider, type DeciderState, initial } from './decider.js'
import { domainEvent } from './event.js'

/**
 * Lets an aggregate that was made just now begin after the events of a former life: its pending events follow those.
 *
 * @param version - of the event that has ended it
 */
export function beginAfter(aggregate: Aggregate<object>, version: number): void {
  const record = tryRecordOf(aggregate)
  if (record === undefined || record.pending[0] !== record.creation) return
  const moved = version + 1 - record.creation.originatorVersion
  record.pending = record.pending.map((event) =>
    domainEvent({ ...event, originatorVersion: event.originatorVersion + moved }),
  )
  record.creation = record.pending[0] ?? record.creation
  record.version += moved
}

/** Whether an aggregate was made just now, and none of its events has been collected. */
export function isNew(aggregate: Aggregate<object>): boolean {
  const record = tryRecordOf(aggregate)
  return record !== undefined && record.pending[0] === record.creation
}

/** A decider's originator before the first event of a new life. @param version - of the event that has ended it */
export function initialAfter<State, Events extends object, Commands extends object>(
  decider: Decider<State, Events, Commands>,
  id: string,
  version: number,
): DeciderState<State> {
  return Object.freeze({ ...initial(decider, id), version })
}
