/** What a subscription to an application delivers: its events, read by its mapper. */
import { abortSignal, anything, listOf, type OptionTypesOf, oneOf, text } from '../checked-options.js'
import type { DomainEvent } from '../domain/event.js'
import { type Tag, type Tags, tagKey } from '../domain/tags.js'
import { MapperError, ProgrammingError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import { unreadable } from '../persistence/mapper.js'
import type { SubscribeOptions, Subscription, SubscriptionPage } from '../persistence/recorder.js'
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
  /** The application's name, and the end of the page: also what `topics` and `tags` have left out counts as processed then. */
  readonly tracking: Tracking
}

/** What a subscription to an application is to deliver. */
export interface ApplicationSubscribeOptions extends Omit<SubscribeOptions, 'tags'> {
  /** Only events that have all of these tags, at least one; default all events. Those of events of before are added by `tags backfill`. */
  readonly tags?: Tags
  /**
   * What to do at an event that cannot be read, whose state is damaged or written by another program: `throw`, the default, a
   * `MapperError` that has its position, which ends the iteration; or `skip` it, with a warning (`ES_UNREADABLE_SKIPPED`) that says the
   * position. What is skipped counts as processed once a later position is tracked.
   */
  readonly onUnreadable?: 'throw' | 'skip'
}

/** What the options of a subscription are; `gt`, `tags` and `onUnreadable` are checked where they are read. */
export const subscribeOptionTypes: OptionTypesOf<ApplicationSubscribeOptions> = {
  gt: anything,
  topics: listOf(text, 'a list of topics, as topicsOf gives them'),
  tags: anything,
  signal: abortSignal,
  onBeyondEnd: oneOf('warn', 'throw'),
  onUnreadable: anything,
}

/** Tags that were checked. */
export interface AskedTags {
  /** Undefined for all events. */
  readonly tags: readonly Tag[] | undefined
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
  readonly #skipsUnreadable: boolean
  #opened: OpenedSubscription | undefined
  #isIterated = false
  #isStopped = false

  /**
   * @param open - called when the iteration begins
   * @throws `TypeError` for an `onUnreadable` that there is not
   */
  constructor(
    applicationName: string,
    { topics = [], tags, onUnreadable = 'throw' }: Omit<ApplicationSubscribeOptions, 'tags'> & AskedTags,
    open: () => Promise<OpenedSubscription>,
  ) {
    if (onUnreadable !== 'throw' && onUnreadable !== 'skip') {
      throw new TypeError(`onUnreadable must be 'throw' or 'skip', not ${String(onUnreadable)}`)
    }
    this.#skipsUnreadable = onUnreadable === 'skip'
    this.#applicationName = applicationName
    this.#open = open
    const isOver = (): boolean => this.#isStopped
    this.#origin = {
      topics: [...topics, ...(tags ?? []).map(tagKey)],
      get isOver() {
        return isOver()
      },
    }
  }

  /** Follows the log from where it is. */
  [Symbol.asyncIterator](): AsyncIterator<SubscribedEvent, undefined> {
    return this.#iterate(
      ({ notifications }) => notifications,
      async (notification, store) => (await this.#read([notification], store))[0],
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

  /** Ends it, as `stop` does, and waits until nothing is read any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    await this.#opened?.notifications[Symbol.asyncDispose]()
  }

  #iterate<Source, Item>(
    sourceOf: (opened: OpenedSubscription) => AsyncIterable<Source>,
    read: (source: Source, store: EventStore) => Promise<Item | undefined>,
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
          for (;;) {
            const next = await iterator.next()
            if (next.done === true || this.#opened === undefined) return { done: true, value: undefined }
            const value = await read(next.value, this.#opened.store)
            // Nothing is left of one that was skipped.
            if (value !== undefined) return { done: false, value }
          }
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
    let events: readonly DomainEvent[]
    try {
      events = await store.toDomainEvents(notifications)
    } catch (error) {
      if (!(error instanceof MapperError)) throw error
      return await this.#readEach(error, notifications, store)
    }
    return events.flatMap((event, index) => {
      const notification = notifications[index]
      return notification === undefined ? [] : [{ event, notification, tracking: this.#trackingOf(notification.id) }]
    })
  }

  /** One of them cannot be read. */
  async #readEach(
    error: MapperError,
    notifications: readonly Notification[],
    store: EventStore,
  ): Promise<SubscribedEvent[]> {
    const [first, ...others] = notifications
    if (first === undefined) return []
    if (others.length > 0) {
      const events: SubscribedEvent[] = []
      for (const notification of notifications) events.push(...(await this.#read([notification], store)))
      return events
    }
    const located = error.notificationId === undefined ? unreadable(error.cause ?? error, first) : error
    if (!this.#skipsUnreadable) throw located
    process.emitWarning(
      `A subscription to ${this.#applicationName} passes over an event, because of onUnreadable: 'skip'. ${located.message}`,
      { code: 'ES_UNREADABLE_SKIPPED' },
    )
    return []
  }

  #trackingOf(notificationId: bigint): Tracking {
    return new SubscribedTracking(this.#origin, this.#applicationName, notificationId)
  }
}
