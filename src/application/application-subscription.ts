/** What a subscription to an application delivers: its events, read by its mapper. */
import type { DomainEvent } from '../domain/event.js'
import { ProgrammingError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import type { Subscription, SubscriptionPage } from '../persistence/recorder.js'
import type { Notification, Tracking } from '../persistence/stored-event.js'
import { SubscribedTracking, type TrackingOrigin } from '../persistence/tracking.js'

/** An event of an application's log. */
export interface SubscribedEvent {
  /** The event. */
  readonly event: DomainEvent
  /** The event as it is stored, with its position in the log. */
  readonly notification: Notification
  /** What whoever processes the event stores with the results: the application's name, and the position. */
  readonly tracking: Tracking
}

/** A part of an application's log, with what whoever processes it stores with the results. */
export interface SubscribedPage extends SubscriptionPage<SubscribedEvent> {
  /** The application's name, and the end of the page: also what `topics` have left out counts as processed then. */
  readonly tracking: Tracking
}

/** The subscription to the recorder, and what reads its states. */
export interface OpenedSubscription {
  readonly notifications: Subscription<Notification>
  readonly store: EventStore
}

/** A subscription to the recorder, whose notifications are turned into events as they are taken. */
export class ApplicationSubscription implements Subscription<SubscribedEvent> {
  readonly #applicationName: string
  readonly #open: () => Promise<OpenedSubscription>
  readonly #origin: TrackingOrigin
  #opened: OpenedSubscription | undefined
  #isIterated = false
  #isStopped = false

  /** @param open - called when the iteration begins */
  constructor(applicationName: string, topics: readonly string[], open: () => Promise<OpenedSubscription>) {
    this.#applicationName = applicationName
    this.#open = open
    const isOver = (): boolean => this.#isStopped
    this.#origin = {
      topics,
      get isOver() {
        return isOver()
      },
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<SubscribedEvent, undefined> {
    return this.#iterate(
      ({ notifications }) => notifications,
      async (notification, store) => {
        const [event] = await this.#read([notification], store)
        if (event === undefined) throw new ProgrammingError('A notification was read as no event')
        return event
      },
    )
  }

  /** The same in pages, each with the tracking of its end. */
  pages(): AsyncIterable<SubscribedPage> {
    return {
      [Symbol.asyncIterator]: () =>
        this.#iterate(
          ({ notifications }) => notifications.pages(),
          async ({ items, end }, store) => ({
            items: await this.#read(items, store),
            end,
            tracking: this.#trackingOf(end),
          }),
        ),
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

  #iterate<Source, Item>(
    sourceOf: (opened: OpenedSubscription) => AsyncIterable<Source>,
    read: (source: Source, store: EventStore) => Promise<Item>,
  ): AsyncIterator<Item, undefined> {
    if (this.#isIterated) {
      throw new ProgrammingError(
        `Could not iterate over a subscription to ${this.#applicationName} a second time: subscribe again, after the last event that was processed.`,
      )
    }
    this.#isIterated = true
    let opening: Promise<AsyncIterator<Source>> | undefined
    const begin = async (): Promise<AsyncIterator<Source>> => {
      this.#opened = await this.#open()
      return sourceOf(this.#opened)[Symbol.asyncIterator]()
    }
    return {
      next: async () => {
        try {
          if (this.#isStopped) return { done: true, value: undefined }
          const iterator = await (opening ??= begin())
          // It may have been stopped while it was opened.
          if (this.#isStopped) this.#opened?.notifications.stop()
          const next = await iterator.next()
          if (next.done === true || this.#opened === undefined) return { done: true, value: undefined }
          return { done: false, value: await read(next.value, this.#opened.store) }
        } catch (error) {
          this.stop()
          throw error
        }
      },
      return: async () => {
        this.stop()
        if (this.#opened !== undefined) await (await opening)?.return?.()
        return { done: true, value: undefined }
      },
    }
  }

  async #read(notifications: readonly Notification[], store: EventStore): Promise<SubscribedEvent[]> {
    const events = await store.toDomainEvents(notifications)
    return events.flatMap((event, index) => {
      const notification = notifications[index]
      return notification === undefined ? [] : [{ event, notification, tracking: this.#trackingOf(notification.id) }]
    })
  }

  #trackingOf(notificationId: bigint): Tracking {
    return new SubscribedTracking(this.#origin, this.#applicationName, notificationId)
  }
}
