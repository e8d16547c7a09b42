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
import { CapturedContext } from '../src/index.js'
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
  } else known.inside = new CapturedContext()
}

class BoundRequest {
  inside: CapturedContext = new CapturedContext()
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
  const outside = (): CapturedContext => datastore.outside(() => new CapturedContext())
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
  /** Those that were there before. */
  readonly finish: Listeners
  readonly close: Listeners

  constructor(response: BindableResponse, outside: CapturedContext) {
    this.outside = outside
    this.emit = response.emit
    this.isOfOthers = Object.hasOwn(response, 'emit')
    this.finish = response.rawListeners('finish')
    this.close = response.rawListeners('close')
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
  const before = bound[event]
  if (listeners.every((listener) => before.includes(listener))) {
    return outside.run(() => Reflect.apply(emit, this, args))
  }
  // The connection closes outside of every context.
  const inside = (this.req as BindableRequest)[boundKey]?.inside ?? outside
  const given = args.slice(1)
  for (const listener of listeners) {
    const context = before.includes(listener) ? outside : inside
    context.run(() => Reflect.apply(listener, this, given))
  }
  return true
}
