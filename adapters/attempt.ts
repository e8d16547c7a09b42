/** One attempt at a request: its transaction, from the claim of an idempotency key to the commit, and the context that its events run in. */
import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  type CapturedContext,
  captureContext,
  isEventSourcingError,
  type ManagedTransaction,
  ProgrammingError,
} from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'
import type { TransactionalDatastore } from './http.js'
import type { ClaimPlace, IdempotentRequest } from './idempotency.js'
import type { ResponseToRecord } from './whole-response.js'

/** What there is to do before a commit. */
interface CommitOptions {
  /** What is stored under the idempotency key, if there is one. */
  readonly answer: Omit<ResponseToRecord, 'response'>
  /** Whether a transaction that was used must not commit: its answer is a stream, and its options refuse one. */
  readonly refusesUse: boolean
}

/** The transaction of one attempt. */
export class Attempt<Request> {
  readonly managed: ManagedTransaction
  readonly #idempotent: IdempotentRequest<Request> | undefined
  /** How often the database has been used to claim the idempotency key. */
  #usesOfClaim = 0

  constructor(managed: ManagedTransaction, idempotent: IdempotentRequest<Request> | undefined) {
    this.managed = managed
    this.#idempotent = idempotent
  }

  /**
   * Claims the idempotency key of the request, if it has one.
   *
   * @param place - where the request is; default: just before its handler
   * @returns the answer that was stored under it
   */
  async claim(place?: ClaimPlace): Promise<RecordedResponse | undefined> {
    const before = this.managed.useCount
    const known = await this.#idempotent?.claim(this.managed, place)
    this.#usesOfClaim += this.managed.useCount - before
    return known
  }

  /** Whether something was done in the transaction, beside the claim. */
  get isUsed(): boolean {
    return this.managed.useCount > this.#usesOfClaim || this.managed.hasPending
  }

  /**
   * Commits; when that fails, it has rolled back.
   *
   * @returns whether it was used
   */
  async commit({ answer, refusesUse }: CommitOptions): Promise<boolean> {
    const { isUsed } = this
    try {
      if (refusesUse) this.refuseUse()
      await this.#idempotent?.record(this.managed, answer, isUsed)
    } catch (error) {
      await this.managed.rollback()
      throw error
    }
    await this.managed.commit()
    return isUsed
  }

  /** @throws `ProgrammingError` when it was used, since its answer is a stream */
  refuseUse(): void {
    if (this.isUsed) throw refusedStream()
  }
}

/** What a datastore has thrown that gives a request no transaction. */
export function refusedBy(error: Error, response: ServerResponse): Error {
  // This process is about to end: the client shall ask another one, on another connection.
  if (isEventSourcingError(error) && error.code === 'ES_DATASTORE_CLOSED') response.shouldKeepAlive = false
  return error
}

function refusedStream(): ProgrammingError {
  return new ProgrammingError(
    'The body of this response is a stream, which the options of the transaction refuse: send it whole, or use `transaction: false`.',
  )
}

/*
 * Keeps the events of a request in the context that they belong to: who listens to its body is in its transaction, and who had to
 * do with its response before the transaction stays outside of that.
 *
 * A stream calls its listeners from where it reads, which is the connection: a parser that calls back from there would have lost the
 * transaction, and every statement after it would be stored by itself. And Node tells of the end of a response from where that was
 * sent, which is the handler, inside of a transaction that has ended.
 */

type Method = (...args: unknown[]) => unknown
type Listeners = ReturnType<EventEmitter['rawListeners']>

/** Where requests and responses keep theirs; nobody else has the key. */
const boundKey: unique symbol = Symbol('eventsourcing-prisma: context')

/** A stream with what is put on it. Properties are set directly: `Reflect.set` takes longer than all the rest of this. */
interface Bindable<Bound> {
  [boundKey]?: Bound | undefined
  emit: Method
}

// Their method takes any event.
type BindableRequest = Omit<IncomingMessage, 'emit'> & Bindable<BoundRequest>
type BindableResponse = Omit<ServerResponse, 'emit'> & Bindable<BoundResponse>

/** Lets the listeners of a request's stream run where this is called, until it is called again. */
export function bindRequest(request: IncomingMessage): void {
  const bindable = request as BindableRequest
  const known = bindable[boundKey]
  if (known === undefined) {
    bindable[boundKey] = new BoundRequest(bindable)
    bindable.emit = emitInside
  } else known.inside = captureContext()
}

class BoundRequest {
  inside: CapturedContext = captureContext()
  /** As it was before: that of others, or of its prototype. */
  readonly emit: Method
  readonly isOfOthers: boolean

  constructor(request: BindableRequest) {
    this.emit = request.emit
    this.isOfOthers = Object.hasOwn(request, 'emit')
  }
}

/** The same function for all requests, since V8 makes a hidden class for each object that has a function of its own. */
function emitInside(this: BindableRequest, ...args: unknown[]): unknown {
  // It was put there together with this function.
  const { emit, isOfOthers, inside } = this[boundKey] as BoundRequest
  // Most events call nobody who would need the context, and a context costs more than all the rest here.
  if (!isOfOthers && this.listenerCount(args[0] as string) === 0) return Reflect.apply(emit, this, args)
  return inside.run(() => Reflect.apply(emit, this, args))
}

/**
 * Lets what had to do with a response before this call run as if there were no transaction of the datastore: listeners of its
 * end, and functions that wrap those that send it. What is added later runs inside.
 */
export function bindResponse(response: ServerResponse, datastore: TransactionalDatastore): void {
  const bindable = response as BindableResponse
  const outside = (): CapturedContext => datastore.outside(captureContext)
  const known = bindable[boundKey]
  if (known !== undefined) {
    known.outside = known.outside.run(outside)
    return
  }
  const bound = new BoundResponse(bindable, outside())
  bindable[boundKey] = bound
  bindable.emit = emitEnd
  for (const name of sending) {
    if (!Object.hasOwn(response, name)) continue
    const method = Reflect.get(response, name) as Method // what a response has under these names
    Reflect.set(response, name, (...args: unknown[]) => bound.outside.run(() => Reflect.apply(method, response, args)))
  }
}

/** Sessions and access logs are put around these. */
const sending = ['writeHead', 'write', 'end', 'flushHeaders'] as const

class BoundResponse {
  outside: CapturedContext
  /** As in `BoundRequest`. */
  readonly emit: Method
  readonly isOfOthers: boolean
  readonly #ofFinish: Listeners
  readonly #ofClose: Listeners

  constructor(response: BindableResponse, outside: CapturedContext) {
    this.outside = outside
    this.emit = response.emit
    this.isOfOthers = Object.hasOwn(response, 'emit')
    this.#ofFinish = response.rawListeners('finish')
    this.#ofClose = response.rawListeners('close')
  }

  wasThereBefore(event: 'finish' | 'close', listener: Listeners[number]): boolean {
    return (event === 'finish' ? this.#ofFinish : this.#ofClose).includes(listener)
  }
}

function emitEnd(this: BindableResponse, ...args: unknown[]): unknown {
  // It was put there together with this function.
  const bound = this[boundKey] as BoundResponse
  const { emit, outside } = bound
  const [event] = args
  const isEnd = event === 'finish' || event === 'close'
  if (!isEnd || (!bound.isOfOthers && this.listenerCount(event) === 0)) return Reflect.apply(emit, this, args)
  const listeners = this.rawListeners(event)
  if (listeners.every((listener) => bound.wasThereBefore(event, listener))) {
    return outside.run(() => Reflect.apply(emit, this, args))
  }
  // The connection closes outside of every context.
  const inside = (this.req as BindableRequest)[boundKey]?.inside ?? outside
  const given = args.slice(1)
  for (const listener of listeners) {
    const context = bound.wasThereBefore(event, listener) ? outside : inside
    context.run(() => Reflect.apply(listener, this, given))
  }
  return true
}
