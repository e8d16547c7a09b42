/** What all tracking recorders have in common: which trackings they take, when a notification counts as processed, and the wait for one. */
import { setTimeout as delay } from 'node:timers/promises'
import { IntegrityError, ProgrammingError, WaitInterruptedError, WaitTimeoutError } from '../errors.js'
import { greatestPosition, type WaitOptions } from './recorder.js'
import type { Tracking } from './stored-event.js'

const defaultTimeoutMs = 1_000
const firstPollMs = 100
const longestPollMs = 800

/** The subscription that a tracking comes from. */
export interface TrackingOrigin {
  /** What it delivers; empty for everything. */
  readonly topics: readonly string[]
  /** Whether it has ended. */
  readonly isOver: boolean
}

/** A tracking that knows where it comes from. */
export class SubscribedTracking implements Tracking {
  readonly applicationName: string
  readonly notificationId: bigint
  readonly #origin: TrackingOrigin

  constructor(origin: TrackingOrigin, applicationName: string, notificationId: bigint) {
    this.#origin = origin
    this.applicationName = applicationName
    this.notificationId = notificationId
  }

  /** Undefined for a tracking that somebody else has made. */
  static originOf(tracking: Tracking): TrackingOrigin | undefined {
    return tracking instanceof SubscribedTracking ? tracking.#origin : undefined
  }
}

/**
 * Tells of two subscriptions that store one position: each passes over what the other one has processed. To be called with each
 * tracking that was stored.
 *
 * @param known - for each position, the subscription that has stored it last
 */
export function noticeSharing(known: Map<string, TrackingOrigin>, key: string, tracking: Tracking): void {
  const origin = SubscribedTracking.originOf(tracking)
  if (origin === undefined) return
  const before = known.get(key)
  known.set(key, origin)
  if (before === undefined || before === origin) return
  const sameTopics =
    before.topics.length === origin.topics.length && before.topics.every((t) => origin.topics.includes(t))
  if (before.isOver && sameTopics) return
  process.emitWarning(
    `Two subscriptions have stored their position in the log of ${tracking.applicationName} in the same place: each passes over ` +
      'what the other one has processed. Give each reader a tracking recorder with a name of its own: `reader`.',
    { code: 'ES_TRACKING_SHARED' },
  )
}

/** @throws `ProgrammingError` for what cannot be the id of a notification */
export function checkTracking({ applicationName, notificationId }: Tracking): void {
  if (typeof notificationId === 'bigint' && notificationId >= 1n && notificationId <= greatestPosition) return
  throw new ProgrammingError(
    `Could not track notification ${String(notificationId)} of ${applicationName}: the id of a notification is a bigint from 1 to 2^63 - 1.`,
  )
}

/** @param last - how far the upstream application's log has been processed */
export function alreadyProcessed({ applicationName, notificationId }: Tracking, last: bigint | null): IntegrityError {
  return new IntegrityError(
    `Could not track notification ${notificationId} of ${applicationName}: its log was processed up to ${last ?? notificationId} already. ` +
      'Nothing was stored. Go on after that one; where another reader has tracked it, give each reader a position of its own: `reader`.',
  )
}

/** Whether a notification was processed, by itself or with a later one. */
export function isProcessed(notificationId: bigint | null, last: bigint | null): boolean {
  return notificationId === null || (last !== null && notificationId <= last)
}

/**
 * Asks how far a log was processed until it is far enough: after 100 ms, then after twice the time before, up to 800 ms.
 *
 * @param readLast - tells how far
 * @throws `WaitTimeoutError` when the time is over, `WaitInterruptedError` when the signal aborts
 * @see Python's `TrackingRecorder.wait`
 */
export async function waitUntilProcessed(
  readLast: () => Promise<bigint | null>,
  { applicationName, notificationId }: Tracking,
  { timeoutMs = defaultTimeoutMs, signal }: WaitOptions = {},
): Promise<void> {
  const awaited = `notification ${notificationId} of ${applicationName} to be processed`
  const deadline = performance.now() + timeoutMs
  const timeout = AbortSignal.timeout(timeoutMs)
  const either = signal === undefined ? timeout : AbortSignal.any([timeout, signal])
  for (let pollMs = firstPollMs; ; pollMs = Math.min(longestPollMs, pollMs * 2)) {
    if (signal?.aborted !== true && isProcessed(notificationId, await unlessAborted(readLast(), either))) return
    if (signal?.aborted === true) {
      throw new WaitInterruptedError(`Waiting for ${awaited} was interrupted.`, { cause: signal.reason })
    }
    const restMs = deadline - performance.now()
    // A timer may be early, and whoever looked at the clock alone would ask again and again until the deadline.
    if (restMs <= 0 || timeout.aborted)
      throw new WaitTimeoutError(`Waited ${timeoutMs} ms for ${awaited}, and it was not.`)
    await unlessAborted(delay(Math.min(pollMs, restMs)), either)
  }
}

/** Null when the signal aborts first: a database that is busy or gone must not make the wait longer. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | null> {
  let onAbort = (): void => {}
  const aborted = new Promise<null>((resolve) => {
    onAbort = () => resolve(null)
    if (signal.aborted) resolve(null)
    else signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
