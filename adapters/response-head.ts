/** The head of a response: as it was, what Node refuses in one, and whether anybody waits for it. */
import { type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http'

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

  /** Takes back the status, the headers and the trailers that were set since the beginning. */
  restore(): void {
    const response = this.#response
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

/**
 * Why nobody waits for the answer of a request whose transaction is about to begin: no event tells of what has happened before.
 *
 * @param isOpen - whether nothing of a response is there
 * @returns undefined when somebody does
 */
export function whyNobodyWaits(response: ServerResponse, isOpen: boolean): Error | undefined {
  if (!isOpen) return new DOMException('The request had been answered before its transaction.', 'AbortError')
  return isDeserted(response) ? goneAway() : undefined
}

/** Whether a transaction of a request would come too late: it is answered, in part at least, or nobody waits for that. */
export function isPast(response: ServerResponse): boolean {
  return (response.headersSent && !hasUnsentHead(response)) || isDeserted(response)
}

/** A response that waits behind another one on its connection has no `close` when that is gone. */
function isDeserted(response: ServerResponse & { readonly stream?: { readonly destroyed: boolean } }): boolean {
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
export function nodeError(error: Error, code: string): Error {
  return Object.assign(error, { code })
}
