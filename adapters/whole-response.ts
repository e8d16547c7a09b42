/** The body of a response that is held: what Node refuses of it, checked before the commit, and what is kept of the whole, put together from the calls that send it. */
import type { ServerResponse } from 'node:http'
import { brotliDecompressSync, unzipSync } from 'node:zlib'
import type { RecordedResponse } from '../src/recorders.js'
import { headersIn, nodeError } from './response-head.js'

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
