/** The records that cross the ports: what a recorder stores and what it gives back. */

/** Facts about an event that are not its content (who, why, from where), as a JSON object. */
export type Metadata = Readonly<Record<string, unknown>>

/** One event (or snapshot) as it is stored. */
export interface StoredEvent {
  /** The id of the aggregate, or whatever else owns the sequence. */
  readonly originatorId: string
  /** The position in the originator's sequence; an aggregate's first event has 1 by default. */
  readonly originatorVersion: number
  /** The stable name of the event's type, such as `Dog.TrickAdded`. */
  readonly topic: string
  /** The event's attributes: encoded, then compressed, then encrypted, as configured. */
  readonly state: Uint8Array
  /** What is known of the event beside its content. */
  readonly metadata?: Metadata
  /** The tags that it is stored with, such as `course:c1`. Reads do not give them. */
  readonly tags?: readonly string[]
}

/** A stored event with its position in the application's log. */
export interface Notification extends StoredEvent {
  /** The position in the log: increasing, gaps are possible. A `bigint`, since a log may pass 2^53. */
  readonly id: bigint
  /** When the database stored it. */
  readonly recordedAt: Date
}

/** A notification of a log that may be elsewhere. */
export interface LoggedNotification extends Omit<Notification, 'recordedAt'> {
  /** When the database there stored it; undefined where the log does not tell, as that of the Python library. */
  readonly recordedAt: Date | undefined
}

/** How far one upstream application's log has been processed. */
export interface Tracking {
  /** The upstream application. */
  readonly applicationName: string
  /** The last notification of that log that was processed. */
  readonly notificationId: bigint
}

/** An event that was read by its tags. */
export interface TaggedEvent {
  /** The event; of two reads that both give a pending one, it is the same object. */
  readonly event: StoredEvent
  /** Its position in the log; undefined for one that waits for the flush of the current transaction. */
  readonly id: bigint | undefined
}

/** A place in a stream. */
export interface StreamPosition {
  /** The stream. */
  readonly originatorId: string
  /** The version in it. */
  readonly originatorVersion: number
}
