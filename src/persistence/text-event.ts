/** A stored event whose state is known as text: for recorders whose driver takes longer over bytes. */
import type { Metadata, Notification, StoredEvent } from './stored-event.js'

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

/** With its position in a log. */
class NumberedTextEvent extends TextEvent {
  readonly id: bigint

  constructor(event: TextEvent, id: bigint) {
    super(event, event.text)
    this.id = id
  }
}

/** The event with its position in a log. */
export function numbered(event: StoredEvent, id: bigint): Omit<Notification, 'recordedAt'> {
  return event instanceof TextEvent ? new NumberedTextEvent(event, id) : { ...event, id }
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
