/** Requests whose answer nobody waits for. */
import type { ServerResponse } from 'node:http'
import { hasUnsentHead } from './response-head.js'

/** The client has gone away. */
export function goneAway(): Error {
  return new DOMException('The client closed the connection before it was answered.', 'AbortError')
}

/**
 * Why nobody waits for the answer of a request whose transaction is about to begin: no event tells of what has happened before.
 *
 * @param isOpen - whether nothing of a response is there
 * @returns undefined when somebody does
 */
export function whyNobodyWaits(response: ServerResponse, isOpen: boolean): Error | undefined {
  if (!isOpen) return new DOMException('The request had been answered before its transaction.', 'AbortError')
  return isDeserted(response) ? goneAway() : undefined
}

/** Whether a transaction of a request would come too late: it is answered, in part at least, or nobody waits for that. */
export function isPast(response: ServerResponse): boolean {
  return (response.headersSent && !hasUnsentHead(response)) || isDeserted(response)
}

/** A response that waits behind another one on its connection has no `close` when that is gone. */
function isDeserted(response: ServerResponse & { readonly stream?: { readonly destroyed: boolean } }): boolean {
  const { stream } = response
  // A response of HTTP/2 has no `destroyed` of its own.
  if (stream !== undefined) return stream.destroyed
  // Where a server is asked without a network, there may be no socket.
  const { socket } = response.req as { readonly socket?: { readonly destroyed?: boolean } }
  return response.destroyed || socket?.destroyed === true
}
