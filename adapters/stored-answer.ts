/** What is kept under an idempotency key: the answer, which is sent again, and what tells two requests apart that have the same key. */
import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { IdempotencyBodyError, ProgrammingError } from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'

/** What describes the body, and what says how it may be used. */
const keptHeaders: readonly string[] = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-security-policy',
  'content-security-policy-report-only',
  'content-type',
  'cross-origin-embedder-policy',
  'cross-origin-opener-policy',
  'cross-origin-resource-policy',
  'etag',
  'expires',
  'last-modified',
  'link',
  'location',
  'permissions-policy',
  'pragma',
  'preference-applied',
  'referrer-policy',
  'retry-after',
  'vary',
  'x-content-type-options',
  'x-frame-options',
]

/**
 * What belongs to one connection, or to one client. @see https://www.rfc-editor.org/rfc/rfc9110#name-connection
 */
const neverKept: readonly string[] = [
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/**
 * The headers that are kept, in lower case.
 *
 * @param own - what an app adds
 * @throws `ProgrammingError` for one that is never to be sent again
 */
export function headersToKeep(own: readonly string[] = []): ReadonlySet<string> {
  const names = own.map((name) => name.toLowerCase())
  const refused = names.find((name) => neverKept.includes(name))
  if (refused === undefined) return new Set([...keptHeaders, ...names])
  throw new ProgrammingError(
    `Could not keep the header ${refused} under idempotency keys: it belongs to one connection, or to one client. Take it out of \`idempotency.headers\`.`,
  )
}

const decoders: Readonly<Record<string, (body: Uint8Array) => Promise<Uint8Array>>> = {
  br: promisify(brotliDecompress),
  deflate: promisify(inflate),
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
}

/**
 * A stored answer as a request accepts it: one that was compressed for the first client is not for a client that does not say
 * that it can read it.
 *
 * @param accepted - the header Accept-Encoding of the request
 */
export async function decodedFor(accepted: string, response: RecordedResponse): Promise<RecordedResponse> {
  const { 'content-encoding': encoding, ...headers } = response.headers
  const codings = String(encoding ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity')
  if (codings.every((coding) => accepts(accepted, coding))) return response
  let { body } = response
  for (const coding of codings.toReversed()) {
    const decode = decoders[coding]
    // Nobody can read it but a client that knows it.
    if (decode === undefined) return response
    body = await decode(body)
  }
  const { etag } = headers
  const isStrong = typeof etag === 'string' && !etag.startsWith('W/')
  return { ...response, headers: isStrong ? { ...headers, etag: `W/${etag}` } : headers, body }
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#name-accept-encoding */
function accepts(header: string, coding: string): boolean {
  const weights = new Map<string, number>()
  for (const part of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
    weights.set(name.replace(/^x-/, ''), weight === undefined ? 1 : Number(weight))
  }
  return (weights.get(coding.replace(/^x-/, '')) ?? weights.get('*') ?? 0) > 0
}

/**
 * The SHA-256 of a request.
 *
 * @param request - the framework's, whose `body` is what its parser has read
 * @param message - the request of Node below it
 * @throws `IdempotencyBodyError` for a body that is not known: nobody has read it, or it came as multipart, whose files are
 * wherever the parser has put them
 */
export function fingerprintOf(request: unknown, message: IncomingMessage): Uint8Array {
  const hash = createHash('sha256').update(`${message.method} ${urlOf(message)}\n`)
  const body = bodyOf(request, message)
  if (typeof body === 'string' || body instanceof Uint8Array) hash.update(body)
  else addValue(hash, body)
  return hash.digest()
}

function bodyOf(request: unknown, message: IncomingMessage): unknown {
  const { headers } = message
  const type = headers['content-type'] ?? ''
  if (/^\s*multipart\//i.test(type))
    throw unknownBody(type, 'parsers of multipart put its files into places of their own')
  const body = typeof request === 'object' && request !== null && 'body' in request ? request.body : undefined
  const isSent = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  if (isSent && (!message.readableDidRead || body === undefined)) throw unknownBody(type, 'nobody has read it')
  return isSent ? body : ''
}

/** Routers of Express take what they have matched away from `url`. */
function urlOf(message: IncomingMessage): string {
  return 'originalUrl' in message ? String(message.originalUrl) : (message.url ?? '')
}

/** Text between the values, and the object that ends with it. */
interface Mark {
  readonly text: string
  readonly ends?: object
}

/** Adds a value of JSON, with the members of an object in one order, whatever the order in which they were sent. It may be as deep as a parser lets it be. */
function addValue(hash: Hash, root: unknown): void {
  const open = new Set<object>()
  const rest: Array<{ readonly value: unknown } | Mark> = [{ value: root }]
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    if ('text' in next) {
      hash.update(next.text)
      if (next.ends !== undefined) open.delete(next.ends)
      continue
    }
    const value = plain(next.value)
    if (value instanceof Uint8Array) hash.update(`${value.byteLength}:`).update(value)
    else if (typeof value !== 'object' || value === null) hash.update(textOf(value))
    else {
      if (open.has(value) || isOpaque(value)) throw unknownBody('', 'it is not made of plain values')
      open.add(value)
      hash.update(Array.isArray(value) ? '[' : '{')
      rest.push({ text: Array.isArray(value) ? ']' : '}', ends: value })
      const members = Array.isArray(value) ? [...value.entries()] : Object.entries(value).sort(byName)
      for (const [name, member] of members.toReversed()) {
        rest.push({ text: ',' }, { value: member }, { text: Array.isArray(value) ? '' : `${JSON.stringify(name)}:` })
      }
    }
  }
}

/** As JSON has it, dates for example. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return 'toJSON' in value && typeof value.toJSON === 'function' ? (value.toJSON() as unknown) : value
}

function textOf(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? typeof value)
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

/** Maps, sets, streams, files: their members do not tell what is in them. */
function isOpaque(value: object): boolean {
  if (Array.isArray(value)) return false
  return Symbol.iterator in value || Symbol.asyncIterator in value || 'pipe' in value || 'arrayBuffer' in value
}

function unknownBody(type: string, why: string): IdempotencyBodyError {
  return new IdempotencyBodyError(
    `Could not tell whether the request is the one that was sent before: the body${type === '' ? '' : ` (${type})`} is not known, ` +
      `since ${why}. Send a body that the route parses; or let a body parser come before the handler, or give the option \`fingerprint\`.`,
  )
}
