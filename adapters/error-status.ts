/** What an error says of its status itself, to error handlers that know nothing of this package. */
import { EventSourcingError, isEventSourcingError, isTransient } from '../src/index.js'

/**
 * Seconds after which a client may try again what failed with 503; with two numbers, one between them is taken by chance, so that
 * clients who were refused together do not come back together.
 */
export type RetryAfterSeconds = number | readonly [least: number, most: number]

const defaultRetryAfter: RetryAfterSeconds = [1, 3]

const statuses: Readonly<Record<string, number>> = {
  ES_AGGREGATE_NOT_FOUND: 404,
  ES_AGGREGATE_ENDED: 410,
  ES_CONCURRENCY: 409,
  ES_APPEND_CONDITION: 409,
  ES_TRANSACTION_TIMEOUT: 503,
  ES_OVERLOADED: 503,
  ES_DATASTORE_CLOSED: 503,
  ES_PRECONDITION_FAILED: 412,
  ES_PRECONDITION_REQUIRED: 428,
  ES_IDEMPOTENCY_BODY: 415,
  ES_IDEMPOTENCY_KEY: 400,
  ES_IDEMPOTENCY_KEY_IN_USE: 409,
  ES_IDEMPOTENCY_KEY_REUSED: 422,
  ES_POSITION: 400,
  ES_PROJECTION_STALE: 503,
}

/**
 * What an error of this package means in HTTP, and one of Prisma's that may pass.
 *
 * @returns undefined for errors that mean nothing special, which are 500
 */
export function statusOf(error: unknown): number | undefined {
  // By code, since an application may hold more than one copy of the package.
  if (!isEventSourcingError(error)) return isTransient(error) ? 503 : undefined
  if (error.code === 'ES_OPERATIONAL' || error.code === 'ES_POOL_EXHAUSTED') return isRetryable(error) ? 503 : undefined
  // A value that was refused when its event was triggered. Those of drivers and of stored states have a cause, and are no client's.
  if (error.code === 'ES_DATA') return error.cause === undefined ? 422 : undefined
  return statuses[error.code]
}

/** What an error of a call of Prisma's means: a value that has to be unique and is there already, a row that is not there. */
export function prismaStatusOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error ? prismaStatuses[String(error.code)] : undefined
}

const prismaStatuses: Readonly<Record<string, number>> = { P2002: 409, P2025: 404 }

/** Whether errors with this code have a status that says it all, so that their message is for clients. */
export function hasStatus(code: string): boolean {
  return code in statuses
}

/** The status that an error says itself, from 400 to 599. */
export function statusIn(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const said = 'statusCode' in error ? error.statusCode : undefined
  const status = said ?? ('status' in error ? error.status : undefined)
  return typeof status === 'number' && status >= 400 && status <= 599 ? status : undefined
}

/** The value of the header Retry-After. */
export function retryAfterOf(seconds: RetryAfterSeconds = defaultRetryAfter): string {
  if (typeof seconds === 'number') return `${seconds}`
  const [least, most] = seconds
  return `${least + Math.floor(Math.random() * (most - least + 1))}`
}

/** The value of Retry-After that an error says itself. */
export function retryAfterIn(error: unknown): string | undefined {
  const headers: unknown = typeof error === 'object' && error !== null && 'headers' in error ? error.headers : undefined
  const value: unknown =
    typeof headers === 'object' && headers !== null && 'retry-after' in headers ? headers['retry-after'] : undefined
  return typeof value === 'string' ? value : undefined
}

/** Lets an error say its status (and Retry-After) in the way that frameworks read; one that says a status already keeps it. */
export function withStatus(error: unknown, retryAfter?: RetryAfterSeconds): Error {
  const described = error instanceof Error ? error : new Error(String(error), { cause: error })
  const status = statusOf(described)
  if (status === undefined || saysStatus(described) || !Object.isExtensible(described)) return described
  describe(described, 'statusCode', status)
  describe(described, 'status', status)
  if (status === 503) describe(described, 'headers', { 'retry-after': retryAfterOf(retryAfter) })
  return described
}

/** Errors of this package that never come through an adapter, as those that a handler throws in Express, say it by their class. */
for (const name of ['status', 'statusCode']) {
  sayByClass(name, (error) => statusOf(error))
}
sayByClass('headers', (error) => (statusOf(error) === 503 ? { 'retry-after': retryAfterOf() } : undefined))

function sayByClass(name: string, value: (error: EventSourcingError) => unknown): void {
  Object.defineProperty(EventSourcingError.prototype, name, {
    configurable: true,
    enumerable: false,
    get(this: EventSourcingError) {
      return value(this)
    },
    // Who handles an error may give it another status.
    set(this: EventSourcingError, own: unknown) {
      describe(this, name, own)
    },
  })
}

function saysStatus(error: Error): boolean {
  return Object.hasOwn(error, 'statusCode') || Object.hasOwn(error, 'status')
}

function isRetryable(error: EventSourcingError): boolean {
  return 'retryable' in error && error.retryable === true
}

function describe(error: Error, name: string, value: unknown): void {
  // Not enumerable, so that it does not show up in logs and serialised errors.
  Object.defineProperty(error, name, { value, configurable: true, enumerable: false, writable: true })
}
