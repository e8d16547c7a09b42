/** What links an event to the one that it follows from. */
import type { Metadata } from '../persistence/stored-event.js'
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
  return following({ id: `${tracking.applicationName}/${tracking.notificationId}`, metadata: event.metadata }, fn)
}

/**
 * Runs what follows from an event, or from whatever else has an id.
 *
 * @param cause - its id, and its metadata, which may have a `correlationId`
 */
export function following<T>(cause: { readonly id: string; readonly metadata: Metadata | undefined }, fn: () => T): T {
  const causation: Causation = {
    causationId: cause.id,
    correlationId: cause.metadata?.['correlationId'] ?? cause.id,
  }
  return withMetadata({ ...causation }, fn)
}
