/** What tells two requests apart that have the same idempotency key: method, URL, and the body as a parser has read it. */
import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { IdempotencyBodyError } from '../src/index.js'

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
