/** A request that has not used its transaction yet: there is nothing to hold, to end or to clean up, and many requests stay so. */
import {
  type DeferredTransaction,
  type ManagedTransaction,
  type TransactionToCome,
  withMetadata,
} from '../src/index.js'
import { refusedBy } from './attempt.js'
import { withStatus } from './error-status.js'
import type { Exchange, ServedRequest } from './exchange.js'
import type { RouteTransactionOptions, TransactionalDatastore } from './http.js'
import { assertIdempotency } from './idempotency.js'
import { isPast } from './nobody-waits.js'
import { bindRequest, bindResponse } from './request-context.js'
import { RequestTransaction } from './request-transaction.js'
import { ResponseHead } from './response-head.js'
import { watchSources } from './response-sources.js'

/**
 * Gives a request its transaction. It is there at once where something is done in it before the handler, where the handler can
 * be run again, and where there are several, which have to end in their order.
 *
 * @throws why there is none, with its status: the datastore is closed, say
 */
export function serve<Request>(
  datastore: TransactionalDatastore,
  options: RouteTransactionOptions<Request>,
  exchange: Exchange<Request>,
): ServedRequest<Request> {
  assertIdempotency(options.idempotency)
  bindResponse(exchange.response, datastore)
  const others = exchange.served
  for (const other of others) other.open()
  const isAtOnce = (options.retries ?? 0) > 0 || (options.idempotency ?? false) !== false || others.length > 0
  const served = isAtOnce
    ? new RequestTransaction(datastore, options, exchange)
    : new DeferredRequest(datastore, options, exchange)
  exchange.addServed(served)
  return served
}

/** Begins the transaction, and holds the response, when something asks for the current transaction. */
class DeferredRequest<Request> implements ServedRequest<Request>, TransactionToCome {
  readonly datastore: TransactionalDatastore
  readonly options: RouteTransactionOptions<Request>
  readonly #exchange: Exchange<Request>
  readonly #deferred: DeferredTransaction
  /** As it was before the handler, which may set headers before it uses the transaction. */
  readonly #head: ResponseHead
  #opened: RequestTransaction<Request> | undefined
  #first: ManagedTransaction | undefined
  #isOver = false

  /** @throws why there can be no transaction, with its status */
  constructor(
    datastore: TransactionalDatastore,
    options: RouteTransactionOptions<Request>,
    exchange: Exchange<Request>,
  ) {
    const { response } = exchange
    this.datastore = datastore
    this.options = options
    this.#exchange = exchange
    this.#head = new ResponseHead(response)
    try {
      this.#deferred = datastore.defer(this)
    } catch (error) {
      throw refusedBy(withStatus(error, options.retryAfterSeconds), response)
    }
    watchSources(response)
  }

  get isAnswered(): boolean {
    return this.#opened?.isAnswered ?? false
  }

  get hasGivenWay(): boolean {
    return this.#opened?.hasGivenWay ?? false
  }

  run<T>(fn: () => T): T {
    const { metadata } = this.options
    const { request, response } = this.#exchange
    const bound = (): T => {
      bindRequest(response.req)
      return fn()
    }
    if (metadata === undefined) return this.#deferred.run(bound)
    const facts = metadata(request)
    return this.#deferred.run(() => withMetadata(facts, bound))
  }

  outside<T>(fn: () => T): T {
    return this.#open().outside(fn)
  }

  open(): void {
    this.#open()
  }

  /** Whoever asks is a part of the first attempt: the others run in their own transactions. */
  begin(): ManagedTransaction {
    const { managed } = this.#open()
    return this.#first ?? managed
  }

  get isPast(): boolean {
    return this.#opened !== undefined || isPast(this.#exchange.response)
  }

  #open(): RequestTransaction<Request> {
    if (this.#opened === undefined) {
      this.#opened = new RequestTransaction(this.datastore, this.options, this.#exchange, this.#head)
      this.#first = this.#opened.managed
      // The request has failed before: nothing is done for it any more.
      if (this.#isOver) void this.#opened.rollBack()
    }
    return this.#opened
  }

  async rollBack(): Promise<void> {
    this.#isOver = true
    await this.#opened?.rollBack()
  }

  async giveWay(): Promise<void> {
    await this.#open().giveWay()
  }

  checkStream(): void {
    this.#opened?.checkStream()
  }
}
