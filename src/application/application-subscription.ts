/** What a subscription to an application delivers: its events, read by its mapper. */
import { abortSignal, anything, listOf, type OptionTypesOf, oneOf, text } from '../checked-options.js'
import type { DomainEvent } from '../domain/event.js'
import { type Tag, type Tags, tagKey } from '../domain/tags.js'
import { MapperError, ProgrammingError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import { unreadable } from '../persistence/mapper.js'
import { type SubscribeOptions, type Subscription, type SubscriptionPage } from '../persistence/recorder.js'
import type { Metadata, Notification, Tracking } from '../persistence/stored-event.js'
import { SubscribedTracking, type TrackingOrigin } from '../persistence/tracking.js'
import { withMetadata } from '../transaction/ambient-metadata.js'

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
interface AskedTags {
  /** Undefined for all events. */
  readonly tags: readonly Tag[] | undefined
}

/** The subscription to the recorder, and what reads its states. */
interface OpenedSubscription {
  readonly notifications: Subscription<Notification>
  readonly store: EventStore
}

type NextEvent = IteratorResult<SubscribedEvent, undefined>

const over: { readonly done: true; readonly value: undefined } = { done: true, value: undefined }

/** A subscription to the recorder, whose notifications are turned into events as they are taken. */
export class ApplicationSubscription implements Subscription<SubscribedEvent> {
  readonly #applicationName: string
  readonly #open: () => Promise<OpenedSubscription>
  readonly #origin: TrackingOrigin
  readonly #skipsUnreadable: boolean
  readonly #signal: AbortSignal | undefined
  #opened: OpenedSubscription | undefined
  #isIterated = false
  #isStopped = false

  /**
   * @param open - called when the iteration begins
   * @throws `TypeError` for an `onUnreadable` that there is not
   */
  constructor(
    applicationName: string,
    { topics = [], tags, signal, onUnreadable = 'throw' }: Omit<ApplicationSubscribeOptions, 'tags'> & AskedTags,
    open: () => Promise<OpenedSubscription>,
  ) {
    if (onUnreadable !== 'throw' && onUnreadable !== 'skip') {
      throw new TypeError(`onUnreadable must be 'throw' or 'skip', not ${String(onUnreadable)}`)
    }
    this.#skipsUnreadable = onUnreadable === 'skip'
    this.#applicationName = applicationName
    this.#signal = signal
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
    const pages = this.#iterate({ ends: false })
    let items: readonly Notification[] = []
    let taken = 0
    let taking: Promise<unknown> | undefined
    const take = async (): Promise<NextEvent> => {
      for (;;) {
        const notification = items[taken]
        if (this.#isOver) return over
        if (notification === undefined) {
          const page = await pages.next()
          if (page === undefined) return over
          items = page.items
          taken = 0
        } else {
          taken += 1
          const [value] = await this.#read([notification])
          // Nothing is left of one that was skipped.
          if (value !== undefined) return { done: false, value }
        }
      }
    }
    return {
      next: () => {
        // Most events need no promise but the one that is returned, which counts where hundreds of subscriptions follow a log.
        const value = taking === undefined ? this.#readAtOnce(items[taken]) : undefined
        if (value !== undefined) {
          taken += 1
          return Promise.resolve({ done: false, value })
        }
        const next = taking === undefined ? take() : taking.then(take)
        const turn = next.catch(ignore).finally(() => {
          if (taking === turn) taking = undefined
        })
        taking = turn
        return next
      },
      return: async () => await pages.return(),
    }
  }

  /** The same in pages, each with the tracking of its end. */
  pages(): AsyncIterable<SubscribedPage> {
    return {
      [Symbol.asyncIterator]: () => {
        const pages = this.#iterate({ ends: true })
        return {
          next: async () => {
            const page = await pages.next()
            if (page === undefined) return over
            const { items, end } = page
            return { done: false, value: { items: await this.#read(items), end, tracking: this.#trackingOf(end) } }
          },
          return: async () => await pages.return(),
        }
      },
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

  #iterate(options: { readonly ends: boolean }): NotificationPages {
    if (this.#isIterated) {
      throw new ProgrammingError(
        `Could not iterate over a subscription to ${this.#applicationName} a second time: subscribe again, after the last event that was processed.`,
      )
    }
    this.#isIterated = true
    let opening: Promise<AsyncIterator<SubscriptionPage<Notification>, undefined>> | undefined
    const begin = async (): Promise<AsyncIterator<SubscriptionPage<Notification>, undefined>> => {
      this.#opened = await this.#open()
      return this.#opened.notifications.pages(options)[Symbol.asyncIterator]()
    }
    return {
      next: async () => {
        if (this.#isStopped) return undefined
        try {
          const iterator = await (opening ??= begin())
          // It may have been stopped while it was opened.
          if (this.#isStopped) this.#opened?.notifications.stop()
          const next = await iterator.next()
          return next.done === true ? undefined : next.value
        } catch (error) {
          this.stop()
          throw error
        }
      },
      return: async () => {
        this.stop()
        if (this.#opened !== undefined) await (await opening)?.return?.()
        return over
      },
    }
  }

  /** @returns undefined where there is none, or reading it takes longer, or fails */
  #readAtOnce(notification: Notification | undefined): SubscribedEvent | undefined {
    if (notification === undefined || this.#isOver) return undefined
    try {
      const event = this.#opened?.store.toSharedEvent(notification)
      return event === undefined ? undefined : this.#subscribed(event, notification)
    } catch {
      return undefined
    }
  }

  async #read(notifications: readonly Notification[]): Promise<SubscribedEvent[]> {
    try {
      const events = (await this.#opened?.store.toDomainEvents(notifications)) ?? []
      return events.flatMap((event, index) => {
        const notification = notifications[index]
        return notification === undefined ? [] : [this.#subscribed(event, notification)]
      })
    } catch (error) {
      if (error instanceof MapperError) return await this.#readEach(error, notifications)
      this.stop()
      throw error
    }
  }

  /** One of them cannot be read. */
  async #readEach(error: MapperError, notifications: readonly Notification[]): Promise<SubscribedEvent[]> {
    const [first, ...others] = notifications
    if (first === undefined) return []
    if (others.length > 0) {
      const events: SubscribedEvent[] = []
      for (const notification of notifications) events.push(...(await this.#read([notification])))
      return events
    }
    const located = error.notificationId === undefined ? unreadable(error.cause ?? error, first) : error
    if (!this.#skipsUnreadable) {
      this.stop()
      throw located
    }
    process.emitWarning(
      `A subscription to ${this.#applicationName} passes over an event, because of onUnreadable: 'skip'. ${located.message}`,
      { code: 'ES_UNREADABLE_SKIPPED' },
    )
    return []
  }

  get #isOver(): boolean {
    return this.#isStopped || this.#signal?.aborted === true
  }

  #subscribed(event: DomainEvent, notification: Notification): SubscribedEvent {
    return { event, notification, tracking: this.#trackingOf(notification.id) }
  }

  #trackingOf(notificationId: bigint): Tracking {
    return new SubscribedTracking(this.#origin, this.#applicationName, notificationId)
  }
}

/** The pages of a subscription to the recorder. */
interface NotificationPages {
  /** @returns undefined when it has ended */
  next(): Promise<SubscriptionPage<Notification> | undefined>
  /** Ends it. */
  return(): Promise<{ readonly done: true; readonly value: undefined }>
}

function ignore(): void {}

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
