/** Requests with an idempotency key are served once: who sends one again gets the answer that was stored with the work. @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  type IdempotencyKey,
  IdempotencyKeyError,
  type IdempotencyStore,
  type ManagedTransaction,
  PrismaIdempotencyStore,
  ProgrammingError,
  type RecordedResponse,
} from '../src/index.js'
import { type ResponseToRecord, recordOf, WholeResponse } from './whole-response.js'

/** How requests with an idempotency key are served. */
export interface IdempotencyOptions<Request = unknown> {
  /** Whether a request without a key is refused with status 400; default false. */
  readonly required?: boolean
  /** Milliseconds for which an answer is kept; default 86,400,000, which is a day. */
  readonly ttlMs?: number
  /** The methods whose keys count, in capitals; default POST and PATCH. The others are idempotent by themselves. */
  readonly methods?: readonly string[]
  /**
   * Whose key it is: keys of one name in two scopes never meet. Up to 255 characters, such as the id of the user; default:
   * one scope for all, so that who guesses somebody else's key, and sends the same request, gets that answer.
   */
  readonly scope?: (request: Request) => string
  /**
   * What a request has to have in common with the one before to be the same; default: its method, its URL and its body, as
   * the body parser has read it.
   */
  readonly fingerprint?: (request: Request) => string | Uint8Array
  /**
   * The response headers that are kept beside content-type, content-encoding, content-language, content-disposition, etag,
   * last-modified, link, location and vary; default: none.
   */
  readonly headers?: readonly string[]
  /** Bytes of a body that is kept; default 1,048,576. A longer one, or a stream that becomes longer, is an error: status 500. */
  readonly maxBodyBytes?: number
  /** Where the answers are kept; default: the table `idempotency_keys` of the datastore. */
  readonly store?: IdempotencyStore
}

/** The header of a response that was stored before: its value is `true`. */
export const replayedHeader = 'idempotency-replayed'

const dayMs = 24 * 60 * 60 * 1000
const defaultMethods: readonly string[] = ['POST', 'PATCH']
const defaultMaxBodyBytes = 1024 * 1024
const keptHeaders: readonly string[] = [
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'etag',
  'last-modified',
  'link',
  'location',
  'vary',
]

/** The stores of datastores whose options name none. */
const stores = new WeakMap<object, IdempotencyStore>()

/** The options of a route over those of the app; a route turns them on with all that the app says, or off. */
export function mergeIdempotency<Request>(
  app: boolean | IdempotencyOptions<Request> | undefined,
  route: boolean | IdempotencyOptions<Request> | undefined,
): boolean | IdempotencyOptions<Request> | undefined {
  if (route === undefined || typeof app !== 'object') return route ?? app
  return route === false ? false : { ...app, ...(route === true ? {} : route) }
}

/** What the options of a transaction say to this, and whose it is. */
export interface Serving<Request> {
  readonly datastore: object
  readonly idempotency: boolean | IdempotencyOptions<Request> | undefined
  readonly request: Request
  readonly response: ServerResponse
}

/** A request with an idempotency key. */
export class IdempotentRequest<Request> {
  /** Puts the answer together. */
  readonly whole: WholeResponse
  readonly #maxBodyBytes: number
  readonly #options: IdempotencyOptions<Request>
  readonly #store: IdempotencyStore
  readonly #request: Request
  readonly #message: IncomingMessage
  readonly #response: ServerResponse
  #key: IdempotencyKey | undefined

  private constructor({ datastore, request, response }: Serving<Request>, options: IdempotencyOptions<Request>) {
    this.#options = options
    this.#request = request
    this.#message = response.req
    this.#response = response
    this.#store = options.store ?? storeOf(datastore)
    this.#maxBodyBytes = options.maxBodyBytes ?? defaultMaxBodyBytes
    this.whole = new WholeResponse(this.#maxBodyBytes)
  }

  /** @returns undefined for a request to which the options do not apply */
  static of<Request>(serving: Serving<Request>): IdempotentRequest<Request> | undefined {
    const { idempotency } = serving
    if (idempotency === undefined || idempotency === false) return undefined
    const options = idempotency === true ? {} : idempotency
    const { method = '', headers } = serving.response.req
    if (!(options.methods ?? defaultMethods).includes(method)) return undefined
    if (headers['idempotency-key'] === undefined && options.required !== true) return undefined
    return new IdempotentRequest(serving, options)
  }

  /**
   * Takes the key for a transaction.
   *
   * @returns the answer that was stored under it, undefined when the request is to be served now
   * @throws `IdempotencyKeyError` when it is missing or malformed, `IdempotencyKeyInUseError`, `IdempotencyKeyReusedError`;
   * `ProgrammingError` for a body that nobody has read
   */
  async claim(managed: ManagedTransaction): Promise<RecordedResponse | undefined> {
    this.#key = undefined
    const { ttlMs = dayMs, scope } = this.#options
    const key = { scope: scope?.(this.#request) ?? '', key: keyIn(this.#message.headers['idempotency-key']) }
    const fingerprint = createHash('sha256').update(this.#identity()).digest()
    const known = await managed.run(async () => await this.#store.claim({ ...key, fingerprint, ttlMs }))
    this.#key = key
    return known
  }

  /** Stores the answer in the transaction, as its last work before the commit. */
  async record(managed: ManagedTransaction, answer: Omit<ResponseToRecord, 'response'>): Promise<void> {
    const key = this.#key
    if (key === undefined) return
    const names = new Set([...keptHeaders, ...(this.#options.headers ?? []).map((name) => name.toLowerCase())])
    const record = recordOf({ ...answer, response: this.#response }, names)
    if (answer.calls.at(-1)?.method !== 'end' || record.body.byteLength > this.#maxBodyBytes) {
      throw new ProgrammingError(
        `Could not store the answer under idempotency key ${key.key}: its body is longer than ${this.#maxBodyBytes} bytes. ` +
          'Raise `maxBodyBytes`, or set `idempotency: false` for the route.',
      )
    }
    await managed.run(async () => await this.#store.complete(key, record))
  }

  /** What makes two requests the same. */
  #identity(): string | Uint8Array {
    if (this.#options.fingerprint !== undefined) return this.#options.fingerprint(this.#request)
    const { method, headers } = this.#message
    if (!this.#message.readableDidRead && hasBody(headers)) {
      throw new ProgrammingError(
        'Could not tell whether the request is the one that was sent before: nobody has read its body. Let a body parser come ' +
          'first, or give the option `fingerprint`.',
      )
    }
    const hash = createHash('sha256').update(`${method} ${urlOf(this.#message)}\n`)
    return hash.update(bodyOf(this.#request)).digest()
  }
}

/**
 * Reads the header: a string in double quotes, or what is sent without them.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9651#name-strings
 */
function keyIn(header: string | readonly string[] | undefined): string {
  if (header === undefined) {
    throw new IdempotencyKeyError(
      'Could not serve the request without an Idempotency-Key: send one, and the same again when you repeat the request.',
    )
  }
  const text = String(header).trim()
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?: *;.*)?$/.exec(text)?.[1]?.replace(/\\(.)/g, '$1')
  const key = quoted ?? (/^[\x21\x23-\x7e]+$/.test(text) ? text : '')
  if (key.length >= 1 && key.length <= 255) return key
  throw new IdempotencyKeyError(
    'Could not read Idempotency-Key: send a text of 1 to 255 ASCII characters in double quotes.',
  )
}

function storeOf(datastore: object): IdempotencyStore {
  const known = stores.get(datastore)
  if (known !== undefined) return known
  const store = new PrismaIdempotencyStore(datastore)
  stores.set(datastore, store)
  return store
}

function hasBody(headers: IncomingMessage['headers']): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Routers of Express take what they have matched away from `url`. */
function urlOf(message: IncomingMessage): string {
  return 'originalUrl' in message ? String(message.originalUrl) : (message.url ?? '')
}

function bodyOf(request: unknown): string | Uint8Array {
  if (typeof request !== 'object' || request === null || !('body' in request)) return ''
  const { body } = request
  if (typeof body === 'string' || body instanceof Uint8Array) return body
  return JSON.stringify(body, sorted) ?? ''
}

/** Two objects with the same members are the same, in whatever order they were sent. */
function sorted(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
