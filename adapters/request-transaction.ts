/** The transaction of one request: ended exactly once, before the first byte of the response, whatever happens. */
import {
  isEventSourcingError,
  type ManagedTransaction,
  ProgrammingError,
  type TransactionHost,
  withMetadata,
} from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'
import { withStatus } from './error-status.js'
import { HeldResponse, type ResponseOwner } from './held-response.js'
import {
  type Exchange,
  problemHeadersFor,
  problemOf,
  type RouteTransactionOptions,
  type ServedRequest,
  type TransactionalDatastore,
} from './http.js'
import { assertIdempotency, type ClaimPlace, IdempotentRequest } from './idempotency.js'
import { bindRequest, bindResponse } from './request-context.js'
import {
  goneAway,
  HeldAnswer,
  isDeserted,
  isPast,
  maxHeldBytes,
  ResponseHead,
  WholeResponse,
} from './response-parts.js'
import { formatPositions, parsePositions, positionCookie, positionHeader } from './up-to-date.js'

/**
 * Gives a request its transaction. It begins at once where something is done in it before the handler, where the handler can be run
 * again, and where there are several, which have to end in their order; else at its first use.
 *
 * @throws why there is none, with its status: the datastore is closed, say
 */
export function serve<Request>(
  datastore: TransactionalDatastore,
  options: RouteTransactionOptions<Request>,
  exchange: Exchange<Request>,
): RequestTransaction<Request> {
  const { retries = 0, idempotency = false } = options
  if (idempotency !== false) assertIdempotency(idempotency)
  bindResponse(exchange.response, datastore)
  const others = exchange.served
  for (const other of others) other.open()
  const served = new RequestTransaction(datastore, options, exchange)
  if (retries > 0 || idempotency !== false || others.length > 0) served.open()
  exchange.addServed(served)
  if (options.stream === 'refuse') exchange.refuseStreams?.(served)
  return served
}

/** A transaction and the response that waits for it. Before its first use there is nothing to hold, to end or to clean up, and many requests stay so. */
export class RequestTransaction<Request> implements ResponseOwner, ServedRequest<Request>, TransactionHost {
  readonly options: RouteTransactionOptions<Request>
  readonly datastore: TransactionalDatastore
  readonly exchange: Exchange<Request>
  rerun: (() => void) | undefined
  hasGivenWay = false
  /** The transaction of the present attempt. */
  managed: ManagedTransaction
  /** As it was before the handler, which may set headers before it uses the transaction. */
  readonly #head: ResponseHead
  // Those from here on are set when the transaction begins.
  #held!: HeldResponse
  #hasBegun = false
  /** How often the present attempt has used the database to claim the idempotency key. */
  #usesOfClaim = 0
  /** Where the request has an idempotency key: `claim` comes before each attempt. */
  idempotent: IdempotentRequest<Request> | undefined
  /** Set where all of the response is to be there before its end is decided. */
  #whole: WholeResponse | undefined
  /** Whether the body of the request had been read before the handler: what the handler reads itself, it reads once. */
  #isBodyRead = false
  /** Settled once the transaction has ended, undefined before its end has begun. */
  #end: Promise<unknown> | undefined
  #expired: Error | undefined
  #isGone = false
  #hasFailed = false

  /** @throws why there is none, with its status: the datastore is closed, say */
  constructor(
    datastore: TransactionalDatastore,
    options: RouteTransactionOptions<Request>,
    exchange: Exchange<Request>,
  ) {
    this.options = options
    this.datastore = datastore
    this.exchange = exchange
    const { response } = exchange
    this.#head = new ResponseHead(response)
    try {
      this.managed = datastore.begin(options, this)
    } catch (error) {
      throw this.refused(error)
    }
  }

  get hasBegun(): boolean {
    return this.#hasBegun
  }

  get label(): string {
    return this.exchange.label
  }

  get isPast(): boolean {
    return isPast(this.exchange.response)
  }

  refused(error: unknown): Error {
    const described = this.#described(error)
    // This process is about to end: the client shall ask another one, on another connection.
    const isClosed = isEventSourcingError(described) && described.code === 'ES_DATASTORE_CLOSED'
    if (isClosed) this.exchange.response.shouldKeepAlive = false
    return described
  }

  begun(): void {
    const { options, datastore } = this
    const { request, response } = this.exchange
    const looks = looksAtAnswers(options)
    this.#isBodyRead = response.req.readableDidRead
    this.exchange.begun?.()
    this.#held = HeldResponse.hold(response, datastore, this, this.#head)
    const { isOpen } = this.#held
    this.#hasBegun = true
    const idempotency = options.readOnly === true ? false : options.idempotency
    if (idempotency) this.idempotent = IdempotentRequest.of({ datastore, idempotency, request, response })
    this.#whole = this.idempotent?.whole ?? (looks ? new WholeResponse(maxHeldBytes) : undefined)
    if (this.#whole !== undefined) this.#held.whole = this.#whole
    // Comes after every response, whether it was sent or not.
    response.once('close', () => this.#close())
    if (isOpen) {
      // No event tells of what has happened before.
      if (isDeserted(response)) this.#leave(goneAway())
      return
    }
    this.#leave(new DOMException('The request had been answered before its transaction.', 'AbortError'))
    // No answer will come that ends it.
    void this.rollBack()
  }

  expired(error: Error): void {
    // When its end had begun, that fails by itself.
    if (this.#end !== undefined) return
    this.#end = over
    this.#expired = this.#described(error)
    // When others are ending, perhaps committing, the response waits for this one too, which will refuse it.
    if (this.#isGone || this.#held.isSettling) return
    this.#held.drop()
    // The handler may still be at work, and Express closes the connection of one that fails after the answer.
    this.exchange.response.shouldKeepAlive = false
    this.#answer(this.#expired)
  }

  /** What the datastore is called in messages. */
  get name(): string {
    return this.datastore.name
  }

  get isAnswered(): boolean {
    return this.#hasBegun && this.#held.isOver
  }

  get isOver(): boolean {
    return this.#isGone || this.#expired !== undefined || this.#hasFailed
  }

  get isUsed(): boolean {
    return this.managed.useCount > this.#usesOfClaim || this.managed.hasPending
  }

  open(): void {
    this.managed.open()
  }

  run<T>(fn: () => T): T {
    const { request, response } = this.exchange
    const metadata = this.options.metadata?.(request)
    const bound = (): T => {
      bindRequest(response.req)
      return fn()
    }
    return this.managed.run(metadata === undefined ? bound : () => withMetadata(metadata, bound))
  }

  outside<T>(fn: () => T): T {
    return this.managed.outside(() => {
      bindRequest(this.exchange.response.req)
      return fn()
    })
  }

  /**
   * Claims the idempotency key of the request; where the request was served before, it is answered as then.
   *
   * @param place - where the request is; default: just before its handler
   * @returns whether the handler is to be run
   * @throws why the request is refused, with its status
   */
  async claim(place?: ClaimPlace): Promise<boolean> {
    let known: RecordedResponse | undefined
    const { managed } = this
    const before = managed.useCount
    try {
      known = await this.idempotent?.claim(managed, place)
      this.#usesOfClaim += managed.useCount - before
    } catch (error) {
      // At the deadline it was answered already.
      if (this.#hasFailed) return false
      throw this.#described(error)
    }
    if (known === undefined) return true
    await this.rollBack()
    this.exchange.replay(known)
    return false
  }

  /** Lets the handler be run again by `rerun`, unless something was done before it, which would be missing in another attempt. */
  rerunBy(rerun: () => void): void {
    if (!this.#held.owners.areUsed) this.rerun = rerun
  }

  /** As `claim`, for another attempt: what any transaction of the request had claimed was undone with it. */
  async claimAgain(): Promise<boolean> {
    return await this.#held.owners.claim()
  }

  /** Runs `fn`, and all that it calls, inside the transactions of all datastores of the request, for another attempt. */
  runAgain<T>(fn: () => T): T {
    return this.#held.owners.run(fn)
  }

  /**
   * Begins another attempt in fresh transactions, where the options allow one, the failure may pass, and nothing has been sent
   * or committed. What the failed attempt has set on the response is taken back.
   *
   * @returns whether the handler is to be run again
   */
  async again(error: unknown): Promise<boolean> {
    const owners = this.#held.owners.all
    const isPossible = (): boolean => !this.exchange.response.destroyed && !owners.some(({ isOver }) => isOver)
    if (this.rerun === undefined || !this.#held.isOpen || !isPossible()) return false
    if (!this.#isBodyRead && this.exchange.response.req.readableDidRead) return false
    for (const owner of owners) await owner.rollBack()
    const fresh = await this.managed.again(error)
    if (fresh === undefined) return false
    if (!isPossible()) {
      await fresh.rollback()
      return false
    }
    this.#held.drop()
    this.#goOnWith(fresh)
    for (const owner of owners) if (owner !== this) owner.join()
    return true
  }

  join(): void {
    this.#goOnWith(this.managed.next())
  }

  #goOnWith(fresh: ManagedTransaction): void {
    this.managed = fresh
    fresh.onExpired((error) => this.expired(error))
    this.#usesOfClaim = 0
    this.#end = undefined
  }

  /** Rolls back, because the request has failed; waits for the end when that has begun already. Never rejects. */
  async rollBack(): Promise<void> {
    this.#end ??= this.managed.rollback()
    await this.#end.catch(ignore)
  }

  async giveWay(): Promise<void> {
    if (this.#hasBegun && this.isUsed) {
      throw new ProgrammingError(
        "Could not apply the route's own options: its transaction has been used already. Use the database only after the options are set.",
      )
    }
    await this.rollBack()
    this.hasGivenWay = true
    if (!this.#hasBegun) return
    this.#held.owners.remove(this.datastore)
    if (this.#held.whole === this.#whole) this.#held.whole = undefined
  }

  checkStream(): void {
    if (this.#hasBegun && this.#end === undefined && this.options.stream === 'refuse') assertUnused(this.isUsed)
  }

  /**
   * Ends the transaction as the response says.
   *
   * @returns whether something is stored by that, where other transactions of the request have to know it
   */
  settle(status: number, isStream: boolean): Promise<boolean> {
    if (this.#expired !== undefined && this.#commits(status)) return Promise.reject(this.#expired)
    if (this.#end !== undefined) return this.#end.then(no, no)
    const end = this.#endAs(status, isStream)
    this.#end = end
    return end
  }

  /** Lets the error be answered that has kept the response from being sent, unless the handler is run again. */
  dropped(error: unknown): void {
    void this.#againOrAnswer(error)
  }

  async #againOrAnswer(error: unknown): Promise<void> {
    for (const owner of this.#held.owners.all) if (await owner.again(error)) return owner.rerun?.()
    this.#answer(this.#described(error))
  }

  async #endAs(status: number, isStream: boolean): Promise<boolean> {
    const { managed, options } = this
    let commits = false
    let isUsed: boolean | undefined
    try {
      commits = this.#commits(status) && !managed.rollsBackQuietly
      if (commits) {
        if (isStream && this.exchange.streamsByWriting && options.stream === 'refuse') assertUnused(this.isUsed)
        if (this.idempotent !== undefined) {
          isUsed = this.isUsed
          await this.idempotent.record(managed, { status, calls: this.#held.calls }, isUsed)
        }
      }
    } catch (error) {
      await managed.rollback()
      throw error
    }
    if (!commits) {
      await managed.rollback()
      return false
    }
    await managed.commit()
    const { positions, useCount } = managed
    if (positions.size > 0) this.#announce(positions)
    // What was pending has been written by now, without a key nothing else.
    return (isUsed ?? useCount > this.#usesOfClaim) && options.readOnly !== true
  }

  /** Says in the head of the answer what is stored now. */
  #announce(positions: ReadonlyMap<string, bigint>): void {
    let text = ''
    this.#held.amend(positionHeader, (known) => {
      // Of another datastore; or a projection has said how far it is.
      const before = typeof known === 'string' ? parsePositions(known) : []
      return (text = formatPositions(new Map([...before, ...positions])))
    })
    if (this.options.cookie !== true) return
    this.#held.amend('set-cookie', (cookies) => [...[cookies ?? []].flat().map(String), positionCookie(text)])
  }

  #commits(status: number): boolean {
    const { request, response } = this.exchange
    return this.options.commitOn?.(status, request, new HeldAnswer(response, this.#held.calls)) ?? status < 400
  }

  #described(error: unknown): Error {
    return withStatus(error, this.options.retryAfterSeconds)
  }

  #answer(error: Error): void {
    const isFirst = !this.#hasFailed
    this.#hasFailed = true
    // The framework is asked once: a second failure comes from its own answer, or from a handler that did not notice the first.
    if (isFirst && this.exchange.fail(error)) return
    const problem = problemOf(error)
    this.#held.answer(problem.status, problemHeadersFor(error, problem), JSON.stringify(problem))
  }

  #close(): void {
    // Once one transaction of the request has begun to commit, the others do as well.
    if (this.#end !== undefined || this.#isGone || this.#held.isSettling) return
    this.#leave(goneAway())
  }

  /** Nobody waits for an answer. */
  #leave(reason: Error): void {
    this.#isGone = true
    this.managed.abort(reason)
    if (this.options.onAbort !== 'finish') void this.rollBack()
  }
}

/** A transaction of a request with an idempotency key. */
export type KeyedTransaction<Request> = RequestTransaction<Request> & {
  idempotent: IdempotentRequest<Request>
}

/** Whether a request has an idempotency key, to be claimed before it is served. */
export function hasKey<Request>(served: ServedRequest<Request>): served is KeyedTransaction<Request> {
  return served instanceof RequestTransaction && served.idempotent !== undefined
}

/** Whether `commitOn` declares its third parameter, as Express looks at the parameters of error handlers. */
export function looksAtAnswers({ commitOn }: RouteTransactionOptions<never>): boolean {
  return commitOn !== undefined && commitOn.length > 2
}

/** @throws `ProgrammingError` when a transaction was used whose answer is a stream */
function assertUnused(isUsed: boolean): void {
  if (!isUsed) return
  throw new ProgrammingError(
    'The body of this response is a stream, which the options of the transaction refuse: send it whole, or use `transaction: false`.',
  )
}

const over: Promise<void> = Promise.resolve()

function ignore(): void {}

function no(): false {
  return false
}
