/** What the browser of events reads of an application: kinds, streams, events, states and snapshots, outside of any transaction. */
import type { Application } from '../application/application.js'
import { creationOf, getOriginator, type Repository } from '../application/repository.js'
import { isAggregate } from '../domain/aggregate.js'
import type { DomainEvent } from '../domain/event.js'
import { shapesOf } from '../domain/read-event.js'
import { type SnapshotKind, stateOf } from '../domain/snapshot.js'
import { DatabaseError, InterfaceError, MapperError, OriginatorIdError } from '../errors.js'
import { EventStore } from '../persistence/event-store.js'
import { lastNotifications } from '../persistence/followed-log.js'
import type { ApplicationRecorder } from '../persistence/recorder.js'
import type { Notification, StoredEvent } from '../persistence/stored-event.js'
import { shownValue } from './shown-values.js'

/** How an application is read. */
export interface BrowsedLogOptions {
  readonly application: Application
  /** Those whose states can be shown, by the name that they are shown with. */
  readonly kinds: Readonly<Record<string, SnapshotKind>>
  readonly showPersonalData: boolean
}

/** An event as the page shows it. */
export interface BrowsedEvent {
  readonly id: string
  readonly version: number
  readonly topic: string
  readonly kind: string
  /** When it was triggered; undefined where it cannot be read. */
  readonly timestamp?: string
  /** Where it comes from the log. */
  readonly position?: bigint
  /** When it was stored, where it comes from the log. */
  readonly recordedAt?: Date
  readonly data?: unknown
  /** Why there are no data. */
  readonly problem?: string
  readonly metadata?: unknown
}

const streamsPerPage = 25
const eventsPerPage = 50
/** A page of streams reads at most so many pages of events, where most events begin none. */
const mostReads = 20
/** And walks through so much of the log, where few events begin a stream. */
const walkedAtOnce = 200_000n
const searchedAtOnce = 10_000
const mostFound = 100

/** The events that may begin a stream of a kind. */
interface Beginnings {
  readonly topics: readonly string[]
  readonly firstVersion: number
}

/** What a stored event is read from. */
type Stored = StoredEvent & Partial<Pick<Notification, 'id' | 'recordedAt'>>

/** Reads with the keys of personal data, or as somebody who has none. */
export class BrowsedLog {
  readonly #application: Application
  readonly #kinds: Readonly<Record<string, SnapshotKind>>
  readonly #placeholder: 'hidden' | 'erased'
  readonly #counts: TopicCounts
  readonly #repository: Repository

  constructor({ application, kinds, showPersonalData }: BrowsedLogOptions) {
    this.#application = application
    this.#kinds = kinds
    this.#placeholder = showPersonalData ? 'erased' : 'hidden'
    this.#counts = new TopicCounts(async () => {
      await application.ready()
      const { recorder } = application
      if (!('countByTopic' in recorder && typeof recorder.countByTopic === 'function')) return undefined
      return (await recorder.countByTopic()) as readonly TopicCount[] // as the recorders of a datastore have it
    })
    this.#repository = showPersonalData
      ? application.repository
      : application.repository.readingFrom({
          readPages: async (...args) => await (await this.#events()).readPages(...args),
          readSinceSnapshot: async (...args) =>
            await (await this.#events()).readSinceSnapshot((await this.#snapshots()).recorder, ...args),
          has: async (id) => await (await this.#events()).has(id),
          lastTopic: async (id) =>
            (await (await this.#events()).recorder.selectEvents(id, { desc: true, limit: 1 }))[0]?.topic,
        })
  }

  /** The kinds that there are, with how many streams and events they have, as it was a short time ago. */
  async kinds(): Promise<object> {
    const counted = await this.#counts.soon()
    const kinds = new Map<string, { streams: number; events: number; topics: TopicCount[] }>()
    for (const name of Object.keys(this.#kinds)) kinds.set(name, { streams: 0, events: 0, topics: [] })
    for (const count of counted?.topics ?? []) {
      const name = this.#kindOf(count.topic)
      const kind = kinds.get(name) ?? { streams: 0, events: 0, topics: [] }
      kinds.set(name, kind)
      kind.streams += count.streams
      kind.events += count.events
      kind.topics.push(count)
    }
    const isKnown = counted?.topics !== undefined
    return {
      kinds: [...kinds].map(([name, { topics, streams, events }]) => ({
        name,
        hasStates: Object.hasOwn(this.#kinds, name),
        ...(isKnown ? { streams, events, topics } : {}),
      })),
      countedAt: counted?.countedAt,
      isCounting: counted === undefined,
    }
  }

  /** @param before - only streams that began before this position; default all */
  async streams(kind: string, before: bigint | undefined): Promise<object | undefined> {
    const beginnings = await this.#beginningsOf(kind)
    if (beginnings.topics.length === 0) {
      return Object.hasOwn(this.#kinds, kind) ? { streams: [], next: null } : undefined
    }
    const { recorder } = await this.#ready()
    const end = before === undefined ? ((await recorder.maxNotificationId()) ?? 0n) : before - 1n
    const { found, rest } = await lastBeginnings(recorder, beginnings, end)
    const shown = found.slice(0, streamsPerPage)
    const next = found.length > streamsPerPage ? (shown.at(-1)?.id ?? null) : rest > 0n ? rest + 1n : null
    const streams = []
    for (const { originatorId, id, recordedAt } of shown) {
      const [last] = await recorder.selectEvents(originatorId, { desc: true, limit: 1 })
      streams.push({ id: originatorId, position: id, recordedAt, version: last?.originatorVersion, topic: last?.topic })
    }
    return { streams, next }
  }

  /**
   * A stream, with its events from the newest back.
   *
   * @param upTo - only events up to this version; default all
   * @returns undefined where there is none
   */
  async stream(id: string, upTo: number | undefined): Promise<object | undefined> {
    const { recorder } = await this.#ready()
    const [first] = await recorder.selectEvents(id, { limit: 1 })
    const [last] = await recorder.selectEvents(id, { desc: true, limit: 1 })
    if (first === undefined || last === undefined) return undefined
    const range = upTo === undefined ? {} : { lte: upTo }
    const page = await recorder.selectEvents(id, { ...range, desc: true, limit: eventsPerPage })
    const oldest = page.at(-1)?.originatorVersion ?? first.originatorVersion
    const kind = this.#kindOf(first.topic)
    return {
      id,
      kind,
      hasStates: Object.hasOwn(this.#kinds, kind),
      first: first.originatorVersion,
      last: last.originatorVersion,
      events: await this.#shown(page),
      earlier: oldest > first.originatorVersion ? oldest - 1 : null,
    }
  }

  /** The state of a stream at a version, and the one before. @returns undefined where there is no such stream, or it has no known kind */
  async state(id: string, version: number): Promise<object | undefined> {
    const { recorder } = await this.#ready()
    const [first] = await recorder.selectEvents(id, { limit: 1 })
    const kind = first === undefined ? undefined : this.#kinds[this.#kindOf(first.topic)]
    if (first === undefined || kind === undefined) return undefined
    try {
      const state = await this.#stateAt(kind, id, version)
      const before = version > first.originatorVersion ? await this.#stateAt(kind, id, version - 1) : null
      return { version, state, before }
    } catch (error) {
      // What the class or decider throws, or an event that it does not know, is what whoever looks at it wants to see.
      if (error instanceof DatabaseError || error instanceof InterfaceError) throw error
      return { version, problem: error instanceof Error ? `${error.name}: ${error.message}` : String(error) }
    }
  }

  async #stateAt(kind: SnapshotKind, id: string, version: number): Promise<unknown> {
    const originator = await getOriginator(this.#repository, kind, id, { version })
    return shownValue(isAggregate(originator) ? stateOf(originator) : originator.state, this.#placeholder)
  }

  /** What somebody means who gives the id of a stream, or else a position of the log. */
  async meaningOf(given: string): Promise<object> {
    if (!/^\d{1,18}$/.test(given)) return { view: 'stream', given }
    const { recorder } = await this.#ready()
    try {
      if ((await recorder.selectEvents(given, { limit: 1 })).length > 0) return { view: 'stream', given }
    } catch (error) {
      if (!(error instanceof OriginatorIdError)) throw error // a UUID is no number
    }
    return { view: 'event', given }
  }

  /** The latest snapshots of a stream. */
  async snapshots(id: string): Promise<object> {
    const snapshots = await this.#snapshots()
    const stored = await snapshots.recorder.selectEvents(id, { desc: true, limit: 10 })
    const events = await this.#read(snapshots, stored)
    return {
      snapshots: stored.map(({ originatorVersion, state }, index) => {
        const read = events[index]
        const bytes = state.byteLength
        if (read === undefined || read instanceof Error)
          return { version: originatorVersion, bytes, problem: read?.message }
        const data = shownValue(read.data, this.#placeholder)
        return { version: originatorVersion, bytes, timestamp: read.timestamp.toISOString(), data }
      }),
    }
  }

  /** @returns undefined where nothing is stored at this position */
  async event(position: bigint): Promise<BrowsedEvent | undefined> {
    const { recorder } = await this.#ready()
    return (await this.#shown(await recorder.selectNotifications(position, 1, { stop: position })))[0]
  }

  /** The last events before a position, default of the whole log, oldest first. */
  async lastEvents(before: bigint | undefined): Promise<object> {
    const { recorder } = await this.#ready()
    const end = before === undefined ? await recorder.maxNotificationId() : before - 1n
    const page = await lastNotifications(recorder, { count: eventsPerPage, end })
    return { events: await this.#shown(page), end, earlier: page.length < eventsPerPage ? null : page[0]?.id }
  }

  /** Events whose metadata have a value under a name, from a position on: so many are looked at, and `next` is where to go on. */
  async related(name: string, value: string, from: bigint): Promise<object> {
    const { recorder } = await this.#ready()
    const found: Notification[] = []
    let position = from
    for (let looked = 0; looked < searchedAtOnce && found.length < mostFound; ) {
      const page = await recorder.selectNotifications(position, 500)
      found.push(...page.filter(({ metadata }) => textOf(metadata?.[name]) === value))
      looked += page.length
      position = (page.at(-1)?.id ?? position) + 1n
      if (page.length < 500) return { events: await this.#shown(found), next: null }
    }
    return { events: await this.#shown(found), next: position }
  }

  /** Follows the log after a position, default its end. Each part is what was stored since the last one. */
  async *follow(
    after: bigint | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<readonly BrowsedEvent[], void, undefined> {
    const { recorder } = await this.#ready()
    const gt = after ?? (await recorder.maxNotificationId())
    const subscription = recorder.subscribe({ gt, signal })
    try {
      for await (const { items } of subscription.pages({ ends: false })) yield await this.#shown(items)
    } finally {
      await subscription[Symbol.asyncDispose]()
    }
  }

  async #ready(): Promise<Application> {
    return await this.#application.ready()
  }

  /** Without the keys of personal data, everything personal is read as a placeholder. */
  async #events(): Promise<EventStore> {
    const store = await this.#application.eventStore()
    return this.#placeholder === 'erased' ? store : new EventStore(store.mapper, store.recorder)
  }

  async #snapshots(): Promise<EventStore> {
    const store = await this.#application.snapshotStore()
    return this.#placeholder === 'erased' ? store : new EventStore(store.mapper, store.recorder)
  }

  async #shown(stored: readonly Stored[]): Promise<BrowsedEvent[]> {
    const events = await this.#read(await this.#events(), stored)
    return stored.map((each, index) => {
      const { id: position, recordedAt, originatorId: id, originatorVersion: version, topic } = each
      const place = position === undefined || recordedAt === undefined ? {} : { position, recordedAt }
      const metadata = each.metadata === undefined ? {} : { metadata: shownValue(each.metadata, this.#placeholder) }
      const head = { id, version, topic, kind: this.#kindOf(topic), ...place, ...metadata }
      const read = events[index]
      if (read === undefined || read instanceof Error) return { ...head, problem: read?.message ?? '' }
      return { ...head, timestamp: read.timestamp.toISOString(), data: shownValue(read.data, this.#placeholder) }
    })
  }

  /** One that cannot be read has its error. */
  async #read(store: EventStore, stored: readonly StoredEvent[]): Promise<ReadonlyArray<DomainEvent | MapperError>> {
    try {
      return await store.toDomainEvents(stored)
    } catch (error) {
      if (!(error instanceof MapperError)) throw error
      if (stored.length === 1) return [error]
    }
    const events: Array<DomainEvent | MapperError> = []
    for (const each of stored) events.push(...(await this.#read(store, [each])))
    return events
  }

  /** The name of the kind that an event is of: of one that is known, or what stands before the last dot of its topic. */
  #kindOf(topic: string): string {
    for (const [name, kind] of Object.entries(this.#kinds)) if (shapesOf(kind).nameOf(topic) !== undefined) return name
    const dot = topic.lastIndexOf('.')
    return dot > 0 ? topic.slice(0, dot) : topic
  }

  async #beginningsOf(name: string): Promise<Beginnings> {
    const kind = Object.hasOwn(this.#kinds, name) ? this.#kinds[name] : undefined
    if (kind !== undefined) return creationOf(kind)
    const counted = await this.#counts.now()
    const topics = counted?.topics ?? []
    return { topics: topics.map(({ topic }) => topic).filter((topic) => this.#kindOf(topic) === name), firstVersion: 1 }
  }
}

/** The events that begin streams, the youngest first, up to a position, and the position up to which there may be more; 0 for none. */
async function lastBeginnings(
  recorder: Pick<ApplicationRecorder, 'selectNotifications'>,
  { topics, firstVersion }: Beginnings,
  end: bigint,
): Promise<{ readonly found: readonly Notification[]; readonly rest: bigint }> {
  const count = topics.length === 1 ? streamsPerPage : 250
  const after = end > walkedAtOnce ? end - walkedAtOnce : 0n
  const found: Notification[] = []
  let rest = end
  for (let read = 0; read < mostReads && rest > after && found.length < streamsPerPage; read += 1) {
    const page = await lastNotifications(recorder, { count, end: rest, after, topics })
    found.push(...page.filter(({ originatorVersion }) => originatorVersion === firstVersion).toReversed())
    rest = page.length < count ? after : (page[0]?.id ?? 1n) - 1n
  }
  return { found, rest }
}

/** Of an id that is given back to be searched for, as the page shows it. */
function textOf(id: unknown): string | undefined {
  return id === undefined || typeof id === 'string' ? id : JSON.stringify(id)
}

/** The events of one topic. */
export interface TopicCount {
  readonly topic: string
  readonly events: number
  /** How many streams begin with one of them. */
  readonly streams: number
}

/** What was counted. */
export interface CountedTopics {
  /** Undefined where nobody can count them. */
  readonly topics: readonly TopicCount[] | undefined
  readonly countedAt: Date
}

const freshMs = 10_000
/** Counting takes at most this part of the time. */
const mostWork = 1 / 20
const patienceMs = 250

/** Counts again when somebody asks and the last count is old, beside the answer. */
export class TopicCounts {
  readonly #count: () => Promise<readonly TopicCount[] | undefined>
  #counted: CountedTopics | undefined
  #counting: Promise<CountedTopics> | undefined
  #freshUntil = 0

  constructor(count: () => Promise<readonly TopicCount[] | undefined>) {
    this.#count = count
  }

  /** What was counted last, however old; undefined where the first count takes its time. */
  async soon(): Promise<CountedTopics | undefined> {
    const counting = this.#refreshed()
    if (this.#counted !== undefined || counting === undefined) return this.#counted
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, patienceMs, undefined)))
    try {
      return await Promise.race([counting, patience])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The same, and waits for the first count. */
  async now(): Promise<CountedTopics | undefined> {
    const counting = this.#refreshed()
    return this.#counted ?? (await counting)
  }

  #refreshed(): Promise<CountedTopics> | undefined {
    if (performance.now() < this.#freshUntil) return this.#counting
    this.#counting ??= this.#again()
    // A failure reaches the callers that wait for this count; later callers start another one.
    this.#counting.catch(() => undefined)
    return this.#counting
  }

  async #again(): Promise<CountedTopics> {
    const startedAt = performance.now()
    try {
      this.#counted = { topics: await this.#count(), countedAt: new Date() }
      const tookMs = performance.now() - startedAt
      this.#freshUntil = performance.now() + Math.max(freshMs, tookMs / mostWork)
      return this.#counted
    } finally {
      this.#counting = undefined
    }
  }
}
