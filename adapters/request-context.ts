/**
 * Keeps the events of a request in the context that they belong to: who listens to its body is in its transaction, and who had to
 * do with its response before the transaction stays outside of that.
 *
 * A stream calls its listeners from where it reads, which is the connection: a parser that calls back from there would have lost the
 * transaction, and every statement after it would be stored by itself. And Node tells of the end of a response from where that was
 * sent, which is the handler, inside of a transaction that has ended.
 */
import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type CapturedContext, captureContext } from '../src/index.js'
import type { TransactionalDatastore } from './http.js'

type Method = (...args: unknown[]) => unknown
type Listeners = ReturnType<EventEmitter['rawListeners']>

/** Where requests and responses keep theirs; nobody else has the key. */
const boundKey: unique symbol = Symbol('eventsourcing-prisma: context')

/** A stream with what is put on it. Properties are set directly: `Reflect.set` takes longer than all the rest of this. */
interface Bindable<Bound> {
  [boundKey]?: Bound | undefined
  emit: Method
}

function requestOf(request: IncomingMessage): Bindable<BoundRequest> {
  // Its method takes any event.
  return request as unknown as Bindable<BoundRequest>
}

function responseOf(response: ServerResponse): Bindable<BoundResponse> {
  return response as unknown as Bindable<BoundResponse> // as above
}

/** Lets the listeners of a request's stream run where this is called, until it is called again. */
export function bindRequest(request: IncomingMessage): void {
  const bindable = requestOf(request)
  const known = bindable[boundKey]
  if (known === undefined) {
    bindable[boundKey] = new BoundRequest(ownMethod(request, 'emit'))
    bindable.emit = emitInside
  } else known.inside = captureContext()
}

class BoundRequest {
  inside: CapturedContext = captureContext()
  /** What others have put on it before; undefined for the method of its prototype. */
  readonly emitBefore: Method | undefined

  constructor(emitBefore: Method | undefined) {
    this.emitBefore = emitBefore
  }
}

/** The same function for all requests, since V8 makes a hidden class for each object that has a function of its own. */
function emitInside(this: unknown, ...args: unknown[]): unknown {
  const request = this as IncomingMessage
  const bound = requestOf(request)[boundKey]
  const emit = bound?.emitBefore ?? inheritedEmit(request)
  // Most events call nobody who would need the context, and a context costs more than all the rest here.
  if (bound === undefined || isUnheard(request, bound, args)) return Reflect.apply(emit, request, args)
  return bound.inside.run(() => Reflect.apply(emit, request, args))
}

/**
 * Lets what had to do with a response before this call run as if there were no transaction of the datastore: who listens to its
 * end, and who has put functions around those that send it. What comes later runs inside.
 */
export function bindResponse(response: ServerResponse, datastore: TransactionalDatastore): void {
  const bindable = responseOf(response)
  const outside = (): CapturedContext => datastore.outside(captureContext)
  const known = bindable[boundKey]
  if (known !== undefined) {
    known.outside = known.outside.run(outside)
    return
  }
  const bound = new BoundResponse(response, outside())
  bindable[boundKey] = bound
  bindable.emit = emitEnd
  for (const name of sending) {
    const method = ownMethod(response, name)
    if (method === undefined) continue
    Reflect.set(response, name, (...args: unknown[]) => bound.outside.run(() => Reflect.apply(method, response, args)))
  }
}

/** Sessions and access logs are put around these. */
const sending = ['writeHead', 'write', 'end', 'flushHeaders'] as const

class BoundResponse {
  outside: CapturedContext
  readonly emitBefore: Method | undefined
  readonly #ofFinish: Listeners
  readonly #ofClose: Listeners

  constructor(response: ServerResponse, outside: CapturedContext) {
    this.outside = outside
    this.emitBefore = ownMethod(response, 'emit')
    this.#ofFinish = response.rawListeners('finish')
    this.#ofClose = response.rawListeners('close')
  }

  wasThereBefore(event: 'finish' | 'close', listener: Listeners[number]): boolean {
    return (event === 'finish' ? this.#ofFinish : this.#ofClose).includes(listener)
  }
}

function emitEnd(this: unknown, ...args: unknown[]): unknown {
  const response = this as ServerResponse
  const [event] = args
  const bound = responseOf(response)[boundKey]
  const emit = bound?.emitBefore ?? inheritedEmit(response)
  const isEnd = event === 'finish' || event === 'close'
  if (bound === undefined || !isEnd || isUnheard(response, bound, args)) return Reflect.apply(emit, response, args)
  const listeners = response.rawListeners(event)
  if (listeners.every((listener) => bound.wasThereBefore(event, listener))) {
    return bound.outside.run(() => Reflect.apply(emit, response, args))
  }
  // The connection closes outside of every context.
  const inside = requestOf(response.req)[boundKey]?.inside ?? bound.outside
  const given = args.slice(1)
  for (const listener of listeners) {
    const context = bound.wasThereBefore(event, listener) ? bound.outside : inside
    context.run(() => Reflect.apply(listener, response, given))
  }
  return true
}

function ownMethod(stream: EventEmitter, name: string): Method | undefined {
  // What a stream has under these names are methods.
  return Object.hasOwn(stream, name) ? (Reflect.get(stream, name) as Method) : undefined
}

/** Whether an event calls nobody, neither a listener nor what others have put in the place of `emit`. */
function isUnheard(
  stream: EventEmitter,
  { emitBefore }: BoundRequest | BoundResponse,
  [event]: readonly unknown[],
): boolean {
  // Whatever is emitted has the name of an event.
  return emitBefore === undefined && stream.listenerCount(event as string | symbol) === 0
}

/** Read as a property, which is several times as fast as by `Reflect.get`. */
function inheritedEmit(stream: EventEmitter): Method {
  return (Object.getPrototypeOf(stream) as { emit: Method }).emit
}
