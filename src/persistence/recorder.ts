/** The ports of the persistence layer: what an application needs from a store, and what all that implement them do alike. */
import { AppendConditionError, ConcurrencyError } from '../errors.js'
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
  /** Whether states may come as text, which recorders that set `givesText` are asked for; default false. */
  readonly asText?: boolean
}

/** Which events to read along with a snapshot. */
export interface SinceSnapshotRange {
  /** Only versions up to and including this: of the snapshot, too. */
  readonly lte?: number
  /** At most so many events. */
  readonly limit: number
  /** Whether states may come as text, which recorders that set `givesText` are asked for; default false. */
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
   * Whether states that are text can be written as text, because the driver takes longer over bytes; default false. An event store whose
   * mapper neither compresses nor encrypts gives `appendEvents` events then whose `state` is made when it is asked for.
   */
  readonly takesText?: boolean
  /** The same for what is read, which such an event store asks for by `asText`; default: `takesText`. */
  readonly givesText?: boolean

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
  /** Whether `maxNotificationId` has told that the log is final up to `stop`, which then is not looked at once more; default false. */
  readonly isFinal?: boolean
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
   * The last id that was given out, whatever has become of it. Optional: without it nobody finds out that the log was restored, or emptied,
   * behind the position of a reader.
   *
   * @returns 0 where none was given out
   */
  lastGivenNotificationId?(): Promise<bigint>

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

/** What the work in a recorder's transaction is given. */
interface RecorderTransaction<Client = unknown> {
  /** The database's client inside this transaction. */
  readonly client: Client
  /** Aborts at the deadline. */
  readonly signal: AbortSignal
  /** Whether a read through the recorder writes the pending events first. */
  autoflush: boolean
  /** From 1; greater when the work is run again. */
  readonly attempt: number
  /** `idle` until the first statement is sent; the last two are final. */
  readonly state: 'idle' | 'open' | 'committing' | 'committed' | 'rolledBack'
  /** Writes the events that are pending. */
  flush(): Promise<void>
  /** Lets the transaction end in a rollback, whatever else happens; with `answer: 'keep'` that is no failure. */
  rollbackOnly(options?: { readonly answer?: 'keep' | 'drop' }): void
  /** Runs `fn` once the transaction has committed. */
  afterCommit(fn: () => unknown): void
  /** Runs `fn` once the transaction has rolled back. */
  afterRollback(fn: () => unknown): void
  /** Runs `fn` with `autoflush` off, and sets it back. */
  noAutoflush<T>(fn: () => Promise<T>): Promise<T>
}

/** How a recorder's transaction is to be run. The meaning of each option, and its default, are the datastore's. */
interface RecorderTransactionOptions {
  /** What happens with and without a current transaction. */
  readonly propagation?: 'required' | 'nested' | 'requiresNew' | 'mandatory' | 'supports' | 'notSupported' | 'never'
  /** Which ones exist depends on the database. */
  readonly isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable'
  /** Whether writing is refused. */
  readonly readOnly?: boolean
  /** Milliseconds until the transaction is rolled back. */
  readonly deadlineMs?: number
  /** How often the work may be run again after a failure that may pass. */
  readonly retries?: number
  /** Whether a read through the recorder writes the pending events first. */
  readonly autoflush?: boolean
}

/** What a factory's recorders can do besides storing events. */
interface RecorderMaintenance<Client = unknown> {
  /** Whether it has transactions; default true. */
  readonly hasTransactions?: boolean
  /** Makes the recorder's table; harmless where it exists. */
  createTable(): Promise<void>
  /**
   * Runs work so that all it stores is stored together, or not at all.
   *
   * @throws `NotSupportedError` where the recorder has no transactions
   */
  transaction<T>(
    work: (tx: RecorderTransaction<Client>) => Promise<T>,
    options?: RecorderTransactionOptions,
  ): Promise<T>
}

/** An aggregate recorder as factories make it. */
export interface ManagedAggregateRecorder<Client = unknown> extends AggregateRecorder, RecorderMaintenance<Client> {}

/** An application recorder as factories make it. */
export interface ManagedApplicationRecorder<Client = unknown>
  extends ApplicationRecorder,
    RecorderMaintenance<Client> {}

/** A tracking recorder as factories make it. */
export interface ManagedTrackingRecorder<Client = unknown> extends TrackingRecorder, RecorderMaintenance<Client> {}

/** A process recorder as factories make it. */
export interface ManagedProcessRecorder<Client = unknown> extends ProcessRecorder, RecorderMaintenance<Client> {}

/** A subject key recorder as factories make it. */
export interface ManagedSubjectKeyRecorder<Client = unknown> extends SubjectKeyRecorder, RecorderMaintenance<Client> {}

/** The key of the personal data of one person. */
export interface SubjectKey {
  /** The person, as events name them: a text of 1 to 255 characters, compared exactly, with case, accents and spaces at its end. */
  readonly subject: string
  /** The bytes of the key, up to 1,024. */
  readonly key: Uint8Array
}

/**
 * Keeps one key for each person. Everything is done in the current transaction where there is one, and comes to nothing with
 * its rollback: a key that it has inserted is gone then, and one that it has deleted is back. Outside of transactions each
 * call is stored by itself, all of it or nothing.
 */
export interface SubjectKeyRecorder {
  /**
   * Reads keys.
   *
   * @param subjects - any number; one that is there twice counts once
   * @returns the keys of those that have one, in any order; none for none
   */
  selectKeys(subjects: readonly string[]): Promise<SubjectKey[]>

  /**
   * Stores the keys of those persons that have none yet. Of writers that do so at the same time all get the key of the
   * first: the others wait until its transaction has ended. From then on `selectKeys` finds that key in their transactions,
   * too, and nobody else can delete it before they end.
   *
   * @param keys - any number; of several for one person the first counts
   * @returns for each person given, once, the key that counts now, in any order: one that was there is not replaced
   * @throws `OperationalError` where the isolation level of the transaction does not let it see the other writer's key: it
   * may be run again
   */
  insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]>

  /**
   * Deletes the key of a person, who can have another later. Nothing brings it back but the rollback of the transaction.
   *
   * @returns whether there was a key
   * @throws `CommitUnknownError` outside of transactions, when the connection was lost before the answer; to repeat it does
   * no harm
   */
  deleteKey(subject: string): Promise<boolean>
}

/** What a client calls its request by. */
export interface IdempotencyKey {
  /** Whose key it is, such as a user's id: up to 255 characters. Keys of one name in two scopes never meet. */
  readonly scope: string
  /** The client's key: 1 to 255 characters. Both are compared exactly, with case, accents and spaces at the end. */
  readonly key: string
}

/** What a claim says of its request. */
export interface IdempotencyClaim extends IdempotencyKey {
  /** Tells requests apart that have the same key: up to 64 bytes, such as a SHA-256. */
  readonly fingerprint: Uint8Array
  /** Milliseconds for which the answer is kept, from now. */
  readonly ttlMs: number
}

/** An answer as it is kept. */
export interface RecordedResponse {
  /** The status, from 100 to 999. */
  readonly status: number
  /** By name, in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** The bytes of the body; none for a response without one. */
  readonly body: Uint8Array
  /** The person whose data it has, as events name them; undefined where nobody has said so. It is for `forget`, and not given back. */
  readonly subject?: string
}

/**
 * Keeps one answer for each key, in the transaction of the work that it answers: both are stored, or neither. So a claim has
 * to be completed before its transaction commits, and whoever fails may repeat the request with its key.
 */
export interface IdempotencyStore {
  /**
   * Takes a key for the current transaction, until that ends.
   *
   * @returns undefined where the work is to be done now; the answer where it was done before. One that has expired is as if
   * it were not there
   * @throws `IdempotencyKeyInUseError` while another transaction has the key, `IdempotencyKeyReusedError` when it was used
   * with another fingerprint, `NoTransactionError` outside of a transaction
   */
  claim(claim: IdempotencyClaim): Promise<RecordedResponse | undefined>

  /**
   * Stores the answer to the work that the current transaction has claimed.
   *
   * @throws `ProgrammingError` for a key that this transaction has not claimed, `NoTransactionError` outside of a transaction
   */
  complete(key: IdempotencyKey, response: RecordedResponse): Promise<void>

  /**
   * Deletes the answers that have expired, in parts that are stored each by itself. To be called from time to time, by a job.
   *
   * @returns how many there were
   */
  deleteExpired(): Promise<number>
}

/** Each time somebody else has stored something, so this is reached by who is much slower than all others. */
const mostAttempts = 50

/**
 * Stores appends together; where another writer was first on one of their streams, those of that stream are made anew.
 *
 * @param store - stores them all, or nothing; an append is a function where it is to be made anew, when it is its turn
 * @throws what `store` throws, where that is no conflict on a stream whose events can be made anew
 */
export async function storeAgain(
  appends: readonly Append[],
  store: (appends: ReadonlyArray<Append | (() => Promise<Append>)>) => Promise<void>,
): Promise<void> {
  let next: ReadonlyArray<Append | (() => Promise<Append>)> = appends
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await store(next)
    } catch (error) {
      const anew = attempt < mostAttempts ? madeAnew(appends, error) : undefined
      if (anew === undefined) throw error
      const made = new Set(anew)
      next = appends.map((append) => (made.has(append) ? (append.options.again ?? append) : append))
    }
  }
}

/** Those on the stream of a conflict, if all of them can be made anew. */
function madeAnew(appends: readonly Append[], error: unknown): readonly Append[] | undefined {
  if (!(error instanceof ConcurrencyError) || error instanceof AppendConditionError) return undefined
  const own = appends.filter(({ events }) => events.some(({ originatorId }) => originatorId === error.originatorId))
  return own.length > 0 && own.every(({ options }) => options.again !== undefined) ? own : undefined
}

/** Whether an event has all the tags, and one of the types, that a query asks for. */
export function isAskedFor({ tags = [], topic }: StoredEvent, query: TagQuery): boolean {
  if (!query.tags.every((tag) => tags.includes(tag))) return false
  return query.types.length === 0 || query.types.some((type) => topic.endsWith(`.${type}`))
}

/** Says that there is an event that a condition excludes. @param position - of the event in the log; undefined for a pending one */
export function conditionMet(
  { tags, types }: TagQuery,
  events: readonly StoredEvent[],
  { position, cause }: { readonly position: bigint | undefined; readonly cause?: unknown },
): AppendConditionError {
  const [{ topic, originatorId, originatorVersion } = { topic: 'events', originatorId: '', originatorVersion: 1 }] =
    events
  const what = types.length === 0 ? 'an event' : types.join(' or ')
  const where =
    position === undefined ? 'was saved before in this transaction' : `is stored, as notification ${position}`
  return new AppendConditionError(
    `Could not store ${topic} of ${originatorId}: ${what} with ${tags.join(' and ')} ${where}. Nothing was stored. Read again and ` +
      'decide anew; where the tag is for one value, that value is taken.',
    { originatorId, expectedVersion: originatorVersion - 1, tags, types, cause },
  )
}

/** The greatest id that a database has. */
export const greatestPosition: bigint = 2n ** 63n - 1n

/**
 * A position in a log. Positions come from URLs, headers and JSON too, so a whole number and a text of digits are taken as the
 * position that they mean.
 *
 * @param what - the name of the argument, for the message
 * @throws `TypeError` for anything else, such as a fraction, a number beyond 2^53, or a text with other characters
 */
export function logPosition(value: bigint, what: string): bigint
/** The same, with null and undefined for none. */
export function logPosition(value: bigint | null | undefined, what: string): bigint | null
export function logPosition(value: unknown, what: string): bigint | null {
  if (value === null || value === undefined) return null
  const isMeant = Number.isSafeInteger(value) || (typeof value === 'string' && /^-?\d{1,19}$/.test(value))
  // One of the two, as was just checked.
  const position = typeof value === 'bigint' ? value : isMeant ? BigInt(value as number | string) : undefined
  if (position !== undefined && position <= greatestPosition && position >= -greatestPosition) return position
  throw new TypeError(
    `Cannot take ${described(value)} as ${what}: a position in a log is a bigint, or a whole number or a text of digits that means one.`,
  )
}

/**
 * How many to read at most.
 *
 * @throws `TypeError` for anything but a whole number
 */
export function checkLimit(value: number): number {
  if (Number.isSafeInteger(value)) return value
  throw new TypeError(`Cannot take ${described(value)} as limit: it is a whole number.`)
}

/**
 * A version in a stream.
 *
 * @param what - the name of the argument, for the message
 * @throws `TypeError` for anything but a whole number
 */
export function checkVersion(value: number | undefined, what: string): void {
  if (value === undefined || Number.isSafeInteger(value)) return
  throw new TypeError(`Cannot take ${described(value)} as ${what}: a version is a whole number.`)
}

/** @throws `TypeError` where a bound of the range, or its limit, is no whole number */
export function checkRange({ gt, lte, limit }: SelectEventsRange): void {
  if (gt !== undefined) checkVersion(gt, 'gt')
  if (lte !== undefined) checkVersion(lte, 'lte')
  if (limit !== undefined) checkLimit(limit)
}

function described(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
