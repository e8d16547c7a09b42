/** Whether this process is serving HTTP requests now, whatever framework it does that with: Node tells of each. */
import { subscribe } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'

let served = 0
let isWatching = false

/** Begins to count, for good: called where somebody wants to know. */
export function watchServedRequests(): void {
  if (isWatching) return
  isWatching = true
  subscribe('http.server.request.start', started)
}

/** Whether a request has come, since they are counted, that is not answered. */
export function areRequestsServed(): boolean {
  return served > 0
}

/** @see https://nodejs.org/api/diagnostics_channel.html#http */
function started(message: unknown): void {
  const { response } = message as { readonly response: EventEmitter }
  served += 1
  // Comes after every response, whether it was sent or not.
  response.once('close', ended)
}

function ended(): void {
  served -= 1
}
