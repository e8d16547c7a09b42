/** Stored events as the contracts use them. */
import type { StoredEvent } from '../../src/persistence/stored-event.js'

/** A stored event whose topic and state tell its version, unless they are given. */
export function storedEvent(
  originatorId: string,
  originatorVersion: number,
  given: Partial<Pick<StoredEvent, 'topic' | 'state'>> = {},
): StoredEvent {
  const { topic = `topic${originatorVersion}`, state = new TextEncoder().encode(`state${originatorVersion}`) } = given
  return { originatorId, originatorVersion, topic, state }
}

/** The versions of events, in their order. */
export function versionsOf(events: readonly StoredEvent[]): number[] {
  return events.map(({ originatorVersion }) => originatorVersion)
}
