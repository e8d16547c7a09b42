/** What Node refuses to send: checked when it is held, since after the commit it is too late for an error. */
import { validateHeaderName, validateHeaderValue } from 'node:http'

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

/** What Node throws when something changes a head that has been sent. Frameworks know it by its code. */
export function headersSentError(what: 'write' | 'set' | 'remove'): Error {
  return nodeError(new Error(`Cannot ${what} headers after they are sent to the client`), 'ERR_HTTP_HEADERS_SENT')
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

function nodeError(error: Error, code: string): Error {
  return Object.assign(error, { code })
}
