/** What a subscription to an application delivers: its events, read by its mapper. */
import type { DomainEvent } from '../domain/event.js'
import { ProgrammingError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import type { Subscription } from '../persistence/recorder.js'
import type { Notification, Tracking } from '../persistence/stored-event.js'

/** An event of an application's log. */
export interface SubscribedEvent {
  /** The event. */
  readonly event: DomainEvent
  /** The event as it is stored, with its position in the log. */
  readonly notification: Notification
  /** What whoever processes the event stores with the results: the application's name, and the position. */
  readonly tracking: Tracking
}

/** The subscription to the recorder, and what reads its states. */
export interface OpenedSubscription {
  readonly notifications: Subscription<Notification>
  readonly store: EventStore
}

interface Opened extends OpenedSubscription {
  readonly iterator: AsyncIterator<Notification, undefined>
}

/** A subscription to the recorder, whose notifications are turned into events as they are taken. */
export class ApplicationSubscription implements Subscription<SubscribedEvent> {
  readonly #applicationName: string
  readonly #open: () => Promise<OpenedSubscription>
  #opening: Promise<Opened> | undefined
  #opened: Opened | undefined
  #isIterated = false
  #isStopped = false

  /** @param open - called when the iteration begins */
  constructor(applicationName: string, open: () => Promise<OpenedSubscription>) {
    this.#applicationName = applicationName
    this.#open = open
  }

  [Symbol.asyncIterator](): AsyncIterator<SubscribedEvent, undefined> {
    if (this.#isIterated) {
      throw new ProgrammingError(
        `Could not iterate over a subscription to ${this.#applicationName} a second time: subscribe again, after the last event that was processed.`,
      )
    }
    this.#isIterated = true
    return {
      next: async () => await this.#next(),
      return: async () => {
        this.stop()
        await this.#opened?.iterator.return?.()
        return { done: true, value: undefined }
      },
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#opened?.notifications.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    await this.#opened?.notifications[Symbol.asyncDispose]()
  }

  async #next(): Promise<IteratorResult<SubscribedEvent, undefined>> {
    try {
      if (this.#isStopped) return { done: true, value: undefined }
      this.#opened ??= await (this.#opening ??= this.#begin())
      // It may have been stopped while it was opened.
      if (this.#isStopped) this.#opened.notifications.stop()
      const { iterator, store } = this.#opened
      const next = await iterator.next()
      if (next.done === true) return next
      const notification = next.value
      const tracking = { applicationName: this.#applicationName, notificationId: notification.id }
      const [event] = await store.toDomainEvents([notification])
      if (event === undefined) throw new ProgrammingError('A notification was read as no event')
      return { done: false, value: { event, notification, tracking } }
    } catch (error) {
      this.stop()
      throw error
    }
  }

  async #begin(): Promise<Opened> {
    const opened = await this.#open()
    return { ...opened, iterator: opened.notifications[Symbol.asyncIterator]() }
  }
}
