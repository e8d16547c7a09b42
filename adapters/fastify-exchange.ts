/** One request of Fastify, and its transactions. */
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { NoTransactionError, type Transaction } from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'
import { retryAfterIn, statusIn, withStatus } from './error-status.js'
import type { Exchange, ServedRequest } from './http.js'
import { replayedHeader } from './idempotency.js'
import { copyOf } from './response-parts.js'

/** The headers that Fastify keeps of a reply. */
type ReplyHeaders = ReturnType<FastifyReply['getHeaders']>

/** A request and its reply. */
export class FastifyExchange implements Exchange<FastifyRequest> {
  // A body that a hook compresses is written in parts as well.
  readonly streamsByWriting = false
  readonly request: FastifyRequest
  readonly response: ServerResponse
  readonly #reply: FastifyReply
  readonly #headersBefore: ReplyHeaders

  constructor(reply: FastifyReply) {
    this.request = reply.request
    this.response = reply.raw
    this.#reply = reply
    this.#headersBefore = headersOf(reply)
  }

  get label(): string {
    const { method, routeOptions } = this.request
    return `${method} ${routeOptions.url ?? 'no route'}`
  }

  get served(): ServedRequests {
    return (this.request as WithServed)[key] ?? none
  }

  addServed(served: ServedRequest<FastifyRequest>): void {
    // Nobody else has the key.
    const request = this.request as WithServed
    request[key] = [...(request[key] ?? none).filter(({ hasGivenWay }) => !hasGivenWay), served]
  }

  fail(error: Error): boolean {
    const reply = this.#reply
    // Hijacked: Fastify answers this request no more.
    if (reply.sent) {
      this.request.log.error(error)
      return false
    }
    resetHeaders(reply, this.#headersBefore)
    // For error handlers that answer without asking the error for its status.
    const status = statusIn(error)
    const retryAfter = retryAfterIn(error)
    if (status !== undefined) void reply.code(status)
    if (retryAfter !== undefined) void reply.header('retry-after', retryAfter)
    void reply.send(error)
    return true
  }

  /** Looks at what is sent before any hook has changed it: one that compresses makes a stream of everything. */
  refuseStreams(served: ServedRequest<FastifyRequest>): void {
    const reply = this.#reply
    const send = reply.send.bind(reply)
    reply.send = (payload?: unknown) => {
      try {
        if (isStream(payload)) served.checkStream()
      } catch (error) {
        return send(withStatus(error))
      }
      return send(payload)
    }
  }

  replay({ status, headers, body }: RecordedResponse): void {
    const reply = this.#reply
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    void reply.code(status).headers({ ...headers, [replayedHeader]: 'true' })
    // Fastify gives bytes a content-type; a stream of them stays without.
    if (bytes.length === 0) void reply.send()
    else void reply.send('content-type' in headers ? bytes : Readable.from([bytes]))
  }
}

/** The headers of a reply as they are now. */
export function headersOf(reply: FastifyReply): ReplyHeaders {
  const headers = reply.getHeaders()
  for (const name in headers) headers[name] = copyOf(headers[name])
  return headers
}

/** Takes back the headers of a reply that was dropped. */
export function resetHeaders(reply: FastifyReply, before: ReplyHeaders): void {
  // A cookie that is set is added to those that are there.
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== before[name]) reply.removeHeader(name)
  for (const [name, value] of Object.entries(before)) {
    if (reply.getHeader(name) !== value) void reply.header(name, copyOf(value))
  }
}

/** Whether a payload is a stream. */
export function isStream(payload: unknown): boolean {
  if (typeof payload !== 'object' || payload === null) return false
  return 'pipe' in payload || 'getReader' in payload || payload instanceof Response
}

type ServedRequests = ReadonlyArray<ServedRequest<FastifyRequest>>

/** They are a property of the request: a `WeakMap` would keep requests alive for long. */
const key: unique symbol = Symbol('transactions of the request')
const none: ServedRequests = []

interface WithServed {
  [key]?: ServedRequests | null
}

/** Lets all requests of a server have the property from their beginning, and `request.transaction`; tells its log of warnings. */
export function prepareRequests(fastify: FastifyInstance): void {
  if (fastify.hasRequestDecorator(key)) return
  fastify.decorateRequest(key, null)
  logWarnings(fastify)
  if (fastify.hasRequestDecorator('transaction')) {
    fastify.log.warn(
      'eventsourcing-prisma: request.transaction is of another plugin; use datastore.currentTransaction.',
    )
    return
  }
  fastify.decorateRequest('transaction', {
    getter(this: FastifyRequest): Transaction {
      const served = servedOf(this).find(({ hasGivenWay }) => !hasGivenWay)
      if (served !== undefined) return served.managed.transaction
      throw new NoTransactionError(
        `There is no transaction in ${this.method} ${this.routeOptions.url ?? this.url}: it is there from the preHandler hooks on that come ` +
          'after the plugin, in routes that have one.',
      )
    },
  })
}

/** The logs of servers that are open. */
const logs = new Set<FastifyBaseLogger>()

/** Process warnings of this package are records of the app's log as well, as long as the server is open. */
function logWarnings(fastify: FastifyInstance): void {
  const { log } = fastify
  if (logs.size === 0) process.on('warning', tellLogs)
  logs.add(log)
  fastify.addHook('onClose', (_instance, done) => {
    logs.delete(log)
    if (logs.size === 0) process.off('warning', tellLogs)
    done()
  })
}

function tellLogs(warning: Error & { readonly code?: unknown }): void {
  const { code, message } = warning
  if (typeof code !== 'string' || !code.startsWith('ES_')) return
  for (const log of logs) log.warn({ code }, message)
}

/** In the order in which they were added. */
export function servedOf(request: FastifyRequest): ServedRequests {
  // Nobody else has the key.
  return (request as WithServed)[key] ?? none
}
