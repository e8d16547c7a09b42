/** The transactions of a request of Express, found by its response. */
import type { Request, Response } from 'express'
import type { ServedRequest } from './exchange.js'

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

/** Gives a request another one. */
export function addServed(response: Response, served: ServedRequest<Request>): void {
  response.on(asked, (found: Array<ServedRequest<Request>>) => {
    if (!served.hasGivenWay) found.push(served)
  })
}
