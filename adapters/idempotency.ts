/** Requests with an idempotency key are served once: who sends one again gets the answer that was stored with the work. @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  callable,
  count,
  either,
  flag,
  having,
  listOf,
  milliseconds,
  type OptionTypesOf,
  oneOf,
  text,
} from '../src/checked-options.js'
import {
  type IdempotencyKey,
  IdempotencyKeyError,
  IdempotencyKeyReusedError,
  type IdempotencyStore,
  type ManagedTransaction,
  PrismaIdempotencyStore,
  ProgrammingError,
} from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'
import { type ResponseToRecord, recordOf, WholeResponse } from './response-parts.js'
import { decodedFor, fingerprintOf, headersToKeep } from './stored-answer.js'

/** Whose keys they are: a client's own, by what identifies it; or everybody's. */
export type IdempotencyScope<Request = unknown> = 'public' | ((request: Request) => string | number | bigint)

/** How requests with an idempotency key are served. */
export interface IdempotencyOptions<Request = unknown> {
  /**
   * Whose key it is, such as the id of the user: keys of one name in two scopes never meet. It is asked for just before the
   * handler, when whatever tells the user has run, and gives a text of 1 to 255 characters, or a number; anything else is an
   * error. `'public'` is one scope for all: who guesses somebody else's key, and sends the same request, gets that answer. It is
   * for routes that anybody may call, and whose answers anybody may see.
   *
   * Required, in the options of the app or in those of the route.
   */
  readonly scope?: IdempotencyScope<Request>
  /** Whether a request without a key is refused with status 400; default false. */
  readonly required?: boolean
  /** Milliseconds for which an answer is kept; default 86,400,000, which is a day. */
  readonly ttlMs?: number
  /** The methods whose keys count, in capitals; default POST and PATCH. The others are idempotent by themselves. */
  readonly methods?: readonly string[]
  /**
   * What a request has to have in common with the one before to be the same; default: its method, its URL and its body, as
   * the body parser has read it. Uploads (multipart) need it: without it their keys are refused with status 415.
   */
  readonly fingerprint?: (request: Request) => string | Uint8Array
  /**
   * The response headers that are kept beside those that describe the body, or say how it may be used (docs/idempotency.md);
   * default: none. `set-cookie` and the headers of a connection are refused.
   */
  readonly headers?: readonly string[]
  /**
   * The person whose data the answer has, as events name them, such as the user's id; undefined for nobody. `forget` deletes the
   * stored answers of that person. It is called when the answer is stored; default: nobody.
   */
  readonly subject?: (request: Request) => string | undefined
  /** Bytes of a body that is kept; default 1,048,576. A longer one, or a stream that becomes longer, is an error: status 500. */
  readonly maxBodyBytes?: number
  /** Where the answers are kept; default: the table `idempotency_keys` of the datastore. */
  readonly store?: IdempotencyStore
}

/** What the options of idempotency keys are; the scope is asked for where it counts. */
export const idempotencyOptionTypes: OptionTypesOf<IdempotencyOptions> = {
  scope: either(callable, oneOf('public')),
  required: flag,
  ttlMs: milliseconds,
  methods: listOf(text, "a list of methods in capitals, such as ['POST']"),
  fingerprint: callable,
  headers: listOf(text, 'a list of the names of headers'),
  subject: callable,
  maxBodyBytes: count,
  store: having('claim', 'an idempotency store, such as new PrismaIdempotencyStore(datastore)'),
}

/** The header of a response that was stored before: its value is `true`. */
export const replayedHeader = 'idempotency-replayed'

const dayMs = 24 * 60 * 60 * 1000
const defaultMethods: readonly string[] = ['POST', 'PATCH']
const defaultMaxBodyBytes = 1024 * 1024

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

/** @throws `ProgrammingError` for options that do not say whose keys they are, and for headers that are not to be kept */
export function assertIdempotency<Request>(
  idempotency: boolean | IdempotencyOptions<Request> | undefined,
): asserts idempotency is false | undefined | (IdempotencyOptions<Request> & { scope: IdempotencyScope<Request> }) {
  if (idempotency === undefined || idempotency === false) return
  const { scope, headers } = idempotency === true ? { scope: undefined, headers: [] } : idempotency
  headersToKeep(headers)
  if (scope === 'public' || typeof scope === 'function') return
  throw new ProgrammingError(
    'Could not use idempotency keys: nothing says whose they are, and a stored answer is for nobody else. Give ' +
      "`idempotency: { scope: (request) => request.user.id }`, or `scope: 'public'` where anybody may get the answers of anybody.",
  )
}

/** What the options of a transaction say to this, and whose it is. */
export interface Serving<Request> {
  readonly datastore: object
  readonly idempotency: boolean | IdempotencyOptions<Request> | undefined
  readonly request: Request
  readonly response: ServerResponse
}

/** Where a request is when its key is claimed. */
export interface ClaimPlace {
  /** The same for each request that comes here, and another one elsewhere. */
  readonly name: string
  /** Whether the handler comes next, and cannot be what lets the request pass to another one. */
  readonly isHandler: boolean
}

/** Why a key that should have been claimed was not. */
export interface MissingClaim {
  readonly why: string
  /** Whether a success comes from the handler for certain; else only where the transaction was used. */
  readonly isAfterHandler: boolean
}

const atHandler: ClaimPlace = { name: '', isHandler: true }

/** Beside the headers of a stored answer, and no name of one: where it was given. */
const placeHeader = ':place'

/** A request with an idempotency key. */
export class IdempotentRequest<Request> {
  /** Puts the answer together. */
  readonly whole: WholeResponse
  /** What is wrong when the request is answered without a claim; undefined where an answer may come before the handler. */
  unclaimed: MissingClaim | undefined
  readonly #maxBodyBytes: number
  readonly #options: IdempotencyOptions<Request> & { readonly scope: IdempotencyScope<Request> }
  readonly #store: IdempotencyStore
  readonly #request: Request
  readonly #message: IncomingMessage
  readonly #response: ServerResponse
  /** The transaction that has asked for the key, and what it got. */
  #claimedIn: ManagedTransaction | undefined
  #key: IdempotencyKey | undefined
  #known: RecordedResponse | undefined
  #place = atHandler

  private constructor(
    { datastore, request, response }: Serving<Request>,
    options: IdempotencyOptions<Request> & { readonly scope: IdempotencyScope<Request> },
  ) {
    this.#options = options
    this.#request = request
    this.#message = response.req
    this.#response = response
    this.#store = options.store ?? storeOf(datastore)
    this.#maxBodyBytes = options.maxBodyBytes ?? defaultMaxBodyBytes
    this.whole = new WholeResponse(this.#maxBodyBytes)
  }

  /**
   * @returns undefined for a request to which the options do not apply
   * @throws `ProgrammingError` for options that do not say whose keys they are
   */
  static of<Request>(serving: Serving<Request>): IdempotentRequest<Request> | undefined {
    const { idempotency } = serving
    assertIdempotency(idempotency)
    if (idempotency === undefined || idempotency === false) return undefined
    const { method = '', headers } = serving.response.req
    if (!(idempotency.methods ?? defaultMethods).includes(method)) return undefined
    if (headers['idempotency-key'] === undefined && idempotency.required !== true) return undefined
    return new IdempotentRequest(serving, idempotency)
  }

  /**
   * Takes the key for a transaction, which may ask at several places: the answer that is stored is given where it was given
   * before, or just before the handler.
   *
   * @returns the answer to send, undefined when the request is to go on
   * @throws `IdempotencyKeyError` when it is missing or malformed, `IdempotencyKeyInUseError`, `IdempotencyKeyReusedError`;
   * `IdempotencyBodyError`; `ProgrammingError` for a scope that is none
   */
  async claim(managed: ManagedTransaction, place: ClaimPlace = atHandler): Promise<RecordedResponse | undefined> {
    this.#place = place
    if (this.#claimedIn !== managed) {
      this.#key = this.#known = undefined
      const scope = this.#scope()
      this.unclaimed = undefined
      if (scope === undefined) {
        // What comes next may be what tells the user.
        this.unclaimed = { why: undefinedScope, isAfterHandler: true }
        if (!place.isHandler) return undefined
        throw new ProgrammingError(undefinedScope)
      }
      const key = { scope, key: keyIn(this.#message.headers['idempotency-key']) }
      const { ttlMs = dayMs } = this.#options
      const fingerprint = createHash('sha256').update(this.#identity()).digest()
      this.#known = await managed.run(async () => await this.#store.claim({ ...key, fingerprint, ttlMs }))
      this.#key = key
      this.#claimedIn = managed
    }
    const known = this.#known
    if (known === undefined) return undefined
    const { [placeHeader]: name, ...headers } = known.headers
    if (!place.isHandler && name !== place.name) return undefined
    return await decodedFor(this.#message.headers['accept-encoding'] ?? '', { ...known, headers })
  }

  /**
   * Stores the answer in the transaction, as its last work before the commit.
   *
   * @param isUsed - whether the transaction was used beside the claim
   * @throws `ProgrammingError` where the key was not claimed though work was done; `IdempotencyKeyReusedError` where the
   * answer that is stored has not been given
   */
  async record(
    managed: ManagedTransaction,
    answer: Omit<ResponseToRecord, 'response'>,
    isUsed: boolean,
  ): Promise<void> {
    const key = this.#key
    const isSuccess = answer.status >= 200 && answer.status < 300
    if (key === undefined) {
      const { unclaimed } = this
      if (unclaimed !== undefined && isSuccess && (isUsed || unclaimed.isAfterHandler))
        throw new ProgrammingError(unclaimed.why)
      return
    }
    if (this.#known !== undefined) {
      if (isUsed || isSuccess) throw answeredElsewhere(key)
      return
    }
    const names = headersToKeep(this.#options.headers)
    const record = recordOf({ ...answer, response: this.#response }, names)
    if (answer.calls.at(-1)?.method !== 'end' || record.body.byteLength > this.#maxBodyBytes) {
      throw new ProgrammingError(
        `Could not store the answer under idempotency key ${key.key}: its body is longer than ${this.#maxBodyBytes} bytes. ` +
          'Raise `maxBodyBytes`, or set `idempotency: false` for the route.',
      )
    }
    await managed.run(async () => await this.#store.complete(key, this.#kept(record)))
  }

  /** An answer with the place where it was given, and whose data it has. */
  #kept(record: RecordedResponse): RecordedResponse {
    const { name } = this.#place
    const headers = name === '' ? record.headers : { ...record.headers, [placeHeader]: name }
    const subject = this.#options.subject?.(this.#request)
    return { ...record, headers, ...(subject === undefined ? {} : { subject }) }
  }

  #scope(): string | undefined {
    const { scope } = this.#options
    if (scope === 'public') return ''
    // Whoever writes JavaScript may give anything.
    const given: unknown = scope(this.#request)
    if (typeof given === 'string' && given !== '') return given
    return typeof given === 'bigint' || (typeof given === 'number' && Number.isFinite(given))
      ? String(given)
      : undefined
  }

  /** What makes two requests the same. */
  #identity(): string | Uint8Array {
    if (this.#options.fingerprint === undefined) return fingerprintOf(this.#request, this.#message)
    const given: unknown = this.#options.fingerprint(this.#request)
    if (typeof given === 'string' || given instanceof Uint8Array) return given
    throw new ProgrammingError(
      `Could not tell requests apart: the option \`fingerprint\` gave ${typeof given}, and has to give a text or bytes.`,
    )
  }
}

const undefinedScope =
  'Could not tell whose idempotency key it is: the option `scope` gave neither a text of 1 to 255 characters nor a number. Let ' +
  'what tells the user come before the handler, and refuse requests without one; or give a text of your own for these.'

function answeredElsewhere({ key }: IdempotencyKey): IdempotencyKeyReusedError {
  return new IdempotencyKeyReusedError(
    `Could not use idempotency key ${key}: it was answered by another route of this app than the one that has served it now. ` +
      'Nothing is stored of that. Use a new key for a new request.',
  )
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
