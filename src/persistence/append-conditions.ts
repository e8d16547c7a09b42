/** Conditions on what is stored, by tags: which events they are about, and what is thrown where one is there. */
import { AppendConditionError } from '../errors.js'
import type { TagQuery } from './recorder.js'
import type { StoredEvent } from './stored-event.js'

/** Whether an event has all the tags, and one of the types, that a query asks for. */
export function isAskedFor({ tags = [], topic }: StoredEvent, query: TagQuery): boolean {
  if (!query.tags.every((tag) => tags.includes(tag))) return false
  return query.types.length === 0 || query.types.some((type) => topic.endsWith(`.${type}`))
}

/** Says that there is an event that a condition excludes. @param position - of the event in the log; undefined for a pending one */
export function conditionMet(
  { tags, types }: TagQuery,
  events: readonly StoredEvent[],
  { position, cause }: { readonly position: bigint | undefined; readonly cause?: unknown },
): AppendConditionError {
  const [{ topic, originatorId, originatorVersion } = { topic: 'events', originatorId: '', originatorVersion: 1 }] =
    events
  const what = types.length === 0 ? 'an event' : types.join(' or ')
  const where =
    position === undefined ? 'was saved before in this transaction' : `is stored, as notification ${position}`
  return new AppendConditionError(
    `Could not store ${topic} of ${originatorId}: ${what} with ${tags.join(' and ')} ${where}. Nothing was stored. Read again and ` +
      'decide anew; where the tag is for one value, that value is taken.',
    { originatorId, expectedVersion: originatorVersion - 1, tags, types, cause },
  )
}
