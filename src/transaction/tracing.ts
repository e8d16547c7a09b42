/** What is published of transactions on `node:diagnostics_channel`, and how: docs/observability.md is the contract. */
import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { TransactionState } from './state.js'

/** A transaction as messages tell of it: one object for all messages of one attempt, so that it can be the key of a `WeakMap`. */
export interface TracedTransaction {
  /** The datastore's name. */
  readonly datastore: string
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

/** All channels. Those around statements are tracing channels: they have five names, such as `tracing:…transaction.begin:start`. */
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
export async function traced<Message extends object, T>(
  around: Traced<Message>,
  message: Message,
  work: () => Promise<T>,
): Promise<T> {
  // What work gives stays out of the message: it is a connection of ours.
  const results: T[] = []
  await around.tracePromise(async () => void results.push(await work()), message)
  return results[0] as T // pushed by work that has not rejected
}
