/** The event store: domain events in and out of a recorder. */
import type { DomainEvent } from '../domain/event.js'
import { Erased } from '../domain/personal-data.js'
import type { Tag } from '../domain/tags.js'
import { NotSupportedError } from '../errors.js'
import type { Mapper } from './mapper.js'
import { PersonalDataKeys, TagTexts } from './personal-data-keys.js'
import type {
  AggregateRecorder,
  Append,
  AppendCondition,
  SelectEventsRange,
  SinceSnapshot,
  SinceSnapshotRange,
} from './recorder.js'
import { type Notification, PageSize, type StoredEvent, type StreamPosition, TextEvent } from './stored-event.js'

/** Few streams are longer, so most are read by one statement. */
const longestPage = 2_000

/** What became of an event that was saved. */
export interface Recording {
  /** The event that was saved. */
  readonly event: DomainEvent
  /**
   * The event in the application's log. Inside a transaction it appears here at the flush. When it was recorded is
   * the database's to say: read the log for that.
   */
  readonly notification?: Omit<Notification, 'recordedAt'>
}

/** What else a store of events may have. */
export interface EventStoreOptions {
  /** What positions in the log are known by, the application's name; default: by nothing. */
  readonly log?: string | undefined
  /** Writes tags; default: without a key, so that secret values are refused. */
  readonly tagTexts?: TagTexts
}

/** What else is said of events that are stored. */
export interface PutOptions {
  /** Called when events that were kept for the end of a transaction are not stored after all. */
  readonly onLost?: (() => void) | undefined
  /** The persons whose data whoever made the events has read: where one of them has no key any more, nothing is stored. */
  readonly shown?: ReadonlySet<string> | undefined
  /** Runs right before they are written: what it stores and they are stored together, or nothing. */
  readonly before?: (() => Promise<void>) | undefined
  /** No event may be stored that one of these describes. */
  readonly unless?: readonly AppendCondition[] | undefined
  /** Makes the events anew, with what is said of them, where another writer was first. */
  readonly again?: (() => Promise<EventsAgain>) | undefined
}

/** What is stored in the place of events that came too late. */
export interface EventsAgain {
  /** The events, decided on what is stored by now. */
  readonly events: readonly DomainEvent[]
  /** What is said of them. */
  readonly options: PutOptions
}

/** Who reads an originator from its latest snapshot on. */
export interface SinceSnapshotVisitor {
  /** Called first, with the latest snapshot where there is one. @returns false for one that is not good: all events are read then */
  restore(snapshot: DomainEvent): boolean
  /** Called with each page of events. */
  visit(page: readonly DomainEvent[]): void
  /** Called where the latest snapshot is of a version whose event is not stored: it is passed over. */
  onAhead?(snapshotVersion: number): void
}

/** Reads and writes the events of originators. */
export class EventStore {
  /** Reads and writes the states of events. */
  readonly mapper: Mapper
  /** Keeps the stored events. */
  readonly recorder: AggregateRecorder
  /** Writes tags. */
  readonly tagTexts: TagTexts
  /** Events that are the same for all who read them, by what they were read from. */
  readonly #shared = new WeakMap<StoredEvent, DomainEvent>()
  readonly #keys: PersonalDataKeys
  readonly #hasLog: boolean
  readonly #keepsTags: boolean
  readonly #log: string | undefined
  /** Whether states cross to the recorder as text, and back. */
  readonly #writesText: boolean
  readonly #readsText: boolean

  /**
   * @param keys - for personal data; default: none, so that they are refused, and read as erased
   */
  constructor(
    mapper: Mapper,
    recorder: AggregateRecorder,
    keys: PersonalDataKeys = new PersonalDataKeys(mapper, () => undefined),
    { log, tagTexts = new TagTexts() }: EventStoreOptions = {},
  ) {
    this.tagTexts = tagTexts
    this.#log = log
    this.#keys = keys
    this.mapper = mapper
    this.recorder = recorder
    this.#hasLog = 'selectNotifications' in recorder
    this.#keepsTags = 'selectByTags' in recorder
    const { takesText = false, givesText = takesText } = recorder
    this.#writesText = mapper.writesText && takesText
    this.#readsText = mapper.writesText && givesText
  }

  /**
   * Stores events, all or none, in this order. Inside a transaction they may be written as late as its flush.
   *
   * A stream never gets a gap: its event before the first of these has to be stored, unless the first one creates the
   * originator. (An event with the version 1 counts as such in any case: logs and the like have no creation events.)
   *
   * @returns one recording per event; none when the recorder has no log
   * @throws `ConcurrencyError` when another writer was first, or one of the persons shown was forgotten
   * @throws `AppendConditionError` when an event is stored that must not be
   * @throws `NotSupportedError` for tags, or conditions, with a recorder that has none
   */
  async put(events: readonly DomainEvent[], options: PutOptions = {}): Promise<Recording[]> {
    if (events.length === 0) return []
    const recordings: WrittenRecording[] = []
    const sealing = this.#sealed(events, options.shown)
    const sealed = sealing instanceof Promise ? await sealing : sealing
    const { events: stored, options: appending } = this.#append(events, sealed, options, recordings)
    if (this.recorder.appendEvents === undefined) {
      await appending.before?.()
      appending.onRecorded?.((await this.recorder.insertEvents(stored)) ?? [])
    } else {
      await this.recorder.appendEvents(stored, appending)
    }
    return this.#hasLog ? recordings : []
  }

  /**
   * Writes what repeats data that are stored already, such as a snapshot.
   *
   * @returns undefined where somebody whose data are in it was forgotten
   */
  async toStoredCopy(event: DomainEvent): Promise<StoredEvent | undefined> {
    const sealed = event.personal === undefined ? event : await this.#keys.resealed(event)
    return sealed === undefined ? undefined : this.mapper.toStoredEvent(sealed)
  }

  /** Writes events as `put` stores them, with their personal data encrypted; what they throw is what `put` throws. */
  async toStoredEvents(events: readonly DomainEvent[], shown?: ReadonlySet<string>): Promise<StoredEvent[]> {
    return this.#written(await this.#sealed(events, shown), false)
  }

  /** With their personal data encrypted. */
  #sealed(
    events: readonly DomainEvent[],
    shown: ReadonlySet<string> | undefined,
  ): readonly DomainEvent[] | Promise<readonly DomainEvent[]> {
    for (const { personal } of events) if (personal !== undefined) return this.#keys.sealed(events, shown)
    return events
  }

  #written(sealed: readonly DomainEvent[], asText: boolean): StoredEvent[] {
    return sealed.map((event) => {
      if (asText && event.tags === undefined) return this.mapper.toTextEvent(event)
      const stored = this.mapper.toStoredEvent(event)
      return event.tags === undefined ? stored : { ...stored, tags: this.tagTexts.of(event.tags) }
    })
  }

  /** Reads stored events, with those personal data that can be read. @throws `MapperError` when a state cannot be read */
  async toDomainEvents(stored: readonly StoredEvent[]): Promise<readonly DomainEvent[]> {
    return await this.#toDomainEvents(stored)
  }

  /** At once, unless some have personal data. */
  #toDomainEvents(stored: readonly StoredEvent[]): readonly DomainEvent[] | Promise<readonly DomainEvent[]> {
    const events = stored.map((event) => this.mapper.toDomainEvent(event))
    return events.some(hasPlaceholder) ? this.#keys.opened(events) : events
  }

  /**
   * Reads a stored event at once, and once for all who come with the same one, where none of them could change what the others have.
   *
   * @returns undefined for one with personal data, which `toDomainEvents` reads
   * @throws `MapperError` when its state cannot be read
   */
  toSharedEvent(stored: StoredEvent): DomainEvent | undefined {
    const known = this.#shared.get(stored)
    if (known !== undefined) return known
    const event = this.mapper.toDomainEvent(stored)
    if (hasPlaceholder(event)) return undefined
    if (isFlat(event)) this.#shared.set(stored, event)
    return event
  }

  /**
   * Reads the events of one originator, oldest first unless the range says otherwise.
   *
   * @throws `MapperError` when a state cannot be read
   */
  async get(originatorId: string, range?: SelectEventsRange): Promise<DomainEvent[]> {
    return [...(await this.toDomainEvents(await this.#select(originatorId, range ?? {})))]
  }

  /**
   * Reads the events of one originator, oldest first, in pages: a stream may be longer than what fits into memory.
   *
   * @param range - `gt` and `lte` as for `get`
   * @param visit - called with each page
   * @throws `MapperError` when a state cannot be read
   */
  readPages(
    originatorId: string,
    range: Pick<SelectEventsRange, 'gt' | 'lte'>,
    visit: (page: readonly DomainEvent[]) => void,
  ): Promise<void> {
    return this.#readPages(originatorId, range, visit, new PageSize(longestPage, longestPage))
  }

  /**
   * Reads an originator from its latest snapshot on, the events in pages. The snapshot and the first page are read at once where
   * the recorder can do that.
   *
   * @param snapshots - keeps the snapshots, which are written as the events are
   * @param range - `lte` for snapshots and events
   * @throws `MapperError` when a state cannot be read
   */
  async readSinceSnapshot(
    snapshots: AggregateRecorder,
    originatorId: string,
    range: Pick<SelectEventsRange, 'lte'>,
    visitor: SinceSnapshotVisitor,
  ): Promise<void> {
    const size = new PageSize(longestPage, longestPage)
    const { limit } = size
    const { snapshot, isAhead, events } = await this.#selectSinceSnapshot(snapshots, originatorId, { ...range, limit })
    if (snapshot !== undefined && isAhead === true) {
      visitor.onAhead?.(snapshot.originatorVersion)
      return await this.readPages(originatorId, range, (page) => visitor.visit(page))
    }
    // Together, since the keys of personal data are read once for a list.
    const page = [...(await this.toDomainEvents(snapshot === undefined ? events : [snapshot, ...events]))]
    const opened = snapshot === undefined ? undefined : page.shift()
    const visit: SinceSnapshotVisitor['visit'] = (each) => visitor.visit(each)
    if (opened !== undefined && !visitor.restore(opened)) return await this.readPages(originatorId, range, visit)
    const last = events.at(-1)
    if (last === undefined) return
    visit(page)
    if (events.length < limit) return
    size.adapt(events)
    await this.#readPages(originatorId, { ...range, gt: last.originatorVersion }, visit, size)
  }

  /** What a recorder is given; events that are made anew take the place of the recordings that were given. */
  #append(
    events: readonly DomainEvent[],
    sealed: readonly DomainEvent[],
    options: PutOptions,
    recordings: WrittenRecording[],
  ): Append {
    const { onLost, before, unless = [], again } = options
    if (!this.#keepsTags) this.#assertTaggable(events, unless)
    const predecessors = predecessorsOf(events)
    const stored = this.#written(sealed, this.#writesText)
    recordings.splice(0, recordings.length, ...events.map((event) => ({ event })))
    return {
      events: stored,
      options: {
        predecessors,
        onRecorded: (ids) => addNotifications(recordings, stored, ids),
        ...(onLost === undefined ? {} : { onLost }),
        ...(before === undefined ? {} : { before }),
        ...(unless.length === 0 ? {} : { unless }),
        ...(this.#log === undefined ? {} : { log: this.#log }),
        ...(again === undefined
          ? {}
          : {
              again: async () => {
                const anew = await again()
                const sealedAnew = await this.#sealed(anew.events, anew.options.shown)
                return this.#append(anew.events, sealedAnew, anew.options, recordings)
              },
            }),
      },
    }
  }

  /** Writes the tags that a part of the log is to have. @throws `NotSupportedError` where the recorder keeps none: it would give all */
  askedTags(tags: readonly Tag[]): readonly string[] {
    this.assertKeepsTags()
    return this.tagTexts.of(tags)
  }

  /** @throws `NotSupportedError` where the recorder keeps no tags: a read by them would give all */
  assertKeepsTags(): void {
    if (this.#keepsTags) return
    throw new NotSupportedError('Could not read the log by tags: the recorder has no selectByTags(), so it keeps none.')
  }

  /** Nobody would find what is stored without its tags, and nothing would be checked. */
  #assertTaggable(events: readonly DomainEvent[], unless: readonly AppendCondition[]): void {
    const tagged = events.find(({ tags }) => tags !== undefined && tags.length > 0)
    if (tagged === undefined && unless.length === 0) return
    const what = tagged === undefined ? 'unless' : `${tagged.topic}, which has tags`
    throw new NotSupportedError(`Could not store ${what}: the recorder has no selectByTags(), so it keeps no tags.`)
  }

  /** Whether an originator has any events. */
  async has(originatorId: string): Promise<boolean> {
    return (await this.recorder.selectEvents(originatorId, { limit: 1 })).length > 0
  }

  async #selectSinceSnapshot(
    snapshots: AggregateRecorder,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot> {
    const found = await this.recorder.selectSinceSnapshot?.(snapshots, originatorId, this.#asked(range))
    if (found?.isAhead !== undefined) return found
    const [snapshot] =
      found === undefined
        ? await snapshots.selectEvents(originatorId, { ...range, desc: true, limit: 1 })
        : [found.snapshot]
    const after = snapshot === undefined ? {} : { gt: snapshot.originatorVersion }
    const events = found?.events ?? (await this.#select(originatorId, { ...range, ...after }))
    if (snapshot === undefined || events.length > 0) return { snapshot, events }
    const lte = snapshot.originatorVersion
    const itself = await this.recorder.selectEvents(originatorId, { gt: lte - 1, lte })
    return { snapshot, isAhead: itself.length === 0, events }
  }

  #select(originatorId: string, range: SelectEventsRange): Promise<StoredEvent[]> {
    return this.recorder.selectEvents(originatorId, this.#asked(range))
  }

  #asked<Range extends object>(range: Range): Range {
    return this.#readsText ? { ...range, asText: true } : range
  }

  async #readPages(
    originatorId: string,
    range: Pick<SelectEventsRange, 'gt' | 'lte'>,
    visit: (page: readonly DomainEvent[]) => void,
    size: PageSize,
  ): Promise<void> {
    for (let position = range; ; ) {
      const { limit } = size
      const stored = await this.#select(originatorId, { ...position, limit })
      const last = stored.at(-1)
      if (last === undefined) return
      const events = this.#toDomainEvents(stored)
      visit(events instanceof Promise ? await events : events)
      if (stored.length < limit) return
      size.adapt(stored)
      position = { ...range, gt: last.originatorVersion }
    }
  }
}

/** Whether its data, which are frozen, have nothing inside that is not. */
function isFlat({ data }: DomainEvent): boolean {
  for (const name in data) {
    const value = data[name]
    if (typeof value === 'object' && value !== null) return false
  }
  return true
}

function hasPlaceholder({ data }: DomainEvent): boolean {
  for (const field in data) {
    const value = data[field]
    if (typeof value === 'object' && value instanceof Erased) return true
  }
  return false
}

interface WrittenRecording extends Recording {
  notification?: Omit<Notification, 'recordedAt'>
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
function numbered(event: StoredEvent, id: bigint): Omit<Notification, 'recordedAt'> {
  return event instanceof TextEvent ? new NumberedTextEvent(event, id) : { ...event, id }
}

function addNotifications(
  recordings: readonly WrittenRecording[],
  stored: readonly StoredEvent[],
  ids: readonly bigint[],
): void {
  for (const [index, id] of ids.entries()) {
    const recording = recordings[index]
    const event = stored[index]
    if (recording !== undefined && event !== undefined) recording.notification = numbered(event, id)
  }
}

function predecessorsOf(events: readonly DomainEvent[]): StreamPosition[] {
  const known = new Set<string>()
  const predecessors: StreamPosition[] = []
  for (const { originatorId, originatorVersion, originatorTopic } of events) {
    if (known.has(originatorId)) continue
    known.add(originatorId)
    if (originatorTopic !== undefined || originatorVersion <= 1) continue
    predecessors.push({ originatorId, originatorVersion: originatorVersion - 1 })
  }
  return predecessors
}
