/** Where a projection runner reads: the log of an application in this process. */
import type { TimerStore } from '../application/timers.js'
import type { DomainEvent } from '../domain/event.js'
import type { Tag } from '../domain/tags.js'
import type { Environment } from '../persistence/environment.js'
import type { EventStore } from '../persistence/event-store.js'
import { type LogPage, type PageRange, readPage } from '../persistence/followed-log.js'
import type { ApplicationRecorder, SubscribeOptions, Subscription } from '../persistence/recorder.js'
import type { Notification } from '../persistence/stored-event.js'

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
    read: async (notifications) => await (await application.eventStore()).toDomainEvents(notifications),
  }
}
