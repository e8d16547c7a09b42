/** The transaction of one request: ended exactly once, before the first byte of the response, whatever happens. */
import type { ServerResponse } from 'node:http'
import {
  isEventSourcingError,
  type ManagedTransaction,
  ProgrammingError,
  type RecordedResponse,
  withMetadata,
} from '../src/index.js'
import { HeldResponse } from './held-response.js'
import {
  isSuccess,
  problemHeaders,
  problemOf,
  type RouteTransactionOptions,
  type TransactionalDatastore,
  withStatus,
} from './http.js'
import { IdempotentRequest } from './idempotency.js'
import type { ResponseOwner } from './response-owners.js'

/** One request in the framework that serves it. */
export interface Exchange<Request> {
  readonly request: Request
  /** The response of Node below the framework's. */
  readonly response: ServerResponse
  /** Whether a body that is written part by part is a stream in the sense of the option `stream`; else the framework looks at it. */
  readonly streamsByWriting: boolean
  /**
   * Hands an error to the framework's error handlers, which answer in place of a response that was dropped.
   *
   * @returns false when the framework cannot answer this request any more
   */
  fail(error: Error): boolean
  /** Answers, in the way of the framework, as the request was answered before. */
  replay(response: RecordedResponse): void
}

/** A transaction and the response that waits for it. */
export class RequestTransaction<Request> implements ResponseOwner {
  readonly name: string
  readonly options: RouteTransactionOptions<Request>
  /** Runs the handler again, after an attempt that came to nothing; undefined where it cannot be run again. */
  rerun: (() => void) | undefined
  #managed: ManagedTransaction
  readonly #datastore: TransactionalDatastore
  readonly #exchange: Exchange<Request>
  readonly #held: HeldResponse
  readonly #idempotent: IdempotentRequest<Request> | undefined
  /** Whether the body of the request had been read before the handler: what the handler reads itself, it reads once. */
  readonly #isBodyRead: boolean
  /** Settled once the transaction has ended, undefined before its end has begun. */
  #end: Promise<unknown> | undefined
  #expired: Error | undefined
  /** How often the database had been used when the idempotency key was claimed. */
  #usesOfClaim = 0
  #isGone = false
  #hasFailed = false

  /** @throws why there is none, with its status: the datastore is closed, say */
  constructor(
    datastore: TransactionalDatastore,
    options: RouteTransactionOptions<Request>,
    exchange: Exchange<Request>,
  ) {
    this.name = datastore.name
    this.options = options
    this.#datastore = datastore
    this.#exchange = exchange
    this.#managed = this.#watched(begin(datastore, options, exchange.response))
    this.#isBodyRead = exchange.response.req.readableDidRead
    this.#held = HeldResponse.hold(exchange.response, datastore, this)
    const { request, response } = exchange
    const idempotency = options.readOnly === true ? false : options.idempotency
    this.#idempotent = IdempotentRequest.of({ datastore, idempotency, request, response })
    if (this.#idempotent !== undefined) this.#held.whole = this.#idempotent.whole
    // Comes after every response, whether it was sent or not.
    exchange.response.once('close', () => this.#close())
  }

  /** Whether the request was answered with an error, in place of a response that was dropped. */
  get isAnswered(): boolean {
    return this.#held.isOver
  }

  /** Runs `fn`, and all that it calls, inside the transaction. */
  run<T>(fn: () => T): T {
    const metadata = this.options.metadata?.(this.#exchange.request)
    return this.#managed.run(() => (metadata === undefined ? fn() : withMetadata(metadata, fn)))
  }

  /** Runs `fn`, and all that it calls, as if there were no transaction. */
  outside<T>(fn: () => T): T {
    return this.#managed.outside(fn)
  }

  /** Whether the request has an idempotency key, so that `claim` comes before each attempt. */
  get hasKey(): boolean {
    return this.#idempotent !== undefined
  }

  /**
   * Claims the idempotency key of the request; where the request was served before, it is answered as then.
   *
   * @returns whether the handler is to be run
   * @throws why the request is refused, with its status
   */
  async claim(): Promise<boolean> {
    let known: RecordedResponse | undefined
    try {
      known = await this.#idempotent?.claim(this.#managed)
    } catch (error) {
      // At the deadline it was answered already.
      if (this.#hasFailed) return false
      throw withStatus(error)
    }
    this.#usesOfClaim = this.#managed.useCount
    if (known === undefined) return true
    await this.rollBack()
    this.#exchange.replay(known)
    return false
  }

  /**
   * Begins another attempt in a fresh transaction, where the options allow one, the failure may pass, and nothing has been
   * sent. What the failed attempt has set on the response is taken back.
   *
   * @returns whether the handler is to be run again
   */
  async again(error: unknown): Promise<boolean> {
    if (this.rerun === undefined || !this.#held.isOpen || this.#held.owners.isShared) return false
    if (this.#isGone || this.#expired !== undefined || this.#hasFailed) return false
    if (!this.#isBodyRead && this.#exchange.response.req.readableDidRead) return false
    const failed = this.#managed
    await this.rollBack()
    const fresh = await failed.again(error)
    if (fresh === undefined) return false
    if (this.#exchange.response.destroyed) {
      await fresh.rollback()
      return false
    }
    this.#held.drop()
    this.#managed = this.#watched(fresh)
    this.#end = undefined
    return true
  }

  /** Rolls back, because the request has failed; waits for the end when that has begun already. Never rejects. */
  async rollBack(): Promise<void> {
    this.#end ??= this.#managed.rollback()
    await this.#end.catch(ignore)
  }

  /**
   * Ends an unused transaction, so that another one can take its place.
   *
   * @throws `ProgrammingError` when something was done in it
   */
  async giveWay(): Promise<void> {
    if (await this.#isUsed()) {
      throw new ProgrammingError(
        "Could not apply the route's own options: its transaction has been used already. Use the database only after the options are set.",
      )
    }
    await this.rollBack()
    this.#held.owners.remove(this.#datastore)
    if (this.#held.whole === this.#idempotent?.whole) this.#held.whole = undefined
  }

  /**
   * To be called for a body that is a stream.
   *
   * @throws `ProgrammingError` when the options refuse one, and the transaction has been used
   */
  async checkStream(): Promise<void> {
    if (this.#end === undefined) await this.#refuseStream()
  }

  /**
   * Ends the transaction as the response says.
   *
   * @returns whether something is stored by that, where other transactions of the request have to know it
   */
  async settle(status: number, isStream: boolean): Promise<boolean> {
    if (this.#expired !== undefined && this.#commits(status)) throw this.#expired
    if (this.#end !== undefined) {
      await this.#end.catch(ignore)
      return false
    }
    const end = this.#endAs(status, isStream)
    this.#end = end
    return await end
  }

  /** Lets the error be answered that has kept the response from being sent, unless the handler is run again. */
  dropped(error: unknown): void {
    void this.#againOrAnswer(error)
  }

  async #againOrAnswer(error: unknown): Promise<void> {
    if (await this.again(error)) this.rerun?.()
    else this.#answer(withStatus(error))
  }

  #watched(managed: ManagedTransaction): ManagedTransaction {
    managed.onExpired((error) => this.#expire(error))
    return managed
  }

  async #endAs(status: number, isStream: boolean): Promise<boolean> {
    if (!this.#commits(status)) {
      await this.#managed.rollback()
      return false
    }
    if (isStream && this.#exchange.streamsByWriting) await this.#refuseStream()
    const isStored = this.#held.owners.isShared && this.options.readOnly !== true && (await this.#isUsed())
    await this.#record(status)
    await this.#managed.commit()
    return isStored
  }

  async #record(status: number): Promise<void> {
    try {
      await this.#idempotent?.record(this.#managed, { status, calls: this.#held.calls })
    } catch (error) {
      await this.#managed.rollback()
      throw error
    }
  }

  async #refuseStream(): Promise<void> {
    if (this.options.stream !== 'refuse' || !(await this.#isUsed())) return
    await this.#managed.rollback()
    throw new ProgrammingError(
      'The body of this response is a stream, which the options of the transaction refuse: send it whole, or use `transaction: false`.',
    )
  }

  async #isUsed(): Promise<boolean> {
    // What was saved and is not written yet counts as well.
    await this.#managed.transaction.flush()
    return this.#managed.useCount > this.#usesOfClaim
  }

  #commits(status: number): boolean {
    return (this.options.commitOn ?? isSuccess)(status, this.#exchange.request)
  }

  #expire(error: Error): void {
    // When its end had begun, that fails by itself.
    if (this.#end !== undefined) return
    this.#end = over
    this.#expired = withStatus(error)
    // When others are ending, perhaps committing, the response waits for this one too, which will refuse it.
    if (this.#isGone || this.#held.isSettling) return
    this.#held.drop()
    // The handler may still be at work, and Express closes the connection of one that fails after the answer.
    this.#exchange.response.shouldKeepAlive = false
    this.#answer(this.#expired)
  }

  #answer(error: Error): void {
    const isFirst = !this.#hasFailed
    this.#hasFailed = true
    // The framework is asked once: a second failure comes from its own answer, or from a handler that did not notice the first.
    if (isFirst && this.#exchange.fail(error)) return
    const problem = problemOf(error)
    this.#held.answer(problem.status, problemHeaders(problem), JSON.stringify(problem))
  }

  #close(): void {
    // Once one transaction of the request has begun to commit, the others do as well.
    if (this.#end !== undefined || this.#isGone || this.#held.isSettling) return
    this.#isGone = true
    this.#managed.abort(new DOMException('The client closed the connection before it was answered.', 'AbortError'))
    if (this.options.onAbort !== 'finish') void this.rollBack()
  }
}

function begin(
  datastore: TransactionalDatastore,
  options: RouteTransactionOptions<never>,
  response: ServerResponse,
): ManagedTransaction {
  try {
    return datastore.begin(options)
  } catch (error) {
    // This process is about to end: the client shall ask another one, on another connection.
    if (isEventSourcingError(error) && error.code === 'ES_DATASTORE_CLOSED') response.shouldKeepAlive = false
    throw withStatus(error)
  }
}

const over: Promise<void> = Promise.resolve()

function ignore(): void {}
