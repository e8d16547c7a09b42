/** What a leader tells those who follow it, once it is committed. */
import type { Recording } from '../persistence/event-store.js'

/** What a leader tells its followers of, once it is committed. */
export interface RecordingEvent {
  /** The name of the leader. */
  readonly applicationName: string
  /** What was recorded, in order, with the positions in the leader's log. */
  readonly recordings: readonly Recording[]
  /** The position of the last event that was told before this one in this process; null where there was none. */
  readonly previousMaxNotificationId: bigint | null
}

/** Who is told what a leader has recorded; a `Follower` is one. */
export interface RecordingEventReceiver {
  /** Called after the commit; not awaited, so that nobody who saves waits for it. What it throws becomes a process warning `ES_PROMPT_FAILED`. */
  receiveRecordingEvent(event: RecordingEvent): unknown
}

/** Those who are told, and what they were told last. */
export class Prompts {
  readonly #receivers: RecordingEventReceiver[] = []
  #last: bigint | null = null

  add(receiver: RecordingEventReceiver): void {
    this.#receivers.push(receiver)
  }

  send(applicationName: string, all: readonly Recording[], topics: readonly string[]): void {
    const recordings = topics.length === 0 ? all : all.filter(({ event }) => topics.includes(event.topic))
    const last = recordings.at(-1)?.notification?.id
    if (last === undefined) return
    const event = { applicationName, recordings, previousMaxNotificationId: this.#last }
    this.#last = last
    for (const receiver of this.#receivers) void deliver(receiver, event)
  }
}

async function deliver(receiver: RecordingEventReceiver, event: RecordingEvent): Promise<void> {
  try {
    await receiver.receiveRecordingEvent(event)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.emitWarning(
      `A follower of ${event.applicationName} has failed on what it was prompted for, which is stored. It is read again with the next prompt. ${reason}`,
      { code: 'ES_PROMPT_FAILED' },
    )
  }
}
