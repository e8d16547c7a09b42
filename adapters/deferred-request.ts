/** A request that has not used its transaction yet: there is nothing to hold, to end or to clean up, and many requests stay so. */
import type { ServerResponse } from 'node:http'
import { type DeferredTransaction, type ManagedTransaction, withMetadata } from '../src/index.js'
import { deferManaged } from './attempt.js'
import type { Exchange } from './exchange.js'
import { HeldResponse } from './held-response.js'
import type { RouteTransactionOptions, TransactionalDatastore } from './http.js'
import { whyNobodyWaits } from './nobody-waits.js'
import { RequestTransaction } from './request-transaction.js'
import { ResponseHead } from './response-head.js'
import { watchSources } from './response-sources.js'

/** What a framework keeps of a request: its transaction, or what gives it one at the first use. */
export type ServedRequest<Request> = RequestTransaction<Request> | DeferredRequest<Request>

/** What a transaction of a request is made of. */
export interface RequestParts<Request> {
  readonly datastore: TransactionalDatastore
  readonly options: RouteTransactionOptions<Request>
  readonly response: ServerResponse
  /** Makes the rest, once there is a transaction. */
  readonly exchange: () => Exchange<Request>
}

const deferredKey = Symbol('deferred request')

/**
 * Gives a request its transaction. It is there at once where something is done in it before the handler, where the handler can
 * be run again, and where there are several, which have to end in their order.
 *
 * @throws why there is none, with its status: the datastore is closed, say
 */
export function serve<Request>(parts: RequestParts<Request>): ServedRequest<Request> {
  const { datastore, options, response, exchange } = parts
  deferredOf(response)?.open()
  const isAtOnce = (options.retries ?? 0) > 0 || (options.idempotency ?? false) !== false
  if (isAtOnce || HeldResponse.isHeld(response) || whyNobodyWaits(response, true) !== undefined) {
    return new RequestTransaction(datastore, options, exchange())
  }
  const deferred = new DeferredRequest(parts)
  Reflect.set(response, deferredKey, deferred)
  response.on('close', leave)
  return deferred
}

function deferredOf(response: ServerResponse): DeferredRequest<unknown> | undefined {
  // Nobody else has the key.
  return Reflect.get(response, deferredKey) as DeferredRequest<unknown> | undefined
}

/** One function for all responses, as a listener. */
function leave(this: ServerResponse): void {
  deferredOf(this)?.leave()
}

/** Begins the transaction, and holds the response, when something asks for the current transaction. */
export class DeferredRequest<Request> {
  readonly hasKey = false
  readonly #parts: RequestParts<Request>
  readonly #deferred: DeferredTransaction
  /** As it was before the handler, which may set headers before it uses the transaction. */
  readonly #head: ResponseHead
  #opened: RequestTransaction<Request> | undefined
  #isOver = false

  /** @throws why there can be no transaction, with its status */
  constructor(parts: RequestParts<Request>) {
    this.#parts = parts
    this.#head = new ResponseHead(parts.response)
    this.#deferred = deferManaged(parts.datastore, () => this.#begin(), parts.response)
    watchSources(parts.response)
  }

  get options(): RouteTransactionOptions<Request> {
    return this.#parts.options
  }

  get isAnswered(): boolean {
    return this.#opened?.isAnswered ?? false
  }

  run<T>(fn: () => T): T {
    const { metadata } = this.options
    if (metadata === undefined) return this.#deferred.run(fn)
    const facts = metadata(this.#parts.exchange().request)
    return this.#deferred.run(() => withMetadata(facts, fn))
  }

  outside<T>(fn: () => T): T {
    return this.open().outside(fn)
  }

  /** Lets the transaction be there from now on. */
  open(): RequestTransaction<Request> {
    if (this.#opened === undefined) {
      const { datastore, options, exchange } = this.#parts
      this.#opened = new RequestTransaction(datastore, options, exchange(), this.#head)
      // The request has failed before: nothing is done for it any more.
      if (this.#isOver) void this.#opened.rollBack()
    }
    return this.#opened
  }

  /** The request is over. */
  leave(): void {
    this.#deferred.leave()
  }

  async rollBack(): Promise<void> {
    this.#isOver = true
    await this.#opened?.rollBack()
  }

  async giveWay(): Promise<void> {
    await this.open().giveWay()
  }

  checkStream(): void {
    this.#opened?.checkStream()
  }

  #begin(): ManagedTransaction {
    return this.open().managed
  }
}
