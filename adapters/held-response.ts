/** Holds what a handler sends until the transaction has ended: status line, headers and body leave after that, or never. */
import type { ServerResponse } from 'node:http'
import { assertChunk, assertHead, headersSentError } from './sendable.js'

/** Who decides about a response; with two datastores there are two, who are asked one after the other. */
export interface ResponseOwner {
  /** Is asked at the first call that would send something. The response leaves when all have resolved and is dropped when one rejects. */
  settle(status: number, isStream: boolean): Promise<void>
  /** The response was dropped: another one is to be sent. */
  dropped(error: unknown): void
}

type Method = (...args: unknown[]) => unknown
type Sending = 'writeHead' | 'write' | 'end' | 'flushHeaders'

const sending: readonly Sending[] = ['writeHead', 'write', 'end', 'flushHeaders']
const ofHeaders = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader'] as const

interface HeldCall {
  readonly method: Sending
  readonly args: readonly unknown[]
}

/** Something that is piped into the response. */
interface Source {
  unpipe(destination: unknown): unknown
}

const known = new WeakMap<ServerResponse, HeldResponse>()

/** Stands before the methods of a response that send something. Works for HTTP/1 and for Node's compatible HTTP/2 responses. */
export class HeldResponse {
  readonly #response: ServerResponse
  readonly #owners = new Set<ResponseOwner>()
  readonly #originals = new Map<string, Method>()
  readonly #sources = new Set<Source>()
  readonly #headersBefore: Readonly<Record<string, unknown>>
  readonly #statusBefore: number
  /** HTTP/2 has no status messages, and Node warns whoever looks at one. */
  readonly #hasMessage: boolean
  #state: 'open' | 'holding' | 'passing' | 'over' = 'open'
  #calls: HeldCall[] = []
  #hasHead = false
  #hasEnded = false
  #wasDropped = false
  #mustDrain = false
  /** Changes when a response is dropped, so that who still writes it cannot write into the next one. */
  #turn = 0

  private constructor(response: ServerResponse) {
    this.#response = response
    this.#headersBefore = { ...response.getHeaders() }
    this.#statusBefore = response.statusCode
    this.#hasMessage = response.req.httpVersionMajor !== 2
    for (const name of [...sending, ...ofHeaders]) {
      const original: unknown = Reflect.get(response, name)
      // What the response has under these names are methods; `setHeaders` only since Node 18.15, and not in HTTP/2.
      if (typeof original === 'function') this.#originals.set(name, original as Method)
    }
    this.#intercept()
    this.#show('headersSent', () => this.#state === 'over' || this.#hasHead)
    this.#show('writableEnded', () => this.#state === 'over' || this.#hasEnded)
    response.on('pipe', (source: Source) => this.#sources.add(source))
  }

  /** Lets an owner decide about a response. */
  static hold(response: ServerResponse, owner: ResponseOwner): HeldResponse {
    const held = known.get(response) ?? new HeldResponse(response)
    known.set(response, held)
    held.#owners.add(owner)
    return held
  }

  /** The owner decides no more. */
  leave(owner: ResponseOwner): void {
    this.#owners.delete(owner)
  }

  /** Whether nobody has asked yet to send anything. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Whether the answer in place of a dropped response is complete: what is sent now is lost. */
  get isOver(): boolean {
    return this.#state === 'over'
  }

  /** Forgets what was sent so far, and takes back the status and the headers that were set since the beginning. */
  drop(): void {
    const response = this.#response
    this.#turn += 1
    this.#calls = []
    this.#state = 'open'
    this.#hasHead = this.#hasEnded = this.#mustDrain = false
    this.#wasDropped = true
    // From here on the methods are ours alone: what others have put around them was for the response that is gone.
    this.#intercept()
    for (const source of this.#sources) source.unpipe(response)
    this.#sources.clear()
    for (const name of response.getHeaderNames()) if (!(name in this.#headersBefore)) response.removeHeader(name)
    for (const [name, value] of Object.entries(this.#headersBefore)) {
      // They come from `getHeaders`.
      if (response.getHeader(name) !== value) response.setHeader(name, value as string)
    }
    this.#setStatus(this.#statusBefore, '')
  }

  /** Answers past everybody else, where the framework cannot. */
  answer(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    if (!this.isOpen) this.drop()
    const response = this.#response
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    this.#setStatus(status, '')
    this.#state = 'passing'
    response.end(body)
    this.#state = 'over'
  }

  #intercept(): void {
    const turn = this.#turn
    for (const name of sending) this.#put(name, (...args) => this.#send(name, turn, args))
    for (const name of ofHeaders) {
      if (this.#originals.has(name)) this.#put(name, (...args) => this.#changeHeaders(name, args))
    }
  }

  #put(name: string, value: Method): void {
    Object.defineProperty(this.#response, name, { value, configurable: true, enumerable: false, writable: true })
  }

  #send(method: Sending, turn: number, args: unknown[]): unknown {
    if (turn !== this.#turn || this.#state === 'over') return method === 'write' ? true : this.#response
    if (this.#state !== 'passing') return this.#hold(method, args)
    const result = this.#call(method, args)
    // Who still works on a response that was dropped must not disturb the one that was sent in its place.
    if (method === 'end' && this.#wasDropped) this.#state = 'over'
    return result
  }

  #hold(method: Sending, args: unknown[]): unknown {
    // A second end is nothing to wait for, as in Node; neither is what comes after it.
    if (this.#hasEnded) return method === 'write' ? false : this.#response
    if (method === 'writeHead') return this.#holdHead(args)
    assertChunk(method, args[0])
    if (!this.#hasHead) assertHead([this.#response.statusCode])
    this.#calls.push({ method, args })
    this.#hasEnded = method === 'end'
    if (method === 'write') this.#mustDrain = true
    if (this.#state === 'open') this.#settle(method !== 'end')
    // Who writes is to wait for `drain`: a large body is not to be kept in memory.
    return method === 'write' ? false : this.#response
  }

  /** Nothing leaves by this alone. */
  #holdHead(args: unknown[]): unknown {
    const [status] = args
    if (this.#hasHead) {
      // Middlewares that change bodies ask for the implicit head again and again.
      if (args.length === 1) return this.#response
      throw headersSentError('write')
    }
    assertHead(args)
    this.#calls.push({ method: 'writeHead', args })
    this.#hasHead = true
    this.#response.statusCode = Number(status)
    return this.#response
  }

  #settle(isStream: boolean): void {
    const { statusCode } = this.#response
    const statusMessage = this.#hasMessage ? this.#response.statusMessage : ''
    const turn = this.#turn
    this.#state = 'holding'
    this.#hasHead = true
    void this.#releaseOrDrop(turn, statusCode, statusMessage, isStream)
  }

  async #releaseOrDrop(turn: number, status: number, message: string, isStream: boolean): Promise<void> {
    const failure = await this.#askOwners(status, isStream)
    // Dropped meanwhile, and perhaps another response is under way.
    if (turn !== this.#turn) return
    if (failure === undefined) return this.#release(status, message)
    this.drop()
    failure.owner.dropped(failure.error)
  }

  /** The last one first, as they were begun inside one another. */
  async #askOwners(status: number, isStream: boolean): Promise<{ owner: ResponseOwner; error: unknown } | undefined> {
    for (const owner of [...this.#owners].toReversed()) {
      try {
        await owner.settle(status, isStream)
      } catch (error) {
        return { owner, error }
      }
    }
    return undefined
  }

  #release(status: number, message: string): void {
    const calls = this.#calls
    this.#calls = []
    this.#hasHead = this.#hasEnded = false
    this.#state = 'passing'
    // Whoever has set another status since then was too late.
    this.#setStatus(status, message)
    let isFull = false
    try {
      for (const { method, args } of calls) isFull = this.#send(method, this.#turn, [...args]) === false
    } catch (error) {
      process.emitWarning(`A response could not be sent after its transaction had been committed. ${String(error)}`)
      this.#response.destroy()
    }
    if (this.#mustDrain && !isFull) this.#response.emit('drain')
  }

  #changeHeaders(method: (typeof ofHeaders)[number], args: unknown[]): unknown {
    if (this.#state === 'over') return this.#response
    if (this.#hasHead) throw headersSentError(method === 'removeHeader' ? 'remove' : 'set')
    return this.#call(method, args)
  }

  #call(method: Sending | (typeof ofHeaders)[number], args: readonly unknown[]): unknown {
    const original = this.#originals.get(method)
    return original === undefined ? undefined : Reflect.apply(original, this.#response, args)
  }

  #setStatus(status: number, message: string): void {
    this.#response.statusCode = status
    if (this.#hasMessage) this.#response.statusMessage = message
  }

  /** What is held counts as sent for those who look before they send something else. */
  #show(name: 'headersSent' | 'writableEnded', isHeld: () => boolean): void {
    const response = this.#response
    const prototype: object = Object.getPrototypeOf(response)
    const get = (): unknown => isHeld() || Reflect.get(prototype, name, response)
    Object.defineProperty(response, name, { get, configurable: true, enumerable: false })
  }
}
