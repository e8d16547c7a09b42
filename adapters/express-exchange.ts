/** One request of Express, and its transactions. */
import type { NextFunction, Request, RequestHandler, Response } from 'express'
import type { RecordedResponse } from '../src/recorders.js'
import { retryAfterIn, statusIn } from './error-status.js'
import type { Exchange, ServedRequest } from './http.js'
import { replayedHeader } from './idempotency.js'

/** A request, its response, and what serves it after the middleware. */
export class ExpressExchange implements Exchange<Request> {
  readonly streamsByWriting = true
  readonly request: Request
  readonly response: Response
  readonly next: NextFunction
  /** What is run instead of what comes after. */
  readonly handler: RequestHandler | undefined

  // What Express gives a middleware.
  constructor(request: Request, response: Response, next: NextFunction, handler: RequestHandler | undefined) {
    this.request = request
    this.response = response
    this.next = next
    this.handler = handler
  }

  /** `POST /dogs/:name`: the pattern of the route, with the path of its router; known when the route has been found. */
  get label(): string {
    const { method, path, route } = this.request
    // Typed as always there; Express takes it away from a request that it has gone through.
    const baseUrl = (this.request.baseUrl as string | undefined) ?? ''
    // Typed as always there and of any type.
    const pattern = (route as { readonly path?: unknown } | undefined)?.path
    return `${method} ${baseUrl}${typeof pattern === 'string' ? pattern : path}`
  }

  get served(): ReadonlyArray<ServedRequest<Request>> {
    return servedBy(this.response)
  }

  addServed(served: ServedRequest<Request>): void {
    this.response.on(asked, (found: Array<ServedRequest<Request>>) => {
      if (!served.hasGivenWay) found.push(served)
    })
  }

  fail(error: Error): boolean {
    // For error handlers that answer without asking the error for its status.
    const status = statusIn(error)
    const retryAfter = retryAfterIn(error)
    if (!this.response.headersSent) {
      if (status !== undefined) this.response.statusCode = status
      if (retryAfter !== undefined) this.response.setHeader('retry-after', retryAfter)
    }
    this.next(error)
    return true
  }

  replay({ status, headers, body }: RecordedResponse): void {
    const { response } = this
    response.status(status)
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    response.setHeader(replayedHeader, 'true')
    if (body.byteLength === 0) response.end()
    else response.end(body)
  }

  /** Goes on with the request, in the context that there is. */
  proceed(): void {
    if (this.handler === undefined) this.next()
    else this.call(this.handler, this.next, this.next)
  }

  /** Runs a handler, and gives every failure of it to `failed`: Express 4 does not do that for what is rejected. */
  call(handler: RequestHandler, next: NextFunction, failed: NextFunction): void {
    const pass = (error?: unknown): void => {
      if (error === undefined || error === null || error === 'route' || error === 'router') next(error)
      else failed(error)
    }
    try {
      const result: unknown = handler(this.request, this.response, pass)
      if (result instanceof Promise) result.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

/**
 * An event by which a response is asked for its transactions. Why they are no property of it: Express has given it another
 * prototype, and V8 makes a hidden class for each property of such an object. Why no `WeakMap`: it keeps requests alive for long.
 */
const asked = Symbol('transactions of the request')
const none: readonly never[] = []

/** In the order in which they were added, without those that another one has taken the place of. */
export function servedBy(response: Response): ReadonlyArray<ServedRequest<Request>> {
  if (response.listenerCount(asked) === 0) return none
  const found: Array<ServedRequest<Request>> = []
  response.emit(asked, found)
  return found
}

const placeholders = [Symbol('first'), Symbol('last')] as const

/** From Node 24 on, objects that were given the same prototype share their hidden classes again, and tables would be slower. */
const isNeeded = Number.parseInt(process.versions.node, 10) < 24

/**
 * Lets V8 keep the properties of an object in a table of its own. Express gives each request and response another prototype:
 * they share no hidden classes any more, and each property that is set on one of them makes another class. With tables a request
 * that does nothing takes less processor time on Node 20 with the middleware than without it (`npm run bench -- --http`).
 */
export function keepInTable(object: object): void {
  if (!isNeeded) return
  for (const placeholder of placeholders) Reflect.set(object, placeholder, true)
  // An object from which a property is deleted that was not set last becomes a table.
  for (const placeholder of placeholders) Reflect.deleteProperty(object, placeholder)
}
