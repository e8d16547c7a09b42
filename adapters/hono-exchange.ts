/** One request of Hono: its answer is a value, so a response that nobody sends stands in for that of Node until the transactions have ended. */
import { EventEmitter } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'hono'
import { routePath } from 'hono/route'
import { ProgrammingError } from '../src/index.js'
import type { RecordedResponse } from '../src/recorders.js'
import type { Exchange, ServedRequest } from './http.js'
import { replayedHeader } from './idempotency.js'
import { fingerprintOf } from './stored-answer.js'
import { positionHeader } from './up-to-date.js'

const key: unique symbol = Symbol('exchange')

interface WithExchange {
  [key]?: HonoExchange
}

/** The exchange that an outer middleware has made for this request. */
export function exchangeOf(context: Context): HonoExchange | undefined {
  // Nobody else has the key.
  return (context as WithExchange)[key]
}

/** A request, and what becomes of its answer. */
export class HonoExchange implements Exchange<Context> {
  // What a `Response` was made of cannot be told, so the option `stream: 'refuse'` is refused.
  readonly streamsByWriting = false
  readonly request: Context
  readonly response: StandIn
  /** Resolves when the answer may leave; rejects with the error to answer instead. */
  readonly outcome: Promise<void>
  /** What was answered under the idempotency key of the request. */
  replayed: Response | undefined
  readonly #outgoing: ServerResponse | undefined
  #served: ReadonlyArray<ServedRequest<Context>> = []
  #fail!: (error: Error) => void
  /** What the handler has set. Those before the first use of the database are known by this alone. */
  readonly #names = new Set<string>()
  #headersBefore: Headers | undefined
  #body: unknown

  constructor(context: Context) {
    this.request = context
    this.#outgoing = outgoingOf(context)
    this.response = new StandIn(context, this.#outgoing)
    this.outcome = new Promise((resolve, reject) => {
      this.response.release = resolve
      this.#fail = reject
    })
    // Nobody waits for it where a handler fails by itself.
    this.outcome.catch(() => undefined)
    this.#noteHeaders()
    ;(context as WithExchange)[key] = this
  }

  get label(): string {
    return `${this.request.req.method} ${routePath(this.request)}`
  }

  get served(): ReadonlyArray<ServedRequest<Context>> {
    return this.#served.filter(({ hasGivenWay }) => !hasGivenWay)
  }

  addServed(served: ServedRequest<Context>): void {
    this.#served = [...this.served, served]
  }

  /** What is written past Hono, by `c.env.outgoing`, could not be held any more. */
  begun(): void {
    if (this.#headersBefore !== undefined) return
    this.#headersBefore = new Headers(this.request.res.headers)
    for (const name of this.#names) this.#headersBefore.delete(name)
    for (const method of sending) if (this.#outgoing !== undefined) this.#outgoing[method] = refuseToSend
  }

  /** Hono is about to send the answer. */
  over(): void {
    for (const method of sending) Reflect.deleteProperty(this.#outgoing ?? {}, method)
    if (!this.response.shouldKeepAlive && this.#outgoing !== undefined) this.#outgoing.shouldKeepAlive = false
    this.response.isOver = true
  }

  fail(error: Error): boolean {
    this.#fail(error)
    return true
  }

  replay({ status, headers, body }: RecordedResponse): void {
    const given = new Headers([[replayedHeader, 'true']])
    for (const [name, value] of Object.entries(headers)) for (const each of [value].flat()) given.append(name, each)
    this.replayed = new Response(body.byteLength === 0 ? null : body.slice(), { status, headers: given })
  }

  /** Takes back the status and the headers that were set since the middleware. */
  drop(): void {
    const context = this.request
    const before = this.#headersBefore
    if (before === undefined) return
    // Hono gives a new response those that were set before there was one.
    const names = new Set([...this.#names, ...context.res.headers.keys(), 'set-cookie'])
    Object.assign(context, { res: undefined })
    context.finalized = false
    for (const name of names) context.header(name, undefined)
    for (const [name, value] of before) if (name !== 'set-cookie') context.header(name, value)
    for (const cookie of before.getSetCookie()) context.header('set-cookie', cookie, { append: true })
    context.status(200)
    // Hono gives those of the response that is there to the one that takes its place.
    void context.res
  }

  /** Lets the transactions end as the answer says. @param isWhole - whether they ask for its body */
  async offer(answer: Response, isWhole: boolean): Promise<void> {
    const { response, request: context } = this
    response.statusCode = answer.status
    for (const [name, value] of answer.headers) if (name !== 'set-cookie') response.setHeader(name, value)
    const cookies = answer.headers.getSetCookie()
    if (cookies.length > 0) response.setHeader('set-cookie', cookies)
    response.released = () => {
      const position = response.getHeader(positionHeader)
      if (position !== undefined) context.header(positionHeader, String(position))
      const added = [response.getHeader('set-cookie') ?? []].flat().map(String).slice(cookies.length)
      for (const cookie of added) context.header('set-cookie', cookie, { append: true })
    }
    if (isWhole && answer.body !== null) await this.#offerBody(answer, answer.body)
    else response.end()
  }

  /** Reads the body as long as it is waited for; what was read is sent before the rest. */
  async #offerBody(answer: Response, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader()
    const response: ServerResponse = this.response
    const read: Uint8Array[] = []
    let pending = reader.read()
    try {
      for (;;) {
        // A transaction may end before that: the body is longer than what is waited for.
        const last = await Promise.race([pending, this.outcome])
        if (last === undefined) {
          this.#answerWith(answer, rest(read, pending, reader))
          return
        }
        if (last.done) break
        read.push(last.value)
        response.write(last.value)
        pending = reader.read()
      }
    } catch (error) {
      void reader.cancel(error).catch(nothing)
      throw error
    }
    this.#answerWith(answer, Buffer.concat(read))
    response.end()
  }

  #answerWith(answer: Response, body: ConstructorParameters<typeof Response>[0]): void {
    Object.assign(this.request, { res: undefined })
    this.request.res = new Response(body, answer)
  }

  /** Reads the body of the request, which tells one from another under the same idempotency key; Hono keeps it for the handler. */
  async readBody(): Promise<void> {
    const { req } = this.request
    const isRead = req.raw.bodyUsed && Object.keys(req.bodyCache).length === 0
    if (isRead || /^\s*multipart\//i.test(req.header('content-type') ?? '')) return
    const text = await req.text()
    try {
      this.#body = JSON.parse(text)
    } catch {
      this.#body = text
    }
  }

  /** As the other frameworks make it of what their parsers have read. */
  fingerprint(): Uint8Array {
    const { method, url, headers } = this.response.req
    return fingerprintOf({ body: this.#body }, { method, url, headers, readableDidRead: true } as IncomingMessage)
  }

  #noteHeaders(): void {
    const context = this.request
    const { header } = context
    context.header = (name, ...rest) => {
      this.#names.add(name.toLowerCase())
      header(name, ...rest)
    }
  }
}

/** What was read of a body, and what is still to come of it. */
function rest(
  read: readonly Uint8Array[],
  pending: ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): ReadableStream<Uint8Array> {
  let next = pending
  return new ReadableStream({
    start(controller) {
      for (const chunk of read) controller.enqueue(chunk)
    },
    async pull(controller) {
      const { done, value } = await next
      if (done) {
        controller.close()
        return
      }
      controller.enqueue(value)
      next = reader.read()
    },
    cancel: async (reason) => await reader.cancel(reason),
  })
}

const sending = ['writeHead', 'write', 'end', 'flushHeaders'] as const

function refuseToSend(): never {
  throw new ProgrammingError(
    'Could not hold the response for its transaction: it is written past Hono, by `c.env.outgoing`. Return a `Response`, or let the route ' +
      'have no transaction: transactions(datastore, false).',
  )
}

/** Where Hono runs on Node's server. */
function outgoingOf({ env }: Context): ServerResponse | undefined {
  const outgoing: unknown = typeof env === 'object' && env !== null && 'outgoing' in env ? env.outgoing : undefined
  return outgoing instanceof EventEmitter ? (outgoing as ServerResponse) : undefined
}

/** The response that the transactions hold; when they let it go, that of Hono leaves. */
class StandIn extends ServerResponse {
  release: () => void = nothing
  /** What is to be done with the answer before it leaves. */
  released: () => void = nothing
  isOver = false

  constructor(context: Context, outgoing: ServerResponse | undefined) {
    super(new RequestOfHono(context, outgoing) as unknown as IncomingMessage)
    const { signal } = outgoing === undefined ? context.req.raw : { signal: undefined }
    const close = (): void => void this.emit('close')
    outgoing?.once('close', close)
    signal?.addEventListener('abort', close, { once: true })
    // An answer that was written past Hono is one as well.
    const isGone = (): boolean =>
      this.isOver || signal?.aborted === true || outgoing?.destroyed === true || outgoing?.headersSent === true
    Object.defineProperty(this, 'destroyed', { get: isGone, configurable: true })
  }

  override write(): boolean {
    this.end()
    return true
  }

  override end(): this {
    this.released()
    this.released = nothing
    this.release()
    return this
  }
}

function nothing(): void {}

/** What transactions look at in a request of Node. */
class RequestOfHono extends EventEmitter {
  readonly httpVersionMajor = 1
  readonly httpVersionMinor = 1
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly socket: unknown
  readonly #context: Context

  constructor(context: Context, outgoing: ServerResponse | undefined) {
    super()
    const { method, url } = context.req
    this.method = method
    this.url = url.slice(new URL(url).origin.length)
    this.headers = outgoing?.req.headers ?? context.req.header()
    this.socket = outgoing?.req.socket
    this.#context = context
  }

  /** Whether the body was read in a way that it cannot be read again. */
  get readableDidRead(): boolean {
    const { raw, bodyCache } = this.#context.req
    return raw.bodyUsed && Object.keys(bodyCache).length === 0
  }
}
