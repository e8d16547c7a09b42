/** One request of Express. */
import type { NextFunction, Request, RequestHandler, Response } from 'express'
import type { RecordedResponse } from '../src/index.js'
import { retryAfterIn, statusIn } from './error-status.js'
import type { Exchange, ServedRequest } from './exchange.js'
import { addServed, servedBy } from './express-served.js'
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
    addServed(this.response, served)
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
