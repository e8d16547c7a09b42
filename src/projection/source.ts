/** Where a projection runner reads: the log of an application in this process, or, in sections, of one elsewhere. */

import { setTimeout as delay } from 'node:timers/promises'
import type { TimerStore } from '../application/timers.js'
import type { DomainEvent } from '../domain/event.js'
import type { Tag } from '../domain/tags.js'
import { BeyondLogEndError, NotSupportedError } from '../errors.js'
import type { Environment } from '../persistence/environment.js'
import type { EventStore } from '../persistence/event-store.js'
import { endBefore, type FollowedLog, type LogPage, type PageRange, readPage } from '../persistence/followed-log.js'
import { LogTail } from '../persistence/log-tail.js'
import type {
  ApplicationRecorder,
  SelectNotificationsOptions,
  SubscribeOptions,
  Subscription,
  SubscriptionPage,
} from '../persistence/recorder.js'
import type { LoggedNotification, Notification } from '../persistence/stored-event.js'
import { LogSubscription } from '../persistence/subscription.js'

/** What a runner needs of an `Application`. */
export interface ProjectedApplication {
  readonly name: string
  readonly environment: Environment
  readonly recorder: ApplicationRecorder
  /** The projections that it writes with its events. */
  readonly inline?: readonly string[]
  /** Where its timers are kept; needed by reactions that handle some. */
  readonly timers?: { store(): Promise<TimerStore>; createTable(): Promise<void> }
  ready(): Promise<unknown>
  eventStore(): Promise<EventStore>
}

/** A log that projections are built from. */
export interface ProjectionSource {
  /** Its name, under which positions in it are kept. */
  readonly name: string
  /** Loads what is not loaded yet. */
  ready(): Promise<void>
  /** Follows it, outside of any transaction. */
  follow(options: SubscribeOptions): Subscription<Notification>
  /** Reads a part of it. */
  page(range: PageRange): Promise<LogPage>
  /** Writes tags as they are stored. @throws `NotSupportedError` where none are kept */
  tagTexts(tags: readonly Tag[]): Promise<readonly string[]>
  /** The last position that a reader can rely on; 0 for an empty log. */
  end(): Promise<bigint>
  /** The greatest position that is committed, final or not; 0 for an empty log. */
  greatest(): Promise<bigint>
  /** Where the log ends, if that is before a position; undefined where it has it, or has had it, and where that is not known. */
  endBefore(position: bigint): Promise<bigint | undefined>
  /** Reads states. @throws `MapperError` when one cannot be read */
  read(notifications: readonly Notification[]): Promise<readonly DomainEvent[]>
}

/** Which events of a source a projection takes. */
export interface AskedEvents {
  readonly topics: readonly string[] | undefined
  readonly tags: readonly Tag[] | undefined
}

/** What a projection asks its source for: topics, and tags as they are stored. */
export interface Asked {
  /** Undefined for all. */
  readonly topics: readonly string[] | undefined
  /** Empty for all. */
  readonly tags: readonly string[]
}

/** Tells what a projection asks its source for. @throws `NotSupportedError` for tags where the source has none */
export async function askedOf(source: ProjectionSource, { topics, tags }: AskedEvents): Promise<Asked> {
  return { topics, tags: tags === undefined ? [] : await source.tagTexts(tags) }
}

/** The same as a page of the source is asked for it. */
export function rangeOf({ topics, tags }: Asked): Pick<PageRange, 'topics' | 'tags'> {
  return { topics: topics === undefined ? undefined : new Set(topics), tags }
}

/** An application as a source. */
export function applicationSource(application: ProjectedApplication): ProjectionSource {
  return {
    name: application.name,
    ready: async () => void (await application.ready()),
    follow: (options) => application.recorder.subscribe(options),
    page: async (range) => await readPage(application.recorder, range),
    tagTexts: async (tags) => (await application.eventStore()).askedTags(tags),
    end: async () => (await application.recorder.maxNotificationId()) ?? 0n,
    async greatest() {
      const { recorder } = application
      return (await (recorder.greatestNotificationId?.() ?? recorder.maxNotificationId())) ?? 0n
    },
    endBefore: async (position) => await endBefore(application.recorder, position),
    read: async (notifications) => await (await application.eventStore()).toDomainEvents(notifications),
  }
}

/** A log that can be read from anywhere: a `RemoteNotificationLog`, or the `notificationLog` of an application. */
export interface ProjectedLog {
  /** Under it positions in the log are kept; default `remote`. */
  readonly name?: string | undefined
  /** The greatest number of notifications that can be asked for at once. */
  readonly sectionSize: number
  /** Reads notifications from an id on. */
  select(
    start: bigint | null,
    limit: number,
    options?: Omit<SelectNotificationsOptions, 'tags'>,
  ): Promise<readonly LoggedNotification[]>
  /**
   * Waits for what comes after a position, up to a time of its own. Optional: without it the log is asked once a second.
   *
   * @returns the last position that has come, null where there was nothing
   */
  readonly waitBeyond?: ((position: bigint, signal: AbortSignal) => Promise<bigint | null>) | undefined
  /** The last id that was given out there; undefined where that is not known. Optional: without it nobody finds out that the log was restored. */
  lastGivenNotificationId?(): Promise<bigint | undefined>
}

const mostAttempts = 5
const firstDelayMs = 10

/** A wait that ends before that without anything was none. */
const shortestWaitMs = 1_000

/** So often the log is asked by itself where a wait tells of what is new. */
const longestRestMs = 30_000

/**
 * Reads the log for all projections of the runner together, and asks for more up to once a second.
 *
 * @param application - has the mapper that reads the events
 */
export function remoteSource(log: ProjectedLog, application: ProjectedApplication): ProjectionSource {
  const followed = new RemoteLog(log)
  const tail = new LogTail(followed)
  return {
    name: log.name ?? 'remote',
    ready: async () => void (await application.ready()),
    follow: ({ topics = [], ...options }) =>
      new FilteredSubscription(new LogSubscription(() => tail, options), topics.length === 0 ? undefined : topics),
    async page({ after, limit, topics }) {
      const items = await followed.selectNotifications(after, limit, { inclusiveOfStart: false })
      const end = items.at(-1)?.id ?? after
      return { items: items.filter(({ topic }) => topics === undefined || topics.has(topic)), end }
    },
    // The runner has refused projections with tags.
    tagTexts: async (tags) => {
      throw noTagsElsewhere(tags.map(({ name }) => name).join(', '))
    },
    end: async () => await followed.maxNotificationId(),
    greatest: async () => await followed.maxNotificationId(),
    endBefore: async (position) => await endBefore(followed, position),
    read: async (notifications) => await (await application.eventStore()).toDomainEvents(notifications),
  }
}

/** @param what - what was to be read by tags */
export function noTagsElsewhere(what: string): NotSupportedError {
  return new NotSupportedError(
    `Could not read a log from elsewhere by tags, for '${what}': it does not have them. Take its events by their handlers, or by topics.`,
  )
}

/** A log of which nobody tells when something is recorded, nor up to where it is final. */
class RemoteLog implements FollowedLog {
  readonly isClosed = false
  readonly #log: ProjectedLog
  /** The greatest position that was seen. */
  #seen = 0n
  /** How far those who follow it have come, as far as they have begun. */
  #readTo: bigint | undefined

  constructor(log: ProjectedLog) {
    this.#log = log
  }

  /** While it waits there, it need not ask by itself. */
  get longestRestMs(): number | undefined {
    return this.#log.waitBeyond === undefined ? undefined : longestRestMs
  }

  onRecorded(listener: () => void): () => void {
    const ending = new AbortController()
    void this.#watch(listener, ending.signal)
    return () => ending.abort()
  }

  /** Whatever keeps a section from coming may pass: the network, a server that starts again, a proxy's page instead of an answer. */
  mayPass(error: unknown): boolean {
    return !(error instanceof BeyondLogEndError)
  }

  async selectNotifications(
    start: bigint | null,
    limit: number,
    options: SelectNotificationsOptions = {},
  ): Promise<Notification[]> {
    const items: Notification[] = []
    let from = start
    let narrowing = options
    while (items.length < limit) {
      const wanted = Math.min(limit - items.length, this.#log.sectionSize)
      const section = await this.#select(from, wanted, narrowing)
      items.push(...section.map(withTime))
      const last = section.at(-1)
      if (last === undefined || section.length < wanted) break
      from = last.id
      narrowing = { ...options, inclusiveOfStart: false }
    }
    this.#note(items.at(-1))
    const end = items.at(-1)?.id ?? start ?? 0n
    if (this.#readTo === undefined || end > this.#readTo) this.#readTo = end
    return items
  }

  async lastGivenNotificationId(): Promise<bigint | undefined> {
    const last = await this.#log.lastGivenNotificationId?.()
    // It was restored: its end is to be looked for anew.
    if (last !== undefined && last < this.#seen) this.#seen = 0n
    return last
  }

  /** Waits for something new, again and again, where the log can. A failure ends it silently: the listener's own read fails as well. */
  async #watch(listener: () => void, signal: AbortSignal): Promise<void> {
    let told = 0n
    while (!signal.aborted && this.#log.waitBeyond !== undefined) {
      const begun = performance.now()
      let last: bigint | null = null
      try {
        // Nobody has begun to read: it is not known where there is something new.
        const readTo = this.#readTo
        if (readTo !== undefined) last = await this.#log.waitBeyond(told > readTo ? told : readTo, signal)
        if (last !== null) told = last
        if (last !== null) listener()
      } catch {
        // Something may have come while nobody could say so.
        listener()
      }
      // Whoever does not wait, or fails, is not asked all the time.
      const restMs = this.#readTo === undefined ? firstDelayMs : shortestWaitMs - (performance.now() - begun)
      if (last === null && restMs > 0) await delay(restMs, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Looks for the end by steps that grow, then by halves. */
  async maxNotificationId(): Promise<bigint> {
    let step = BigInt(this.#log.sectionSize)
    while (await this.#findsAfter(this.#seen + step)) step *= 2n
    let empty = this.#seen + step
    while (empty > this.#seen) {
      const middle = this.#seen + (empty - this.#seen) / 2n
      if (!(await this.#findsAfter(middle))) empty = middle
    }
    return this.#seen
  }

  async #findsAfter(position: bigint): Promise<boolean> {
    const [first] = await this.#select(position, 1, { inclusiveOfStart: false })
    this.#note(first)
    return first !== undefined
  }

  /** A request that fails is made again a few times: whoever looks for the end of a log makes many. */
  async #select(...args: Parameters<ProjectedLog['select']>): ReturnType<ProjectedLog['select']> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#log.select(...args)
      } catch (error) {
        if (attempt === mostAttempts) throw error
        await delay(firstDelayMs * 2 ** attempt)
      }
    }
  }

  #note(notification: LoggedNotification | undefined): void {
    if (notification !== undefined && notification.id > this.#seen) this.#seen = notification.id
  }
}

/** Handlers are not given it. */
function withTime(notification: LoggedNotification): Notification {
  return { ...notification, recordedAt: notification.recordedAt ?? new Date(0) }
}

/** What of a subscription has certain topics, with the ends of all its pages. */
class FilteredSubscription implements Subscription<Notification> {
  readonly #inner: Subscription<Notification>
  readonly #topics: ReadonlySet<string> | undefined

  constructor(inner: Subscription<Notification>, topics: readonly string[] | undefined) {
    this.#inner = inner
    this.#topics = topics === undefined ? undefined : new Set(topics)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Notification, undefined> {
    for await (const { items } of this.pages()) yield* items
  }

  async *pages(): AsyncGenerator<SubscriptionPage<Notification>, undefined> {
    const topics = this.#topics
    for await (const { items, end } of this.#inner.pages()) {
      yield { items: items.filter(({ topic }) => topics === undefined || topics.has(topic)), end }
    }
  }

  stop(): void {
    this.#inner.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }
}
