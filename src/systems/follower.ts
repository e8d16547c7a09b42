/** Applications that follow the logs of others: each event is processed together with its position, once. */

import { Application } from '../application/application.js'
import { causedBy } from '../application/application-subscription.js'
import type { Saveable } from '../application/collected.js'
import { type NotificationLog, NotificationLogReader } from '../application/notification-log.js'
import type { DomainEvent } from '../domain/event.js'
import { BeyondLogEndError, ProgrammingError } from '../errors.js'
import { EventStore, type Recording } from '../persistence/event-store.js'
import { endBefore } from '../persistence/followed-log.js'
import { logPosition, type ManagedProcessRecorder } from '../persistence/recorder.js'
import type { LoggedNotification, Tracking } from '../persistence/stored-event.js'

/** The longest that one event may take. */
const deadlineMs = 30_000

const defaultPullSectionSize = 10

/** An event of a leader, with what is stored when it was processed. */
export interface ProcessingJob {
  /** The event, as the leader's mapper reads it. */
  readonly event: DomainEvent
  /** The leader's name, and the position in its log. */
  readonly tracking: Tracking
}

/** What a log is read by. */
interface FollowedLog {
  readonly reader: NotificationLogReader
  readonly store: () => Promise<Pick<EventStore, 'toDomainEvents'>>
  /** Knows what was given out, perhaps. */
  readonly log: () => GivenLog
}

type GivenLog = Pick<NotificationLog, 'lastGivenNotificationId'>

/** What a policy is given beside the event: it collects what is to be stored with the event's position. */
export class ProcessingEvent {
  /** The leader's name, and the position of the event in its log. */
  readonly tracking: Tracking
  #objects: Saveable[] | undefined = []

  constructor(tracking: Tracking) {
    this.tracking = tracking
  }

  /**
   * Collects what is to be stored, in this order, when the policy has ended: the pending events of aggregates, what deciders have decided,
   * and events. All of it is stored together with the position, or nothing.
   *
   * @throws `ProgrammingError` after the policy has ended: what it does is to be awaited
   */
  collectEvents(...objects: readonly Saveable[]): void {
    if (this.#objects === undefined) {
      const { applicationName, notificationId } = this.tracking
      throw new ProgrammingError(
        `Could not collect events for event ${notificationId} of ${applicationName}: its policy has ended. Await in the policy what it does.`,
      )
    }
    this.#objects.push(...objects)
  }

  /**
   * The same as `collectEvents`, with a process warning `ES_PROCESSING_SAVE`.
   *
   * @deprecated Call `collectEvents`: nothing is saved by this call.
   */
  save(...objects: readonly Saveable[]): void {
    process.emitWarning(
      'save() of a processing event is deprecated, and saves nothing by itself. Call collectEvents(), which does the same.',
      { type: 'DeprecationWarning', code: 'ES_PROCESSING_SAVE' },
    )
    this.collectEvents(...objects)
  }

  /** Ends the collection. @returns what was collected */
  end(): readonly Saveable[] {
    const objects = this.#objects ?? []
    this.#objects = undefined
    return objects
  }
}

/**
 * The base of applications that follow the logs of others. For each event its `policy` says what happens; what that collects, and
 * what it writes to the database, commits in one transaction with the position of the event: each is processed once, also by several processes.
 *
 * @example
 * class Emails extends Follower {
 *   override async policy(event: DomainEvent, processing: ProcessingEvent) {
 *     if (readEvent(Dog, 'Registered', event)) processing.collectEvents(new Email(event.originatorId))
 *   }
 * }
 */
export abstract class Follower<Client = unknown> extends Application<Client> implements RecordingEventReceiver {
  static override readonly keepsTracking: boolean = true

  /** The topics of the events that are processed, of every application of this class; empty, the default, for all. See `topicsOf`. */
  static readonly followTopics: readonly string[] = []

  /** How many events `pullAndProcess` asks a log for at once; the log may give less. Default 10. */
  static readonly pullSectionSize: number = defaultPullSectionSize

  readonly #followed = new Map<string, FollowedLog>()
  /** Up to where it may be processed, so that the first event of each leader alone is asked for. */
  readonly #processed = new Map<string, bigint>()
  #processing: Promise<unknown> = Promise.resolve()
  #pulling: Promise<unknown> = Promise.resolve()

  /**
   * Says what happens when an event was recorded. What it writes to the database is stored with what it collects and the position of the event, or not at all; a
   * recorder in memory has no transactions. It runs again after a conflict, and perhaps in several processes, of which one stores what it has decided: for
   * what is to be done elsewhere, such as sending an email, use a reaction.
   *
   * @param event - as the leader has stored it; `readEvent` gives it its type
   * @param processing - collects what is to be stored
   */
  abstract policy(event: DomainEvent, processing: ProcessingEvent): unknown

  /** The topics of the events that are processed; empty for all. */
  get followTopics(): readonly string[] {
    return (this.constructor as typeof Follower).followTopics // of the class of this object
  }

  /** The application's recorder, which also keeps positions. */
  override get recorder(): ManagedProcessRecorder<Client> {
    return super.recorder as ManagedProcessRecorder<Client> // `keepsTracking` asks the factory for one
  }

  /** The names of the applications that it follows. */
  get leaders(): readonly string[] {
    return [...this.#followed.keys()]
  }

  /**
   * Lets it follow an application. Nothing is read here.
   *
   * @param name - of the application there: positions are kept under it
   * @param source - the application itself, or its log, such as a `RemoteNotificationLog`. Events of a log are read by the variables with
   *   `name` in front, such as `TRAININGSCHOOL_CIPHER_KEY`, else by those and the options of this application; personal data in it are `Erased`
   */
  follow(name: string, source: Application | NotificationLog): void {
    const { pullSectionSize } = this.constructor as typeof Follower // of the class of this object
    if (source instanceof Application) {
      const reader = new NotificationLogReader(source.notificationLog, pullSectionSize)
      const log = (): GivenLog => source.recorder
      this.#followed.set(name, { reader, store: async () => await source.eventStore(), log })
      return
    }
    let store: Promise<EventStore> | undefined
    const made = async (): Promise<EventStore> => new EventStore(await this.mapperOf(name), this.recorder)
    this.#followed.set(name, {
      reader: new NotificationLogReader(source, pullSectionSize),
      store: async () => await (store ??= made()),
      log: () => source,
    })
  }

  /**
   * Reads the log of a leader to its end, and processes each event.
   *
   * @param start - the first position; default the one after what was processed
   * @param stop - the last position; default the end of the log
   * @throws what the log, the mapper and the policy throw; events before that one are processed then
   * @throws `IntegrityError` where the event at `start` was processed before, or what follows from an event is in conflict with what is stored;
   *   `BeyondLogEndError` where the log does not have what was processed, as after it was restored
   */
  async pullAndProcess(leaderName: string, start?: bigint | null, stop?: bigint | null): Promise<void> {
    await this.ready()
    let isLevel = start === undefined
    const first = logPosition(start, 'start') ?? ((await this.recorder.maxTrackingId(leaderName)) ?? 0n) + 1n
    for await (const notifications of this.pullNotifications(leaderName, first, stop)) {
      isLevel = false
      for (const job of await this.convertNotifications(leaderName, notifications)) {
        await this.processEvent(job.event, job.tracking)
      }
      const last = notifications.at(-1)
      if (last !== undefined) await this.passOver(leaderName, last.id)
    }
    if (isLevel) await this.assertInLog(leaderName, this.#find(leaderName).log())
  }

  /**
   * Reads the log of a leader, of all topics, in batches.
   *
   * @param start - the first position
   * @param stop - the last one; default the end of the log
   */
  async *pullNotifications(
    leaderName: string,
    start: bigint,
    stop?: bigint | null,
  ): AsyncGenerator<readonly LoggedNotification[], void, undefined> {
    const upTo = logPosition(stop, 'stop')
    yield* this.#find(leaderName).reader.select({ start, ...(upTo === null ? {} : { stop: upTo }) })
  }

  /**
   * Reads those notifications of a leader that this application follows.
   *
   * @throws `MapperError` for one that cannot be read
   */
  async convertNotifications(
    leaderName: string,
    notifications: readonly LoggedNotification[],
  ): Promise<ProcessingJob[]> {
    const topics = this.followTopics
    const wanted = notifications.filter(({ topic }) => topics.length === 0 || topics.includes(topic))
    if (wanted.length === 0) return []
    const store = await this.#find(leaderName).store()
    const events = await store.toDomainEvents(wanted.map(withTime))
    return events.map((event, index) => ({
      event,
      tracking: { applicationName: leaderName, notificationId: wanted[index]?.id ?? 0n },
    }))
  }

  /**
   * Processes one event: the policy runs, and what it has collected is stored with the position, all of it or nothing. One event at a time.
   * Events that follow from it have the `causationId` and `correlationId` that `causedBy` gives.
   *
   * @returns one recording for each event that was stored
   * @throws `IntegrityError` where it was processed before; `ConcurrencyError` where what was collected is in conflict with what is stored;
   *   whatever the policy throws
   */
  async processEvent(event: DomainEvent, tracking: Tracking): Promise<Recording[]> {
    await this.ready()
    const own = inTurn(this.#processing, async () => await this.#process(event, tracking))
    this.#processing = own
    return await own
  }

  /** Counts what is in a leader's log up to a position as processed: what this application does not follow. Harmless where it is. */
  async passOver(leaderName: string, position: bigint): Promise<void> {
    const { recorder } = this
    if (await recorder.hasTrackingId(leaderName, position)) return
    try {
      await recorder.insertTracking({ applicationName: leaderName, notificationId: position })
    } catch (error) {
      // Somebody else may have been there meanwhile.
      if (!(await recorder.hasTrackingId(leaderName, position))) throw error
    }
  }

  /**
   * Processes what a leader has recorded, and what came before it: for `leader.lead(follower)`, where no runner does that. What was processed
   * already is passed over. Prompts are served one after the other.
   */
  async receiveRecordingEvent({ applicationName, recordings }: RecordingEvent): Promise<void> {
    const last = recordings.at(-1)?.notification?.id ?? null
    const own = inTurn(this.#pulling, async () => {
      await this.ready()
      if (last !== null && (await this.recorder.hasTrackingId(applicationName, last))) return
      await this.pullAndProcess(applicationName)
    })
    this.#pulling = own
    await own
  }

  /**
   * Compares what was processed with what the leader's log has given out.
   *
   * @throws `BeyondLogEndError` where it was more
   */
  async assertInLog(leaderName: string, log: GivenLog): Promise<void> {
    const position = (await this.recorder.maxTrackingId(leaderName)) ?? 0n
    const end = await endBefore(log, position)
    if (end === undefined) return
    throw new BeyondLogEndError(
      `Could not follow ${leaderName}: ${this.name} has processed its log up to ${position}, and that ends at ${end}: it was restored, emptied or ` +
        `replaced, and new events up to ${position} would be passed over. Restore all tables from one backup; or build ${this.name} anew, with an ` +
        'empty table of tracking.',
      { position, end },
    )
  }

  async #process(event: DomainEvent, tracking: Tracking): Promise<Recording[]> {
    const { recorder } = this
    const { applicationName, notificationId } = tracking
    const track = async (): Promise<void> => await recorder.insertTracking(tracking)
    const known = this.#processed.get(applicationName) ?? (await recorder.maxTrackingId(applicationName)) ?? 0n
    if (notificationId <= known && (await recorder.hasTrackingId(applicationName, notificationId))) await track()
    const processing = new ProcessingEvent(tracking)
    // The policy first: the position is a write, and nobody else could write on SQLite while it thinks.
    const work = async (): Promise<Recording[]> => {
      await this.policy(event, processing)
      const collected = processing.end()
      if (recorder.hasTransactions !== false) await track()
      return await this.save(...collected)
    }
    try {
      return await causedBy({ event, tracking }, async () => {
        if (recorder.hasTransactions !== false)
          return await recorder.transaction(work, { propagation: 'nested', deadlineMs })
        // In memory nobody else comes between: each application has a recorder of its own, and processes one event at a time.
        const recordings = await work()
        await track()
        return recordings
      })
    } finally {
      processing.end()
      this.#processed.set(applicationName, notificationId)
    }
  }

  #find(leaderName: string): FollowedLog {
    const followed = this.#followed.get(leaderName)
    if (followed !== undefined) return followed
    throw new ProgrammingError(
      `${this.name} does not follow ${leaderName}: call follow('${leaderName}', …) first. It follows ${this.leaders.join(', ') || 'nobody'}.`,
    )
  }
}

/** Mappers take no notice of it. */
function withTime(notification: LoggedNotification): LoggedNotification & { readonly recordedAt: Date } {
  return { ...notification, recordedAt: notification.recordedAt ?? new Date(0) }
}

/** Does work when other work has ended, well or not. */
async function inTurn<T>(before: Promise<unknown>, work: () => Promise<T>): Promise<T> {
  await Promise.allSettled([before])
  return await work()
}

/** What a leader tells its followers of, once it is committed. */
export interface RecordingEvent {
  /** The name of the leader. */
  readonly applicationName: string
  /** What was recorded, in order, with the positions in the leader's log. */
  readonly recordings: readonly Recording[]
  /** The position of the last event that this process sent before these; null where there was none. */
  readonly previousMaxNotificationId: bigint | null
}

/** Receives the events that a leader has recorded, as a `Follower` does. */
export interface RecordingEventReceiver {
  /** Called after the commit; not awaited, so that nobody who saves waits for it. What it throws becomes a process warning `ES_PROMPT_FAILED`. */
  receiveRecordingEvent(event: RecordingEvent): unknown
}

/** The receivers of one leader's events, and the position of the last event that they were sent. */
export class Prompts {
  readonly #receivers: RecordingEventReceiver[] = []
  #last: bigint | null = null

  add(receiver: RecordingEventReceiver): void {
    this.#receivers.push(receiver)
  }

  send(applicationName: string, all: readonly Recording[], topics: readonly string[]): void {
    const recordings = topics.length === 0 ? all : all.filter(({ event }) => topics.includes(event.topic))
    const last = recordings.at(-1)?.notification?.id
    if (last === undefined) return
    const event = { applicationName, recordings, previousMaxNotificationId: this.#last }
    this.#last = last
    for (const receiver of this.#receivers) void deliver(receiver, event)
  }
}

async function deliver(receiver: RecordingEventReceiver, event: RecordingEvent): Promise<void> {
  try {
    await receiver.receiveRecordingEvent(event)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.emitWarning(
      `A follower of ${event.applicationName} has failed on what it was prompted for, which is stored. It is read again with the next prompt. ${reason}`,
      { code: 'ES_PROMPT_FAILED' },
    )
  }
}
