/** What all tracking recorders have in common: which trackings they take, when a notification counts as processed, and the wait for one. */
import { setTimeout as delay } from 'node:timers/promises'
import { IntegrityError, ProgrammingError, WaitInterruptedError, WaitTimeoutError } from '../errors.js'
import type { WaitOptions } from './recorder.js'
import type { Tracking } from './stored-event.js'

const defaultTimeoutMs = 1_000
const firstPollMs = 100
const longestPollMs = 800

/** The greatest id of a database. */
const greatestId = 2n ** 63n - 1n

/** @throws `ProgrammingError` for what cannot be the id of a notification */
export function checkTracking({ applicationName, notificationId }: Tracking): void {
  if (typeof notificationId === 'bigint' && notificationId >= 1n && notificationId <= greatestId) return
  throw new ProgrammingError(
    `Could not track notification ${String(notificationId)} of ${applicationName}: the id of a notification is a bigint from 1 to 2^63 - 1.`,
  )
}

/** @param last - how far the upstream application's log has been processed */
export function alreadyProcessed({ applicationName, notificationId }: Tracking, last: bigint | null): IntegrityError {
  return new IntegrityError(
    `Could not track notification ${notificationId} of ${applicationName}: its log was processed up to ${last ?? notificationId} already. ` +
      'Nothing was stored. Go on after that one.',
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
    if (restMs <= 0) throw new WaitTimeoutError(`Waited ${timeoutMs} ms for ${awaited}, and it was not.`)
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
