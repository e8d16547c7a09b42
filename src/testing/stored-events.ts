/** Stored events as the contracts use them, and what they compare of those that come back. */
import type { Notification, StoredEvent } from '../persistence/stored-event.js'

/** A stored event whose topic and state tell its version, unless they are given. */
export function storedEvent(
  originatorId: string,
  originatorVersion: number,
  given: Partial<Pick<StoredEvent, 'topic' | 'state'>> = {},
): StoredEvent {
  const { topic = `topic${originatorVersion}`, state = new TextEncoder().encode(`state${originatorVersion}`) } = given
  return { originatorId, originatorVersion, topic, state }
}

/** Events of one originator, with the versions from `first` on. */
export function storedEvents(originatorId: string, count: number, first = 1): StoredEvent[] {
  return Array.from({ length: count }, (_, index) => storedEvent(originatorId, first + index))
}

/** The versions of events, in their order. */
export function versionsOf(events: readonly StoredEvent[]): number[] {
  return events.map(({ originatorVersion }) => originatorVersion)
}

/** The ids of notifications, in their order, as numbers. */
export function idsOf(notifications: ReadonlyArray<Pick<Notification, 'id'>>): number[] {
  return notifications.map(({ id }) => Number(id))
}

/** The content of events, so that any test framework compares it: the bytes of a state as numbers. */
export function contentOf(events: readonly StoredEvent[]): unknown[] {
  return events.map(({ originatorId, originatorVersion, topic, state }) => ({
    originatorId,
    originatorVersion,
    topic,
    state: [...state],
  }))
}
