/** What goes on in the transactions of one datastore: counted always, told to those who listen, and published on `node:diagnostics_channel`, as docs/observability.md says. */
import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import { ConcurrencyError } from '../errors.js'
import { type Labelled, type TransactionLabel, type TransactionState, textOf } from './options.js'

/** A transaction as messages tell of it: one object for all messages of one attempt, so that it can be the key of a `WeakMap`. */
export interface TracedTransaction {
  /** The datastore's name. */
  readonly datastore: string
  /** The kind of database: `postgresql`, `mariadb`, also for MySQL, or `sqlite`. */
  readonly system: string
  /** What it is for, such as `POST /dogs`; undefined where nobody has said it. */
  readonly label: string | undefined
  /** From 1; greater when the work is run again by `retries`. */
  readonly attempt: number
  /** Whether it refuses to write. */
  readonly readOnly: boolean
  /** Where it is when the message comes; the object changes with it. */
  readonly state: TransactionState
}

/** Each message of the channels `transaction.open`, `transaction.begin`, `transaction.commit` and `transaction.end`. */
export interface TransactionTrace {
  /** The transaction. */
  readonly transaction: TracedTransaction
  /** Why the statement failed: set on the messages `error`, `asyncStart` and `asyncEnd` of a tracing channel. */
  readonly error?: unknown
}

/** Each message of the channel `transaction.flush`. */
export interface FlushTrace extends TransactionTrace {
  /** How many events are written. */
  readonly events: number
  /** Into how many tables. */
  readonly tables: number
}

/** Each message of the channel `transaction.rollback`. */
export interface RollbackTrace extends TransactionTrace {
  /** What made it roll back, where that is known: what the work has thrown, the deadline, the datastore's close. */
  readonly reason: unknown
}

/** Each message of the channel `transaction.retry`: another attempt begins. */
export interface RetryTrace {
  /** The attempt that has failed. */
  readonly transaction: TracedTransaction
  /** Why it has failed. */
  readonly error: unknown
}

/** Each message of the channel `transaction.conflict`: another writer was first. */
export interface ConflictTrace {
  /** The datastore's name. */
  readonly datastore: string
  /** The transaction that the conflict is in, undefined outside of any. */
  readonly transaction: TracedTransaction | undefined
  /** The stream. */
  readonly originatorId: string
  /** The version that the writer built on. */
  readonly expectedVersion: number
  /** The version that the stream has, undefined when it has no events. */
  readonly actualVersion: number | undefined
}

/** Each message of the channel `transaction.escape`: something passes by a transaction, or outlives it. */
export interface EscapeTrace {
  /** The transaction. */
  readonly transaction: TracedTransaction
  /** What it is, where, and what to do about it. */
  readonly message: string
}

/** What happens during a traced statement, published around it. */
type Traced<Message extends object> = TracingChannel<object, Message>

/** All channels. Whoever does something often asks itself whether one `hasSubscribers`. Those around statements are tracing channels: they have five names, such as `tracing:…transaction.begin:start`. */
export const channels: {
  readonly open: Channel
  readonly begin: Traced<TransactionTrace>
  readonly flush: Traced<FlushTrace>
  readonly commit: Traced<TransactionTrace>
  readonly rollback: Traced<RollbackTrace>
  readonly end: Channel
  readonly retry: Channel
  readonly conflict: Channel
  readonly escape: Channel
} = {
  open: channel('eventsourcing-prisma:transaction.open'),
  begin: tracingChannel('eventsourcing-prisma:transaction.begin'),
  flush: tracingChannel('eventsourcing-prisma:transaction.flush'),
  commit: tracingChannel('eventsourcing-prisma:transaction.commit'),
  rollback: tracingChannel('eventsourcing-prisma:transaction.rollback'),
  end: channel('eventsourcing-prisma:transaction.end'),
  retry: channel('eventsourcing-prisma:transaction.retry'),
  conflict: channel('eventsourcing-prisma:transaction.conflict'),
  escape: channel('eventsourcing-prisma:transaction.escape'),
}

/** Runs work between the messages of a tracing channel. */
async function traced<Message extends object, T>(
  around: Traced<Message>,
  message: Message,
  work: () => Promise<T>,
): Promise<T> {
  // What work gives stays out of the message: it is a connection of ours.
  const results: T[] = []
  await around.tracePromise(async () => void results.push(await work()), message)
  return results[0] as T // pushed by work that has not rejected
}

/**
 * Counts since a datastore was made, and what is open now. Every transaction that the database has begun is in one of four:
 * `begun` is `committed + rolledBack + commitUnknown + open`. One that never sends a statement is in none, and neither is one that
 * has only read, by statements that were sent by themselves.
 */
export interface DatastoreStats extends TransactionCounts, LogGauges {}

/** How far the logs of a datastore are final, as the last read of each has met it; of several, the one that is furthest from it. */
export interface LogGauges {
  /** How many ids were given out beyond the position up to which the log is final. */
  readonly unsettled: number
  /** For how many milliseconds that position has stood still below the last id; subscriptions wait for as long. */
  readonly unsettledMs: number
}

/** What the transactions of a datastore have come to. */
export interface TransactionCounts {
  /** Transactions that the database has begun. */
  readonly begun: number
  /** Those that are committed. */
  readonly committed: number
  /** Those that are rolled back, for whatever reason. */
  readonly rolledBack: number
  /** Those whose connection was lost while COMMIT was under way. */
  readonly commitUnknown: number
  /** Those that have not ended, now. */
  readonly open: number
  /** Transactions that wait for a connection, or a turn, to begin, now. */
  readonly waiting: number
  /** Attempts that were made again after a failure that may pass. */
  readonly retries: number
  /** Writes of events that came after another writer's. */
  readonly conflicts: number
  /** What has passed by a transaction, or outlived it. */
  readonly escapes: number
  /** Transactions that were rolled back at their deadline. */
  readonly timeouts: number
  /** Transactions that got no connection: too many were waiting for one, or it had waited for too long. */
  readonly overloads: number
  /** How often pending events were written. */
  readonly flushes: number
  /** How many events that were. */
  readonly flushedEvents: number
}

/** What is known of a transaction from its beginning: a session has it. */
export interface Observed {
  readonly options: {
    readonly attempt: number
    readonly readOnly: boolean
    readonly label: TransactionLabel | Labelled | undefined
  }
  /** Whether the database has begun it in time. */
  readonly isCounted: boolean
  /** What others keep with it, each by a key of its own. */
  kept: Map<object, unknown> | undefined
}

/** How a transaction can end that the database has begun. */
export type Ending = 'committed' | 'rolledBack' | 'commitUnknown'

type Told = TracedTransaction & { state: TransactionState }

/** Nothing is built for a message that nobody listens to. */
export class Telemetry {
  readonly datastore: string
  readonly #system: string
  readonly #counts: { -readonly [Count in keyof TransactionCounts]: TransactionCounts[Count] } = {
    begun: 0,
    committed: 0,
    rolledBack: 0,
    commitUnknown: 0,
    open: 0,
    waiting: 0,
    retries: 0,
    conflicts: 0,
    escapes: 0,
    timeouts: 0,
    overloads: 0,
    flushes: 0,
    flushedEvents: 0,
  }

  /**
   * @param datastore - its name
   * @param system - the kind of database
   */
  constructor(datastore: string, system: string) {
    this.datastore = datastore
    this.#system = system
  }

  /** The counts as they are now. */
  get stats(): TransactionCounts {
    return { ...this.#counts }
  }

  /** A transaction was made, in the context of who made it; nothing is sent yet. To be called where somebody listens. */
  opened(session: Observed): void {
    channels.open.publish({ transaction: this.#tell(session, 'idle') } satisfies TransactionTrace)
  }

  /** Waits for a connection and begins; the session `isCounted` then, unless that came after its end, and was undone at once. */
  async begin<T>(session: Observed, work: () => Promise<T>): Promise<T> {
    this.#counts.waiting += 1
    let begun: T
    try {
      if (channels.begin.hasSubscribers) {
        const transaction = this.#tell(session, 'idle')
        begun = await traced(channels.begin, { transaction }, becoming(transaction, 'open', work))
      } else begun = await work()
    } finally {
      this.#counts.waiting -= 1
    }
    this.#counts.begun += 1
    if (session.isCounted) this.#counts.open += 1
    else this.#counts.rolledBack += 1
    return begun
  }

  /** Waits for a connection, for a statement by itself. @returns what tells that it has one, or has given up */
  waits(): () => void {
    this.#counts.waiting += 1
    return () => {
      this.#counts.waiting -= 1
    }
  }

  /** The database is sent the one statement that writes everything. */
  begun(): void {
    this.#counts.begun += 1
    this.#counts.open += 1
  }

  /** Writes what is pending, in so many tables. */
  async flush(
    session: Observed,
    pending: ReadonlyArray<{ readonly eventCount: number }>,
    work: () => Promise<void>,
  ): Promise<void> {
    let events = 0
    for (const { eventCount } of pending) events += eventCount
    try {
      if (channels.flush.hasSubscribers) {
        const transaction = this.#tell(session, 'open')
        await traced(channels.flush, { transaction, events, tables: pending.length }, work)
      } else await work()
    } catch (error) {
      this.writeFailed(error, session)
      throw error
    }
    this.#counts.flushes += 1
    this.#counts.flushedEvents += events
  }

  /** Sends COMMIT. To be called where somebody listens. */
  async commit(session: Observed, work: () => Promise<void>): Promise<void> {
    const transaction = this.#tell(session, 'committing')
    await traced(channels.commit, { transaction }, becoming(transaction, 'committed', work))
  }

  /** Sends ROLLBACK. */
  async rollback(session: Observed, reason: unknown, work: () => Promise<void>): Promise<void> {
    if (!channels.rollback.hasSubscribers) return await work()
    const transaction = this.#tell(session, 'rolledBack')
    await traced(channels.rollback, { transaction, reason }, work)
  }

  /** A transaction is over, whether the database had begun it or not. */
  ended(session: Observed, ending: Ending): void {
    if (session.isCounted) {
      this.#counts[ending] += 1
      this.#counts.open -= 1
    }
    if (!channels.end.hasSubscribers) return
    const state = ending === 'committed' ? 'committed' : 'rolledBack'
    channels.end.publish({ transaction: this.#tell(session, state) } satisfies TransactionTrace)
  }

  /** Something passes by a transaction, or outlives it. */
  escaped(session: Observed, message: string): void {
    this.#counts.escapes += 1
    if (!channels.escape.hasSubscribers) return
    channels.escape.publish({ transaction: this.#tell(session, 'open'), message } satisfies EscapeTrace)
  }

  /** The deadline has passed. */
  timedOut(): void {
    this.#counts.timeouts += 1
  }

  /** There was no connection for it in time. */
  overloaded(): void {
    this.#counts.overloads += 1
  }

  /** Work is run again, since its failure may pass. */
  retried(session: Observed, error: unknown): void {
    this.#counts.retries += 1
    if (!channels.retry.hasSubscribers) return
    channels.retry.publish({ transaction: this.#tell(session, 'rolledBack'), error } satisfies RetryTrace)
  }

  /**
   * A write of events has failed, perhaps by a conflict.
   *
   * @param session - that of the transaction in which it did, undefined outside of any
   */
  writeFailed(error: unknown, session: Observed | undefined): void {
    if (!(error instanceof ConcurrencyError)) return
    this.#counts.conflicts += 1
    if (!channels.conflict.hasSubscribers) return
    const { originatorId, expectedVersion, actualVersion } = error
    const transaction = session === undefined ? undefined : this.#tell(session, 'open')
    const { datastore } = this
    const message = { datastore, transaction, originatorId, expectedVersion, actualVersion } satisfies ConflictTrace
    channels.conflict.publish(message)
  }

  #tell(session: Observed, state: TransactionState): Told {
    const kept = (session.kept ??= new Map())
    const told = (kept.get(this) as Told | undefined) ?? this.#told(session, state)
    kept.set(this, told)
    told.state = state
    return told
  }

  #told({ options: { attempt, readOnly, label } }: Observed, state: TransactionState): Told {
    return {
      datastore: this.datastore,
      system: this.#system,
      // Asked for when it is read: the route of a request is not known from the beginning.
      get label() {
        return textOf(label)
      },
      attempt,
      readOnly,
      state,
    }
  }
}

/** Work after which the transaction is in this state, unless it rejects. */
function becoming<T>(transaction: Told, state: TransactionState, work: () => Promise<T>): () => Promise<T> {
  return async () => {
    const result = await work()
    transaction.state = state
    return result
  }
}
