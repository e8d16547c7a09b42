/** Requests whose answer nobody waits for. */
import type { ServerResponse } from 'node:http'

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
export function whyNobodyWaits(
  response: ServerResponse & { readonly stream?: { readonly destroyed: boolean } },
  isOpen: boolean,
): Error | undefined {
  // A response of HTTP/2 has no `destroyed` of its own.
  if (response.destroyed || response.stream?.destroyed === true) return goneAway()
  return isOpen ? undefined : new DOMException('The request had been answered before its transaction.', 'AbortError')
}
