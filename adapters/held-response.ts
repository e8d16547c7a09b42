/** Holds what a handler sends until the transaction has ended: status line, headers and body leave after the commit, or never. */
import type { ServerResponse } from 'node:http'

type Method = 'writeHead' | 'write' | 'end' | 'flushHeaders'

interface HeldCall {
  readonly method: Method
  readonly args: readonly unknown[]
}

/** Holds, then either releases everything in order or drops it. */
export class HeldResponse {
  readonly #response: ServerResponse
  readonly #onFirst: (status: number) => void
  readonly #headersBefore: ReturnType<ServerResponse['getHeaders']>
  readonly #statusBefore: number
  #statusHeld = 0
  #isEnded = false
  #held: HeldCall[] = []
  #state: 'open' | 'holding' | 'passing' | 'over' = 'open'

  /** @param onFirst - called with the status at the first call that would send something */
  constructor(response: ServerResponse, onFirst: (status: number) => void) {
    this.#response = response
    this.#onFirst = onFirst
    this.#headersBefore = { ...response.getHeaders() }
    this.#statusBefore = response.statusCode
    for (const method of ['writeHead', 'write', 'end', 'flushHeaders'] as const) this.#intercept(method)
    for (const method of ['setHeader', 'appendHeader', 'removeHeader'] as const) this.#guard(method)
    this.#showHeadersSent()
  }

  /** Whether something is waiting to be sent. */
  get isHolding(): boolean {
    return this.#state === 'holding'
  }

  /** Whether nothing of the handler's has been sent or is waiting. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Sends what was held, in order; what comes later goes straight through. */
  release(): void {
    const held = this.#held
    this.#held = []
    this.#state = 'passing'
    if (held.length > 0) this.#response.statusCode = this.#statusHeld
    let mustDrain = false
    let isFull = false
    for (const { method, args } of held) {
      const result: unknown = Reflect.apply(this.#response[method], this.#response, args)
      if (method !== 'write') continue
      mustDrain = true
      isFull = result === false
    }
    // The writer was told to wait, and the socket took everything at once.
    if (mustDrain && !isFull) this.#response.emit('drain')
  }

  /** Forgets what was held, and takes back the status and the headers that the handler has set. */
  drop(): void {
    this.#held = []
    this.#isEnded = false
    this.#state = 'passing'
    const response = this.#response
    for (const name of response.getHeaderNames()) if (!(name in this.#headersBefore)) response.removeHeader(name)
    for (const [name, value] of Object.entries(this.#headersBefore))
      if (value !== undefined) response.setHeader(name, value)
    response.statusCode = this.#statusBefore
    response.statusMessage = ''
  }

  /** From the end of the response on, what a handler still sends is lost, instead of an error that would close the connection. */
  ignoreAfterEnd(): void {
    this.#response.once('finish', () => {
      this.#state = 'over'
    })
  }

  #intercept(method: Method): void {
    const response = this.#response
    const original: unknown = response[method]
    const intercepted = (...args: unknown[]): unknown => {
      switch (this.#state) {
        case 'passing':
          return Reflect.apply(original as (...args: unknown[]) => unknown, response, args)
        case 'over':
          return method === 'write' ? true : response
        default:
          return this.#hold(method, args)
      }
    }
    // The overloads of the four methods cannot be written as one function.
    Object.defineProperty(response, method, { value: intercepted, configurable: true, writable: true })
  }

  #hold(method: Method, args: readonly unknown[]): unknown {
    // After the end there is nothing more to send.
    if (this.#isEnded) return method === 'write' ? false : this.#response
    this.#held.push({ method, args })
    this.#isEnded = method === 'end'
    if (this.#state === 'open') {
      const [status] = args
      this.#state = 'holding'
      this.#statusHeld = method === 'writeHead' && typeof status === 'number' ? status : this.#response.statusCode
      this.#onFirst(this.#statusHeld)
    }
    // Whoever writes is to wait for `drain`, so that a large body is not held in memory.
    return method === 'write' ? false : this.#response
  }

  #guard(method: 'setHeader' | 'appendHeader' | 'removeHeader'): void {
    const response = this.#response
    const original: unknown = response[method]
    const guarded = (...args: unknown[]): unknown => {
      if (this.#state === 'over') return response
      if (this.#state === 'holding') throw headersSentError(method)
      return Reflect.apply(original as (...args: unknown[]) => unknown, response, args)
    }
    Object.defineProperty(response, method, { value: guarded, configurable: true, writable: true })
  }

  /** What is held counts as sent for those who ask before they send something else. */
  #showHeadersSent(): void {
    const response = this.#response
    const prototype: object = Object.getPrototypeOf(response)
    Object.defineProperty(response, 'headersSent', {
      configurable: true,
      get: () => this.#state === 'holding' || Reflect.get(prototype, 'headersSent', response) === true,
    })
  }
}

/** What Node throws when a header is set too late. @see https://nodejs.org/api/errors.html#err_http_headers_sent */
function headersSentError(method: string): Error {
  const error = new Error(`Cannot call ${method} after the response was sent: it waits for the transaction to commit.`)
  return Object.assign(error, { code: 'ERR_HTTP_HEADERS_SENT' })
}
