/** The transactions of a request of Fastify, of all datastores. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ServedRequest } from './exchange.js'

type ServedRequests = ReadonlyArray<ServedRequest<FastifyRequest>>

/** They are a property of the request: a `WeakMap` would keep requests alive for long. */
const key: unique symbol = Symbol('transactions of the request')
const none: ServedRequests = []

interface WithServed {
  [key]?: ServedRequests | null
}

/** Lets all requests of a server have the property from their beginning. */
export function prepareRequests(fastify: FastifyInstance): void {
  if (!fastify.hasRequestDecorator(key)) fastify.decorateRequest(key, null)
}

/** In the order in which they were added. */
export function servedOf(request: FastifyRequest): ServedRequests {
  // Nobody else has the key.
  return (request as WithServed)[key] ?? none
}

/** Gives a request another one. */
export function addServed(request: FastifyRequest, served: ServedRequest<FastifyRequest>): void {
  // Nobody else has the key.
  ;(request as WithServed)[key] = [...servedOf(request), served]
}
