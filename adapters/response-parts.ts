/** What a held response is made of: its head and its body, what Node refuses of them, and whether anybody waits for it. */

import { type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http'
import { brotliDecompressSync, unzipSync } from 'node:zlib'
import type { RecordedResponse } from '../src/recorders.js'

/**
 * @param args - of the method: chunk?, encoding?, callback?
 * @throws the errors of Node for a part of a body that is neither text nor bytes, and for an encoding that is none
 */
export function assertChunk(method: 'write' | 'end' | 'flushHeaders', [chunk, encoding]: readonly unknown[]): void {
  if (method === 'flushHeaders' || chunk instanceof Uint8Array) return
  if (typeof chunk === 'string') {
    if (typeof encoding !== 'string' || encoding === '' || Buffer.isEncoding(encoding)) return
    throw nodeError(new TypeError(`Unknown encoding: ${encoding}`), 'ERR_UNKNOWN_ENCODING')
  }
  if (method === 'end' && (chunk === undefined || chunk === null || typeof chunk === 'function')) return
  throw nodeError(
    new TypeError(`The "chunk" argument must be a string or an instance of Uint8Array. Received ${typeof chunk}`),
    'ERR_INVALID_ARG_TYPE',
  )
}

/**
 * Calls back who waits for a part of a body that will never be written, with an error as Node does it.
 *
 * @param args - of the method that would have written it
 */
export function tellUnsent(args: readonly unknown[]): void {
  const callback = args.find((argument) => typeof argument === 'function')
  if (callback === undefined) return
  const error = new Error('The response was dropped: another one is sent in its place')
  process.nextTick(callback, nodeError(error, 'ERR_STREAM_DESTROYED'))
}

/** A call of a response's method that has been held. */
export interface SendingCall {
  readonly method: 'writeHead' | 'write' | 'end' | 'flushHeaders'
  readonly args: readonly unknown[]
}

/** Says how much of a response has to be there before the transaction ends: all of it, up to a limit. */
export class WholeResponse {
  readonly #maxBodyBytes: number
  #size = 0
  #hasBegun = false

  /** @param maxBodyBytes - with a longer body it is a stream like any other */
  constructor(maxBodyBytes: number) {
    this.#maxBodyBytes = maxBodyBytes
  }

  /** Whether a part of the body has been waited for. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /**
   * Counts a part in. Who waits for it to be written, before the next one, is called back: nothing is written before the end.
   *
   * @param args - of the method; the callback is taken out
   * @returns whether more has to come before the response is asked for
   */
  waitsAfter(method: SendingCall['method'], args: unknown[]): boolean {
    this.#size += bytesOf(args).byteLength
    this.#hasBegun = true
    if (method === 'end' || this.#size > this.#maxBodyBytes) return false
    const callback = args.find((argument) => typeof argument === 'function')
    if (callback === undefined) return true
    args.splice(args.indexOf(callback), 1)
    process.nextTick(callback)
    return true
  }

  /** Forgets the response, since another one takes its place. */
  clear(): void {
    this.#size = 0
    this.#hasBegun = false
  }
}

/** A response that is about to be sent. */
export interface ResponseToRecord {
  readonly response: ServerResponse
  readonly status: number
  /** All that send it. */
  readonly calls: readonly SendingCall[]
}

/**
 * What is kept of a response.
 *
 * @param names - of the headers to keep, in lower case
 */
export function recordOf({ response, status, calls }: ResponseToRecord, names: ReadonlySet<string>): RecordedResponse {
  const headers: Record<string, string | readonly string[]> = {}
  const given = calls.flatMap(({ method, args }) => (method === 'writeHead' ? headersIn(args) : []))
  for (const [name, value] of [...Object.entries(response.getHeaders()), ...given]) {
    const lowerCase = name.toLowerCase()
    if (names.has(lowerCase)) headers[lowerCase] = Array.isArray(value) ? value.map(String) : String(value)
  }
  return {
    status,
    headers,
    body: Buffer.concat(calls.map(({ method, args }) => (method === 'writeHead' ? noBytes : bytesOf(args)))),
  }
}

/** The body of a response that has not been sent yet. */
export interface Answer {
  /**
   * The body as JSON, also where it is compressed.
   *
   * @returns undefined for an empty body, another one, and one that is longer than what is waited for
   */
  json(): unknown
}

/** How much of a body is waited for where `commitOn` looks at it: 1 MiB. */
export const maxHeldBytes: number = 1_048_576

/** The body of a response that is held, as `commitOn` looks at it. */
export class HeldAnswer implements Answer {
  readonly #response: ServerResponse
  readonly #calls: readonly SendingCall[]

  constructor(response: ServerResponse, calls: readonly SendingCall[]) {
    this.#response = response
    this.#calls = calls
  }

  json(): unknown {
    if (this.#calls.at(-1)?.method !== 'end') return undefined
    const answer = { response: this.#response, status: this.#response.statusCode, calls: this.#calls }
    const { headers, body } = recordOf(answer, new Set(['content-encoding']))
    try {
      return JSON.parse(decoded(body, headers['content-encoding']).toString('utf8'))
    } catch {
      return undefined
    }
  }
}

/** @throws for bytes that the encoding does not give, or that are more than what is waited for */
function decoded(body: Uint8Array, encoding: unknown): Buffer {
  const limit = { maxOutputLength: maxHeldBytes }
  if (encoding === 'gzip' || encoding === 'deflate') return unzipSync(body, limit)
  if (encoding === 'br') return brotliDecompressSync(body, limit)
  return Buffer.from(body)
}

const noBytes = new Uint8Array()

/** @param args - of `write` and `end`: chunk?, encoding?, callback? */
function bytesOf([chunk, encoding]: readonly unknown[]): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk !== 'string') return noBytes
  return Buffer.from(chunk, typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8')
}

type HeaderValue = ReturnType<ServerResponse['getHeader']>

/** Goes back to what a response was, when what became of it is dropped. */
export class ResponseHead {
  readonly #response: ServerResponse
  /** Beside each other, without an object of them: few responses have many this early, and few are taken back. */
  readonly #namesBefore: readonly string[]
  readonly #valuesBefore: readonly HeaderValue[]
  readonly #statusBefore: number
  /** HTTP/2 has no status messages, and Node warns whoever looks at one. */
  readonly #hasMessage: boolean

  constructor(response: ServerResponse) {
    this.#response = response
    this.#namesBefore = response.getHeaderNames()
    this.#valuesBefore = this.#namesBefore.map((name) => copyOf(response.getHeader(name)))
    this.#statusBefore = response.statusCode
    this.#hasMessage = response.req.httpVersionMajor !== 2
    // Once for a response, also where it has the transactions of several datastores.
    if (!Object.hasOwn(response, sourcesKey)) {
      Reflect.set(response, sourcesKey, [])
      response.on('pipe', addSource)
    }
  }

  /** Empty where nobody has set one. */
  get message(): string {
    // Typed as always there; it is not before somebody sets it.
    return this.#hasMessage ? (this.#response.statusMessage ?? '') : ''
  }

  setStatus(status: number, message: string): void {
    this.#response.statusCode = status
    if (this.#hasMessage && this.#response.statusMessage !== message) this.#response.statusMessage = message
  }

  /** Cuts off what was piped into the response, and takes back the status, the headers and the trailers that were set since the beginning. */
  restore(): void {
    const response = this.#response
    for (const source of sourcesOf(response)) source.unpipe(response)
    Reflect.set(response, sourcesKey, [])
    if (hasUnsentHead(response)) takeBackHead(response)
    for (const name of response.getHeaderNames()) if (!this.#namesBefore.includes(name)) response.removeHeader(name)
    for (const [index, name] of this.#namesBefore.entries()) {
      const value = this.#valuesBefore[index]
      if (value !== undefined && response.getHeader(name) !== value) response.setHeader(name, copyOf(value))
    }
    // HTTP/1 begins them anew with each call; HTTP/2 cannot take one back.
    if (this.#hasMessage) response.addTrailers({})
    this.setStatus(this.#statusBefore, '')
  }
}

interface Source {
  unpipe(destination: unknown): unknown
}

const sourcesKey = Symbol('sources')

function addSource(this: ServerResponse, source: Source): void {
  Reflect.set(this, sourcesKey, [...sourcesOf(this), source])
}

function sourcesOf(response: ServerResponse): readonly Source[] {
  // Nobody else has the key.
  return Reflect.get(response, sourcesKey) as readonly Source[]
}

/** Who appends to a header with several values adds to the array of those. */
export function copyOf<Value>(value: Value | string[]): Value | string[] {
  return Array.isArray(value) ? [...value] : value
}

/** Whether `writeHead` was called, and nothing after it: Node keeps the head for the first byte of the body. */
export function hasUnsentHead(response: ServerResponse): boolean {
  return response.headersSent && Reflect.get(response, '_headerSent') === false
}

/** Node has no method for that; these are the fields in which it keeps what it has not sent (from 0.x to 24). */
function takeBackHead(response: ServerResponse): void {
  Reflect.set(response, '_header', null)
  // Chosen for a body whose length was not known, and for a status that has none; the next one may be another.
  response.chunkedEncoding = false
  Reflect.set(response, '_hasBody', response.req.method !== 'HEAD')
}

/** The client has gone away. */
export function goneAway(): Error {
  return new DOMException('The client closed the connection before it was answered.', 'AbortError')
}

/** Whether a transaction of a request would come too late: it is answered, in part at least, or nobody waits for that. */
export function isPast(response: ServerResponse): boolean {
  return (response.headersSent && !hasUnsentHead(response)) || isDeserted(response)
}

/** Whether nobody waits for a response. One that waits behind another on its connection has no `close` when that is gone. */
export function isDeserted(response: ServerResponse & { readonly stream?: { readonly destroyed: boolean } }): boolean {
  const { stream } = response
  // A response of HTTP/2 has no `destroyed` of its own.
  if (stream !== undefined) return stream.destroyed
  // Where a server is asked without a network, there may be no socket.
  const { socket } = response.req as { readonly socket?: { readonly destroyed?: boolean } }
  return response.destroyed || socket?.destroyed === true
}

/**
 * @param args - of `writeHead`: status, message?, headers?
 * @throws the errors of Node for a status or a header that cannot be sent
 * @see https://nodejs.org/api/http.html#responsewriteheadstatuscode-statusmessage-headers
 */
export function assertHead(args: readonly unknown[]): void {
  const status = Math.trunc(Number(args[0]))
  if (!(status >= 100 && status <= 999)) {
    throw nodeError(new RangeError(`Invalid status code: ${String(args[0])}`), 'ERR_HTTP_INVALID_STATUS_CODE')
  }
  if (typeof args[1] === 'string') validateHeaderValue('statusMessage', args[1])
  for (const [name, value] of headersIn(args)) {
    validateHeaderName(name)
    // Node takes numbers and arrays as well.
    validateHeaderValue(name, value as string)
  }
}

/**
 * The headers that a call of `writeHead` gives.
 *
 * @param args - status, message?, headers?
 */
export function headersIn(args: readonly unknown[]): ReadonlyArray<readonly [string, unknown]> {
  const headers = typeof args[1] === 'string' ? args[2] : (args[2] ?? args[1])
  if (typeof headers !== 'object' || headers === null) return []
  if (!Array.isArray(headers)) return Object.entries(headers)
  const list: unknown[] = Array.isArray(headers[0]) ? headers.flat() : headers
  return list.flatMap((name, index) => (index % 2 === 0 ? [[String(name), list[index + 1]] as const] : []))
}

/** What Node throws when something changes a head that has been sent. Frameworks know it by its code. */
export function headersSentError(what: 'write' | 'set' | 'remove'): Error {
  return nodeError(new Error(`Cannot ${what} headers after they are sent to the client`), 'ERR_HTTP_HEADERS_SENT')
}

/** An error as Node makes them. */
function nodeError(error: Error, code: string): Error {
  return Object.assign(error, { code })
}
