/** The status and the headers of a response, and what they were before a handler got it. */
import type { ServerResponse } from 'node:http'

/** Goes back to what a response was, when what became of it is dropped. */
export class ResponseHead {
  readonly #response: ServerResponse
  readonly #headersBefore: Readonly<Record<string, unknown>>
  readonly #statusBefore: number
  /** HTTP/2 has no status messages, and Node warns whoever looks at one. */
  readonly #hasMessage: boolean

  constructor(response: ServerResponse) {
    this.#response = response
    this.#headersBefore = response.getHeaders()
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
    for (const name of response.getHeaderNames()) if (!(name in this.#headersBefore)) response.removeHeader(name)
    for (const [name, value] of Object.entries(this.#headersBefore)) {
      // They come from `getHeaders`.
      if (response.getHeader(name) !== value) response.setHeader(name, value as string)
    }
    // HTTP/1 begins them anew with each call; HTTP/2 cannot take one back.
    if (this.#hasMessage) response.addTrailers({})
    this.setStatus(this.#statusBefore, '')
  }
}
