/** Recorders without a database: for tests, and for applications that nobody has configured. */
import { assertStorableIds } from '../domain/names.js'
import { ConcurrencyError, NotSupportedError } from '../errors.js'
import { LogTail } from './log-tail.js'
import {
  type AggregateRecorder,
  type AppendCondition,
  type AppendOptions,
  checkLimit,
  checkRange,
  conditionMet,
  type DeleteEventsRange,
  isAskedFor,
  logPosition,
  type ManagedAggregateRecorder,
  type ManagedApplicationRecorder,
  type SelectEventsRange,
  type SelectNotificationsOptions,
  type SinceSnapshot,
  type SinceSnapshotRange,
  type SubscribeOptions,
  type Subscription,
  storeAgain,
  type TaggedRead,
  type TaggedReadOptions,
  type TagQuery,
} from './recorder.js'
import type { Metadata, Notification, StoredEvent, StreamPosition } from './stored-event.js'
import { LogSubscription } from './subscription.js'
import { WakeUps } from './waiting.js'

/**
 * Keeps events, or snapshots, in memory.
 *
 * Each call stores all its events or none. There are no transactions over several calls: nothing would roll them back,
 * so `transaction()` refuses. Use SQLite in a file or in memory where work needs them.
 */
export class InMemoryAggregateRecorder implements ManagedAggregateRecorder {
  readonly #streams = new InMemoryStreams()

  /** @throws `ConcurrencyError`, an `IntegrityError`, when a position is taken */
  async insertEvents(events: readonly StoredEvent[]): Promise<null | bigint[]> {
    this.store(events)
    return null
  }

  /** @throws `ConcurrencyError` when a position is taken, or a predecessor is not stored */
  async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
    await storeAgain([{ events, options }], async (appends) => {
      for (const append of appends) {
        const each = typeof append === 'function' ? await append() : append
        await each.options.before?.()
        const notificationIds = this.store(each.events, each.options.predecessors, each.options.unless)
        each.options.onRecorded?.(notificationIds)
      }
    })
  }

  async selectEvents(originatorId: string, range?: SelectEventsRange): Promise<StoredEvent[]> {
    if (range !== undefined) checkRange(range)
    return this.#streams.select(originatorId, range)
  }

  /** Reads both in one step where the snapshots are in memory, too. */
  async selectSinceSnapshot(
    snapshots: AggregateRecorder,
    originatorId: string,
    { limit, ...upTo }: SinceSnapshotRange,
  ): Promise<SinceSnapshot | undefined> {
    if (!(snapshots instanceof InMemoryAggregateRecorder)) return undefined
    const [snapshot] = snapshots.#streams.select(originatorId, { ...upTo, desc: true, limit: 1 })
    const after = snapshot === undefined ? {} : { gt: snapshot.originatorVersion }
    const events = this.#streams.select(originatorId, { ...upTo, ...after, limit })
    if (snapshot === undefined) return { snapshot, isAhead: false, events }
    const lte = snapshot.originatorVersion
    return { snapshot, isAhead: this.#streams.select(originatorId, { gt: lte - 1, lte }).length === 0, events }
  }

  async deleteEvents(originatorId: string, range: DeleteEventsRange): Promise<void> {
    this.#streams.delete(originatorId, range)
  }

  /** Runs `fn` at once: whatever was stored is stored for good. */
  afterCommit(fn: () => void): void {
    fn()
  }

  /** False: each call is stored by itself. */
  get hasTransactions(): boolean {
    return false
  }

  /** Does nothing: there is no table to make. */
  async createTable(): Promise<void> {}

  /** @throws `NotSupportedError`, always */
  async transaction(): Promise<never> {
    throw noTransactions()
  }

  /** Stores events as one step. @returns their notification ids, none for a recorder without a log */
  protected store(
    events: readonly StoredEvent[],
    predecessors?: readonly StreamPosition[],
    _unless?: readonly AppendCondition[],
  ): bigint[] {
    for (const event of events) {
      const { originatorId, originatorVersion, topic } = event
      assertStorableIds(event, () => `append ${topic}, version ${originatorVersion} of ${originatorId}`)
    }
    this.stored(this.#streams.add(events, predecessors))
    return []
  }

  /** Called with what was stored, in the same step. */
  protected stored(_events: readonly StoredEvent[]): void {}
}

/** Keeps an application's events in memory, with their log. Ids start at 1 and have no gaps. */
export class InMemoryApplicationRecorder extends InMemoryAggregateRecorder implements ManagedApplicationRecorder {
  readonly #log: Notification[] = []
  /** By tag, the events with their ids. */
  readonly #tagged = new Map<string, TaggedInMemory[]>()
  readonly #wakeUps = new WakeUps()
  readonly #tail = new LogTail({
    selectNotifications: this.selectNotifications.bind(this),
    maxNotificationId: this.maxNotificationId.bind(this),
    onRecorded: (listener: () => void) => this.#wakeUps.add(listener),
    isClosed: false,
    mayPass: () => false,
  })

  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    return this.store(events)
  }

  async selectNotifications(
    start: bigint | null,
    limit: number,
    options: SelectNotificationsOptions = {},
  ): Promise<Notification[]> {
    const { topics = [], tags = [], inclusiveOfStart = true } = options
    const stop = logPosition(options.stop, 'stop')
    const wanted = new Set(topics)
    const selected: Notification[] = []
    const first = firstIndex(logPosition(start, 'start'), inclusiveOfStart)
    for (let index = first; selected.length < checkLimit(limit); index += 1) {
      const notification = this.#log[index]
      if (notification === undefined || (stop !== null && notification.id > stop)) break
      const isTagged = tags.every((tag) => notification.tags?.includes(tag) === true)
      if (isTagged && (wanted.size === 0 || wanted.has(notification.topic))) selected.push(notification)
    }
    return selected.map(({ id, recordedAt, ...event }) => ({ ...copyOf(event), id, recordedAt: new Date(recordedAt) }))
  }

  async maxNotificationId(): Promise<bigint | null> {
    return this.#log.at(-1)?.id ?? null
  }

  subscribe(options?: SubscribeOptions): Subscription<Notification> {
    return new LogSubscription(() => this.#tail, options)
  }

  async addTags(tagged: ReadonlyArray<{ readonly id: bigint; readonly tags: readonly string[] }>): Promise<void> {
    for (const { id, tags } of tagged) {
      const index = Number(id) - 1
      const event = this.#log[index]
      if (event === undefined) continue
      const own = { ...event, tags: [...new Set([...(event.tags ?? []), ...tags])] }
      this.#log[index] = own
      for (const tag of own.tags) {
        const others = (this.#tagged.get(tag) ?? []).filter((other) => other.id !== id)
        this.#tagged.set(
          tag,
          [...others, { event: own, id }].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
        )
      }
    }
  }

  async selectByTags(queries: ReadonlyArray<TagQuery & TaggedReadOptions>): Promise<TaggedRead[]> {
    return queries.map((query) => {
      const { tags, gt = null, onlyLast = false, limit } = query
      const all = this.#taggedWith(query, gt)
      const events = onlyLast ? all.slice(-1) : all.slice(0, limit)
      const after = this.#tagged.get(tags[0] ?? '')?.at(-1)?.id ?? null
      return { events: events.map(({ event, id }) => ({ event: copyOf(event), id })), after }
    })
  }

  protected override store(
    events: readonly StoredEvent[],
    predecessors?: readonly StreamPosition[],
    unless: readonly AppendCondition[] = [],
  ): bigint[] {
    for (const condition of unless) {
      const [met] = this.#taggedWith(condition, condition.after)
      if (met !== undefined) throw conditionMet(condition, events, { position: met.id })
    }
    const first = this.#log.length + 1
    super.store(events, predecessors)
    for (const [index, event] of events.entries()) this.#tag(event, first + index)
    return events.map((_event, index) => BigInt(first + index))
  }

  #tag(event: StoredEvent, position: number): void {
    const logged = this.#log[position - 1]
    if (logged === undefined || event.tags === undefined) return
    const own = { ...logged, tags: event.tags }
    this.#log[position - 1] = own
    for (const tag of new Set(own.tags)) {
      const others = this.#tagged.get(tag)
      const tagged = { event: own, id: own.id }
      if (others === undefined) this.#tagged.set(tag, [tagged])
      else others.push(tagged)
    }
  }

  #taggedWith(query: TagQuery, after: bigint | null): TaggedInMemory[] {
    const first = this.#tagged.get(query.tags[0] ?? '') ?? []
    return first.filter(({ event, id }) => (after === null || id > after) && isAskedFor(event, query))
  }

  protected override stored(events: readonly StoredEvent[]): void {
    const recordedAt = new Date()
    for (const event of events) this.#log.push({ ...event, id: BigInt(this.#log.length + 1), recordedAt })
    this.#wakeUps.wake()
  }
}

interface TaggedInMemory {
  readonly event: StoredEvent
  readonly id: bigint
}

/** What a recorder says that is asked for a transaction. */
export function noTransactions(): NotSupportedError {
  return new NotSupportedError(
    'Cannot run a transaction on an in-memory recorder: it stores each save at once. ' +
      'Give the application a datastore, for example one on SQLite.',
  )
}

// The notification with the id 1 is at the index 0.
function firstIndex(start: bigint | null, inclusiveOfStart: boolean): number {
  if (start === null || start < 1n) return 0
  return Number(start) - (inclusiveOfStart ? 1 : 0)
}

/** The events of all originators, each originator's in the order of their versions. */
class InMemoryStreams {
  readonly #streams = new Map<string, StoredEvent[]>()

  /**
   * Adds all events or none.
   *
   * @returns the events as they are kept, in the order given
   * @throws `ConcurrencyError` when a position is taken, or one of the predecessors is not
   */
  add(events: readonly StoredEvent[], predecessors: readonly StreamPosition[] = []): StoredEvent[] {
    for (const predecessor of predecessors) this.#requireStored(predecessor)
    const positions = new Set<string>()
    for (const { originatorId, originatorVersion } of events) {
      const position = `${originatorVersion} ${originatorId}`
      if (positions.has(position) || this.#has(originatorId, originatorVersion)) {
        throw this.#conflict(originatorId, originatorVersion - 1, `version ${originatorVersion} is stored already`)
      }
      positions.add(position)
    }
    const kept = events.map(copyOf)
    for (const event of kept) this.#insert(event)
    return kept
  }

  /** Copies of the events in a range, oldest first unless the range says otherwise. */
  select(originatorId: string, range: SelectEventsRange = {}): StoredEvent[] {
    const { gt, lte, desc = false, limit } = range
    const stream = this.#streams.get(originatorId) ?? []
    const from = gt === undefined ? 0 : firstAfter(stream, gt)
    const to = lte === undefined ? stream.length : firstAfter(stream, lte)
    const selected = stream.slice(from, Math.max(from, to))
    if (desc) selected.reverse()
    return (limit === undefined ? selected : selected.slice(0, Math.max(0, limit))).map(copyOf)
  }

  /** Forgets the events in a range. */
  delete(originatorId: string, { gt, lte }: DeleteEventsRange): void {
    const stream = this.#streams.get(originatorId) ?? []
    const from = gt === undefined ? 0 : firstAfter(stream, gt)
    stream.splice(from, Math.max(0, firstAfter(stream, lte) - from))
  }

  #has(originatorId: string, version: number): boolean {
    const stream = this.#streams.get(originatorId) ?? []
    return stream[firstAfter(stream, version) - 1]?.originatorVersion === version
  }

  #requireStored({ originatorId, originatorVersion }: StreamPosition): void {
    if (this.#has(originatorId, originatorVersion)) return
    throw this.#conflict(
      originatorId,
      originatorVersion,
      `version ${originatorVersion}, which they follow, is not stored`,
    )
  }

  #insert(event: StoredEvent): void {
    let stream = this.#streams.get(event.originatorId)
    if (stream === undefined) {
      stream = []
      this.#streams.set(event.originatorId, stream)
    }
    stream.splice(firstAfter(stream, event.originatorVersion), 0, event)
  }

  #conflict(originatorId: string, expectedVersion: number, reason: string): ConcurrencyError {
    const actualVersion = this.#streams.get(originatorId)?.at(-1)?.originatorVersion
    return new ConcurrencyError(
      `Cannot store events of ${originatorId}: ${reason}. Read the originator again and repeat the command.`,
      { originatorId, expectedVersion, actualVersion },
    )
  }
}

/** A copy that shares nothing with the original, as if it had come from a database. */
function copyOf(event: StoredEvent): StoredEvent {
  const { originatorId, originatorVersion, topic, state, metadata } = event
  const copy = { originatorId, originatorVersion, topic, state: new Uint8Array(state) }
  // Through JSON, since that is what the column of a database holds.
  return metadata === undefined ? copy : { ...copy, metadata: JSON.parse(JSON.stringify(metadata)) as Metadata }
}

/** The index of the first event with a greater version. */
function firstAfter(stream: readonly StoredEvent[], version: number): number {
  let low = 0
  let high = stream.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const event = stream[middle]
    if (event !== undefined && event.originatorVersion <= version) low = middle + 1
    else high = middle
  }
  return low
}
