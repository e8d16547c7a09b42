/** The ports of the persistence layer: what an application needs from a store. */
import type { Notification, StoredEvent, StreamPosition, TaggedEvent, Tracking } from './stored-event.js'

/** Which part of a stream to read, and in which order. */
export interface SelectEventsRange {
  /** Only versions greater than this. */
  readonly gt?: number
  /** Only versions up to and including this. */
  readonly lte?: number
  /**
   * Whether what others have committed is read that the snapshot of the current transaction does not have; default false. For who goes
   * on from there, since it may differ from what was read before.
   */
  readonly latest?: boolean
  /** Newest first; default false. */
  readonly desc?: boolean
  /** At most so many; default all. */
  readonly limit?: number
  /** Whether states may come as text, which recorders that set `takesText` are asked for; default false. */
  readonly asText?: boolean
}

/** Which events to read along with a snapshot. */
export interface SinceSnapshotRange {
  /** Only versions up to and including this: of the snapshot, too. */
  readonly lte?: number
  /** At most so many events. */
  readonly limit: number
  /** Whether states may come as text, which recorders that set `takesText` are asked for; default false. */
  readonly asText?: boolean
}

/** A stream as it is read from its latest snapshot on. */
export interface SinceSnapshot {
  /** The snapshot; undefined where there is none. */
  readonly snapshot: StoredEvent | undefined
  /** Whether the event at the snapshot's version is not stored, as after a restore of a part; undefined where that is not known. */
  readonly isAhead?: boolean
  /** The events with greater versions than the snapshot's, all events where there is none; oldest first. */
  readonly events: readonly StoredEvent[]
}

/** Which part of a stream to delete. */
export interface DeleteEventsRange {
  /** Only versions greater than this; default any. */
  readonly gt?: number
  /** Only versions up to and including this. */
  readonly lte: number
}

/** Events with all of these tags, of one of these types. */
export interface TagQuery {
  /** At least one, such as `course:c1`. */
  readonly tags: readonly string[]
  /** Names of events, the part of a topic after its last dot; an empty list means all. */
  readonly types: readonly string[]
}

/** What must not have happened when events are written. */
export interface AppendCondition extends TagQuery {
  /** Only events after this position count; null for all. */
  readonly after: bigint | null
  /** Events of the current transaction that do not count, since who asks knows them. */
  readonly known?: ReadonlySet<StoredEvent>
  /** Whether its tags were locked before, by `lockTags` in the same part of the current transaction: they need not be again. */
  readonly isLocked?: boolean
}

/** Which part of what a read by tags would give. */
export interface TaggedReadOptions {
  /** Only events after this position. */
  readonly gt?: bigint | null
  /** Only the last one. */
  readonly onlyLast?: boolean
  /** At most so many, the oldest; default all. Pending ones come with the last of the stored ones. */
  readonly limit?: number
}

/** What a read by tags gives. */
export interface TaggedRead {
  /** In the order of the log, the pending ones last. */
  readonly events: readonly TaggedEvent[]
  /** The position after which there was nothing; null where there was nothing at all. An event that is stored later has a greater one. */
  readonly after: bigint | null
}

/** What `save` asks of an insert beyond the rows. */
export interface AppendOptions {
  /** Positions that must be stored before these events are, else `ConcurrencyError`: an append never leaves a gap in a stream. */
  readonly predecessors?: readonly StreamPosition[]
  /** No event may be stored that one of these describes, else `AppendConditionError`. Pending events count, those of this insert do not. */
  readonly unless?: readonly AppendCondition[]
  /**
   * Called once the events are written, with their notification ids in the order of the events (empty for a
   * recorder without a log). Inside a transaction that is at its flush.
   */
  readonly onRecorded?: (notificationIds: readonly bigint[]) => void
  /**
   * Runs right before the events are written, with what it stores itself: where one of the two fails, nothing of both is stored. In a
   * transaction that is at its flush, so that no lock on the log is held meanwhile.
   */
  readonly before?: () => Promise<void>
  /**
   * Called when events that were kept for the flush of a transaction, or written by it, are not stored after all: another
   * writer was first, or the transaction was rolled back. Perhaps more than once.
   */
  readonly onLost?: () => void
  /**
   * Makes the events anew where another writer was first, in the current transaction, on what is stored by then; called until its events
   * can be stored, at most 50 times. Without it, and where the streams of other appends are concerned, the conflict stays.
   */
  readonly again?: () => Promise<Append>
  /** The name of the log, by which whoever ends the current transaction learns the position of the last event. */
  readonly log?: string
}

/** Events with what is asked of their insert. */
export interface Append {
  /** In the order in which they are stored. */
  readonly events: readonly StoredEvent[]
  /** What is asked of their insert. */
  readonly options: AppendOptions
}

/** Stores and gives back the events of originators. Snapshots are kept by one of these too. */
export interface AggregateRecorder {
  /**
   * Whether states that are text can cross as text, because the driver takes longer over bytes; default false. An event store whose
   * mapper neither compresses nor encrypts gives `appendEvents` events then whose `state` is made when it is asked for.
   */
  readonly takesText?: boolean

  /**
   * Stores all events or none.
   *
   * @returns null: this recorder has no log
   * @throws `IntegrityError` when one of the positions is taken, by a stored event or within the list
   */
  insertEvents(events: readonly StoredEvent[]): Promise<null | bigint[]>

  /**
   * Reads one originator's events, oldest first unless `desc`.
   *
   * @returns an empty list for an unknown originator
   */
  selectEvents(originatorId: string, range?: SelectEventsRange): Promise<StoredEvent[]>

  /**
   * Stores events on behalf of a `save`. Inside a transaction they may be kept until its flush; outside they are written
   * at once. A recorder without this method is given the events by `insertEvents`.
   */
  appendEvents?(events: readonly StoredEvent[], options?: AppendOptions): Promise<void>

  /**
   * Reads the latest snapshot of an originator and the events after it at once: for a database, by one statement. A recorder
   * without this method is asked for one after the other.
   *
   * @param snapshots - the recorder that keeps the snapshots
   * @returns undefined where the two cannot be read at once, such as from two databases, or now: they are read one after the other then
   */
  selectSinceSnapshot?(
    snapshots: AggregateRecorder,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot | undefined>

  /** Deletes the events in a range of versions. For snapshots: events are the truth, and stay. */
  deleteEvents?(originatorId: string, range: DeleteEventsRange): Promise<void>

  /** Runs `fn` after the current transaction has committed, or at once where there is none. */
  afterCommit?(fn: () => void): void

  /** Runs `fn` when the current transaction is rolled back, where it has written to this stream: what was read of it by then is nowhere. */
  onUndone?(originatorId: string, fn: () => void): void

  /**
   * Runs a call of an application, at once, and lets the current transaction know of it before it has sent anything: the commit waits
   * for it, and tells of a call that nobody has awaited.
   */
  watch?<T>(call: WatchedCall<T>, work: () => Promise<T>): Promise<T>

  /**
   * Whether what is stored now, also what is committed, may still be undone by somebody who does not tell: by a test that is rolled
   * back in the end, or by whoever manages the transactions. Caches that do not look at the store again keep nothing of it.
   */
  isProvisional?(): boolean
}

/**
 * What keeps a log in order on PostgreSQL: `floor-lock`, under which writers never wait for each other, and readers read up to
 * the settled position; or `table-lock`, under which one transaction writes at a time from its flush to its end, for a table
 * whose readers take every id that they see for final, as those of the Python library do.
 */
export type LogOrder = 'floor-lock' | 'table-lock'

/** A call of an application that may belong to a transaction. */
export interface WatchedCall<T> {
  /** As messages name it: `TrainingSchool.save`. */
  readonly name: string
  /** Whose method was called, the one that the name ends with: what called that is the place of the call. */
  readonly owner: object
  /** What it gives when the transaction is rolled back meanwhile, instead of an error: it is undone with everything else. */
  readonly undone?: () => T
}

/** Narrows a read of the log. */
export interface SelectNotificationsOptions {
  /** The last id that may be returned; default none. */
  readonly stop?: bigint
  /** Only events with one of these topics; an empty list means all. */
  readonly topics?: readonly string[]
  /** Only events that have all of these tags, as they are stored (`course:c1`); an empty list means all. Of recorders that keep tags. */
  readonly tags?: readonly string[]
  /** Whether the notification with the id `start` may be returned; default true. */
  readonly inclusiveOfStart?: boolean
}

/** What a subscription is to deliver. */
export interface SubscribeOptions {
  /**
   * Only notifications with a greater id; default null, from the beginning of the log. A whole number, or a text of digits, is
   * taken as the position that it means; anything else is a `TypeError`.
   */
  readonly gt?: bigint | null
  /** Only events with one of these topics; an empty list, the default, means all. */
  readonly topics?: readonly string[]
  /** Only events that have all of these tags, as they are stored (`course:c1`); an empty list, the default, means all. Of recorders that keep tags. */
  readonly tags?: readonly string[]
  /** Ends the iteration when it aborts. */
  readonly signal?: AbortSignal
  /**
   * What to do where the log ends before the position that was read last, as after it was restored or emptied: `warn` (default)
   * warns once, `ES_BEYOND_LOG_END`, and delivers nothing until the log has passed that position; `throw` ends the iteration by
   * `IntegrityError`.
   */
  readonly onBeyondEnd?: 'warn' | 'throw'
}

/** A part of a log, as a subscription reads it. */
export interface SubscriptionPage<Item> {
  /** What was asked for, in order; perhaps nothing. */
  readonly items: readonly Item[]
  /** The position up to which the log was read: greater than that of the page before. Nothing comes later up to there. */
  readonly end: bigint
}

/**
 * A log as it grows: first what is there already, then what is recorded from now on, each item once and in order.
 *
 * It never ends by itself. `break`, `stop()`, an abort of its signal or the end of an `await using` block end it; then the
 * iteration is done, without an error.
 */
export interface Subscription<Item> extends AsyncIterable<Item>, AsyncDisposable {
  /** @throws `ProgrammingError` the second time: a subscription is iterated once */
  [Symbol.asyncIterator](): AsyncIterator<Item, undefined>
  /**
   * The same in pages, each with the position up to which the log was read. For who stores how far it has come: with `topics`, or `tags`,
   * the end of a page is beyond its last item, and a page may have no items.
   *
   * @param options - `ends: false` where pages without items are of no use, and need not come
   * @throws `ProgrammingError` when it is iterated, where the subscription was iterated before
   */
  pages(options?: { readonly ends?: boolean }): AsyncIterable<SubscriptionPage<Item>>
  /** Ends the iteration, also one that has not begun; harmless when it has ended. */
  stop(): void
}

/** An aggregate recorder that also puts all events in one order, the application's log. */
export interface ApplicationRecorder extends AggregateRecorder {
  /** @returns the notification ids, in the order of the events */
  insertEvents(events: readonly StoredEvent[]): Promise<bigint[]>

  /**
   * Reads the log in order. Everything with an id up to the greatest returned is final: no event appears there later.
   *
   * @param start - the first id of interest, null for the beginning; a whole number, or a text of digits, means that position
   * @param limit - at most so many, counted after the filter by topic
   * @throws `TypeError` for what is no position, or no limit
   */
  selectNotifications(
    start: bigint | null,
    limit: number,
    options?: SelectNotificationsOptions,
  ): Promise<Notification[]>

  /**
   * Reads events by their tags, each query by itself: those of the current transaction that are pending as well, which are not written
   * for it. Optional: without it there are no decisions by tags.
   *
   * @returns for each query what it has found, in the order of the queries
   */
  selectByTags?(queries: ReadonlyArray<TagQuery & TaggedReadOptions>): Promise<TaggedRead[]>

  /** Adds tags to events that are stored already; those that they have are passed over. Optional: without it none can be added. */
  addTags?(tagged: ReadonlyArray<{ readonly id: bigint; readonly tags: readonly string[] }>): Promise<void>

  /** Keeps others, until the end of the current transaction, from storing events with these tags. Only in a transaction. */
  lockTags?(tags: readonly string[]): Promise<void>

  /** @returns the last position that a reader can rely on, null for an empty log */
  maxNotificationId(): Promise<bigint | null>

  /**
   * The greatest id that is committed, whether it is final or not: a client may know it. Optional: without it the last final one
   * counts.
   *
   * @returns null for an empty log
   */
  greatestNotificationId?(): Promise<bigint | null>

  /**
   * Follows the log, outside of any transaction: only what is committed is delivered.
   *
   * @throws from the iteration, what a read of the log throws; a failure that may pass is tried again for a while first
   */
  subscribe(options?: SubscribeOptions): Subscription<Notification>
}

/** Limits of a wait. */
export interface WaitOptions {
  /** Milliseconds until `WaitTimeoutError`; default 1,000. */
  readonly timeoutMs?: number
  /** Gives up with `WaitInterruptedError` when it aborts. */
  readonly signal?: AbortSignal
}

/** Keeps, for each upstream application, the last notification of its log that was processed. */
export interface TrackingRecorder {
  /**
   * Moves a position on.
   *
   * @throws `IntegrityError` when this notification, or a later one, was processed before
   */
  insertTracking(tracking: Tracking): Promise<void>

  /** @returns the last notification that was processed, null for none */
  maxTrackingId(applicationName: string): Promise<bigint | null>

  /** Whether a notification was processed, by itself or with a later one; true for null. */
  hasTrackingId(applicationName: string, notificationId: bigint | null): Promise<boolean>

  /**
   * Waits until a notification was processed. It looks outside of the current transaction.
   *
   * @throws `WaitTimeoutError` when it was not in time, `WaitInterruptedError` when the signal aborts
   */
  wait(applicationName: string, notificationId: bigint | null, options?: WaitOptions): Promise<void>
}

/** What is stored together with events that were made by processing a notification. */
export interface ProcessEventsOptions {
  /** The notification that was processed; its position moves on with the events, or nothing is stored. */
  readonly tracking?: Tracking
}

/** An application recorder that also tracks what was processed. */
export interface ProcessRecorder extends ApplicationRecorder, TrackingRecorder {
  /**
   * Stores all events and the tracking, or nothing. There may be no events.
   *
   * @returns the notification ids, in the order of the events
   * @throws `IntegrityError` when one of the positions is taken, or the notification was processed before
   */
  insertEvents(events: readonly StoredEvent[], options?: ProcessEventsOptions): Promise<bigint[]>
}
