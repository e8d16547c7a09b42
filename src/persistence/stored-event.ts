/** The records that cross the ports: what a recorder stores and gives back, as bytes or as text, and how many of them are read at once. */

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

const utf8 = new TextEncoder()

/** Its bytes are made when somebody asks for them. */
export class TextEvent implements StoredEvent {
  readonly originatorId: string
  readonly originatorVersion: number
  readonly topic: string
  /** The state, of which `state` is the UTF-8. */
  readonly text: string
  readonly metadata?: Metadata

  constructor(
    {
      originatorId,
      originatorVersion,
      topic,
      metadata,
    }: Omit<StoredEvent, 'state' | 'metadata'> & {
      readonly metadata?: Metadata | undefined
    },
    text: string,
  ) {
    this.originatorId = originatorId
    this.originatorVersion = originatorVersion
    this.topic = topic
    this.text = text
    if (metadata !== undefined) this.metadata = metadata
  }

  get state(): Uint8Array {
    return utf8.encode(this.text)
  }
}

/** The event with its bytes, as whoever has not asked for text expects it. */
export function withBytes(event: StoredEvent): StoredEvent {
  if (!(event instanceof TextEvent)) return event
  const { originatorId, originatorVersion, topic, state, metadata } = event
  return metadata === undefined
    ? { originatorId, originatorVersion, topic, state }
    : { originatorId, originatorVersion, topic, state, metadata }
}

/** How large the state is, in bytes where it is known as such, else in characters. */
export function sizeOf(event: StoredEvent): number {
  return event instanceof TextEvent ? event.text.length : event.state.byteLength
}

const wantedBytes = 4 * 1024 * 1024

/** Doubles while pages are full and small, and shrinks when they are not small. */
export class PageSize {
  readonly #greatest: number
  #limit: number

  /** @param greatest - never more events than these */
  constructor(first: number, greatest: number) {
    this.#limit = first
    this.#greatest = greatest
  }

  /** How many to ask for. */
  get limit(): number {
    return this.#limit
  }

  /** Learns from the page that was read with this limit. */
  adapt(page: readonly StoredEvent[]): void {
    if (page.length === 0) return
    const bytes = page.reduce((sum, event) => sum + sizeOf(event), 0)
    const fitting = Math.max(1, Math.floor((page.length * wantedBytes) / Math.max(1, bytes)))
    const grown = page.length < this.#limit ? this.#limit : this.#limit * 2
    this.#limit = Math.min(grown, fitting, this.#greatest)
  }
}
