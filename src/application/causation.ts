/** What links an event to the one that it follows from. */
import { withMetadata } from '../transaction/ambient-metadata.js'
import type { SubscribedEvent } from './application-subscription.js'

/** The names of the links in an event's metadata. */
export interface Causation {
  /** The application and position of the event that this one follows from, such as `TrainingSchool/17`. */
  readonly causationId: string
  /** The same for all that follows from one request: that of the event it follows from, else its `causationId`. */
  readonly correlationId: unknown
}

/**
 * Runs the reaction to an event: every event saved in it is stored with the `causationId` and `correlationId` that follow
 * from this one.
 *
 * @param subscribed - what `application.subscribe()` delivered
 *
 * @example
 * for await (const subscribed of school.subscribe()) await causedBy(subscribed, () => accounts.bill(subscribed.event))
 */
export function causedBy<T>({ event, tracking }: Pick<SubscribedEvent, 'event' | 'tracking'>, fn: () => T): T {
  const causationId = `${tracking.applicationName}/${tracking.notificationId}`
  const causation: Causation = { causationId, correlationId: event.metadata?.['correlationId'] ?? causationId }
  return withMetadata({ ...causation }, fn)
}
