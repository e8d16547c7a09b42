/** When and after how long a transaction is run again. */
import { ConcurrencyError, OperationalError } from '../errors.js'

const firstDelayMs = 5
const longestDelayMs = 250

/**
 * Tells whether running the same work again in a fresh transaction may succeed: a conflict with another writer, a
 * serialisation failure, a deadlock, a lock that was not granted in time.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof ConcurrencyError) return true
  return error instanceof OperationalError && error.retryable
}

/**
 * How long to wait before the next attempt: longer each time, and by chance, so that two who met do not meet again.
 *
 * @param attempt - the attempt that failed, from 1
 * @returns milliseconds, from 2.5 to 250
 */
export function backOffMs(attempt: number): number {
  const ceiling = Math.min(longestDelayMs, firstDelayMs * 2 ** (attempt - 1))
  return ceiling / 2 + (Math.random() * ceiling) / 2
}
