/** The rules of a request's transaction, once for all frameworks: what commits, what rolls back, and what errors mean in HTTP. */
import {
  AggregateNotFoundError,
  ConcurrencyError,
  isTransient,
  type ManagedTransaction,
  type TransactionOptions,
  TransactionTimeoutError,
} from '../src/index.js'

/** What a request's transaction needs of a datastore. */
export interface TransactionalDatastore {
  /** Begins a transaction; nothing is sent before its first statement. */
  begin(options?: TransactionOptions): ManagedTransaction
}

/** How a route's transaction is run. What a route sets counts before what the app sets. */
export interface RouteTransactionOptions<Request = unknown>
  extends Pick<TransactionOptions, 'isolationLevel' | 'readOnly' | 'deadlineMs' | 'autoflush'> {
  /** Whether a response commits; default: a status below 400. */
  readonly commitOn?: (status: number, request: Request) => boolean
  /** What happens when the client goes away before the response: `rollback` (default), or `finish` as if it were there. */
  readonly onAbort?: 'rollback' | 'finish'
  /** Whether a body that is a stream is sent after the commit (`commit`, default) or refused with an error. */
  readonly stream?: 'commit' | 'refuse'
}

/** The transaction of one request, ended exactly once. */
export class RequestTransaction<Request> {
  readonly options: RouteTransactionOptions<Request>
  readonly #managed: ManagedTransaction
  readonly #request: Request
  #settling: Promise<void> | undefined
  #isAnswered = false
  #isGone = false

  constructor(datastore: TransactionalDatastore, options: RouteTransactionOptions<Request>, request: Request) {
    this.options = options
    this.#managed = datastore.begin(options)
    this.#request = request
  }

  /** Whether its end has begun. */
  get isSettled(): boolean {
    return this.#settling !== undefined
  }

  /** Whether anything was sent to the database or saved. */
  get isUsed(): boolean {
    return this.#managed.transaction.state !== 'idle'
  }

  /** Runs `fn`, and all that it calls, inside the transaction. */
  run<T>(fn: () => T): T {
    return this.#managed.run(fn)
  }

  /** Runs `fn`, and all that it calls, as if there were no transaction. */
  outside<T>(fn: () => T): T {
    return this.#managed.outside(fn)
  }

  /** Calls back when the deadline has passed: it has been rolled back then. */
  onExpired(listener: (error: Error) => void): void {
    this.#managed.onExpired((error) => {
      this.#settling ??= Promise.resolve()
      listener(withStatus(error))
    })
  }

  /**
   * Ends the transaction as the response says, before its first byte leaves.
   *
   * @returns whether this response may leave: false for a second one, while or after the first one leaves
   * @throws why it was not committed, with a `statusCode` for the framework; the response to that may leave
   */
  async settle(status: number): Promise<boolean> {
    if (this.#isAnswered) return false
    this.#isAnswered = true
    this.#settling ??= this.#end(status)
    try {
      await this.#settling
    } catch (error) {
      // It is over; what is answered now is the error.
      this.#settling = Promise.resolve()
      this.#isAnswered = false
      throw error
    }
    return true
  }

  /** Rolls back, because the request has failed. */
  async fail(): Promise<void> {
    this.#settling ??= this.#managed.rollback()
    await this.#settling.catch(ignore)
  }

  /** The client has gone away. */
  async clientGone(): Promise<void> {
    if (this.isSettled || this.#isGone) return
    this.#isGone = true
    this.#managed.abort(new Error('The client closed the connection before it was answered.'))
    if (this.options.onAbort !== 'finish') await this.fail()
  }

  /** The response is over without having come through here, as when the reply was hijacked. */
  async abandon(route: string): Promise<void> {
    // A client that went away may still have its request finished.
    if (this.isSettled || this.#isGone) return
    if (this.isUsed) {
      process.emitWarning(
        `The transaction of ${route} was rolled back: the response was written past the framework, so nobody said whether to commit. ` +
          'Give the route `transaction: false` and use datastore.transaction() in it.',
        { code: 'ES_REQUEST_ABANDONED' },
      )
    }
    await this.fail()
  }

  async #end(status: number): Promise<void> {
    const { commitOn = isSuccess } = this.options
    if (!commitOn(status, this.#request)) return await this.#managed.rollback()
    try {
      await this.#managed.commit()
    } catch (error) {
      throw withStatus(error)
    }
  }
}

/** The options of a route over those of the app. */
export function mergeOptions<Request>(
  app: RouteTransactionOptions<Request>,
  route: RouteTransactionOptions<Request> | undefined,
): RouteTransactionOptions<Request> {
  return route === undefined ? app : { ...app, ...route }
}

/**
 * What an error of this package means in HTTP.
 *
 * @returns undefined for errors that mean nothing special, which are 500
 */
export function statusOf(error: unknown): number | undefined {
  if (error instanceof AggregateNotFoundError) return 404
  if (error instanceof ConcurrencyError) return 409
  if (error instanceof TransactionTimeoutError || isTransient(error)) return 503
  return undefined
}

/** Seconds after which a client may try again what failed with 503. */
const retryAfterSeconds = 1

/** Lets an error say its status (and Retry-After) in the way that both frameworks read; one that says a status already keeps it. */
export function withStatus(error: unknown): Error {
  const described = error instanceof Error ? error : new Error(String(error), { cause: error })
  const status = statusOf(described)
  if (status === undefined || 'statusCode' in described) return described
  const values = {
    statusCode: status,
    ...(status === 503 ? { headers: { 'retry-after': String(retryAfterSeconds) } } : {}),
  }
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(described, name, { value, configurable: true, enumerable: false, writable: true })
  }
  return described
}

/** A problem as RFC 9457 describes it. @see https://www.rfc-editor.org/rfc/rfc9457 */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail?: string
}

const titles: Readonly<Record<number, string>> = {
  404: 'Not found',
  409: 'Changed by someone else',
  503: 'Temporarily unavailable',
}

/** The problem document for an error. What is not the client's business (status 500 and above) has no detail. */
export function problemOf(error: unknown): Problem {
  const status = statusOf(error) ?? statusIn(error) ?? 500
  const title = titles[status] ?? (status < 500 ? 'The request cannot be served' : 'Internal server error')
  const detail = status < 500 && error instanceof Error ? { detail: error.message } : {}
  return { type: 'about:blank', title, status, ...detail }
}

/** The headers that go with a problem. */
export function problemHeaders({ status }: Problem): Record<string, string> {
  const type = { 'content-type': 'application/problem+json' }
  return status === 503 ? { ...type, 'retry-after': String(retryAfterSeconds) } : type
}

function statusIn(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const status = 'statusCode' in error ? error.statusCode : 'status' in error ? error.status : undefined
  return typeof status === 'number' && status >= 400 && status <= 599 ? status : undefined
}

function isSuccess(status: number): boolean {
  return status < 400
}

function ignore(): void {}
