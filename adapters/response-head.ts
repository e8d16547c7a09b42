/** The status and the headers of a response, and what they were before a handler got it. */
import type { ServerResponse } from 'node:http'

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
