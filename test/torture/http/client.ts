/** Sends the requests of a torture over sockets, each as its kind says, and tells what came back. */
import { once } from 'node:events'
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { PlannedRequest } from './kinds.js'
import { inFlight } from './plan.js'

/** What a client knows in the end. */
export interface Outcome {
  readonly request: PlannedRequest
  /** Undefined when no answer came. */
  readonly status: number | undefined
  /** Whether neither an answer nor the end of the connection came in time. */
  readonly isHung: boolean
  /** How long it took until the answer was read, or the connection was gone. */
  readonly ms: number
}

/** A request may wait for a connection for 20 s, has a deadline of 5 s then, and is answered within a second after it; and the machine may be busy. */
const longestWaitMs = 20_000 + 5_000 + 1_000 + 4_000
const longestStayMs = 25
const headers = { 'content-type': 'application/json' }

/** The clients of one server. */
export class TortureClients {
  readonly #port: number
  /** Gives up connections that are not used for 3 s: a server of Node closes them after 5, perhaps when a request is on its way. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 2 * inFlight, timeout: 3_000 })

  constructor(port: number) {
    this.#port = port
  }

  /**
   * Sends one request.
   *
   * @param onHead - called when the head of the answer is there, before more is read
   */
  async send(request: PlannedRequest, onHead: (status: number) => Promise<void>): Promise<Outcome> {
    const { sending } = request.kind
    const timeout = new AbortController()
    const timer = setTimeout(() => timeout.abort(), longestWaitMs)
    const start = performance.now()
    try {
      const status =
        sending === 'pipelined' || sending === 'garbage'
          ? await this.#onSocket(request, timeout.signal)
          : await this.#exchange(request, onHead, timeout.signal)
      return { request, status, isHung: timeout.signal.aborted, ms: performance.now() - start }
    } finally {
      clearTimeout(timer)
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  async #exchange(
    request: PlannedRequest,
    onHead: (status: number) => Promise<void>,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    let status: number | undefined
    try {
      const sent = this.#start(request, signal)
      const response = await answerTo(sent)
      status = response.statusCode
      if (status !== undefined) await onHead(status)
      await read(response, request)
    } catch {
      // The connection is gone, by this side or the other: what is known is known.
    }
    return status
  }

  #start({ name, kind, chance }: PlannedRequest, signal: AbortSignal): ClientRequest {
    const { path, sending } = kind
    const sent = httpRequest({
      port: this.#port,
      host: '127.0.0.1',
      path,
      method: 'POST',
      // Without an agent the connection is this request's own.
      agent: kind.closes ? false : this.#agent,
      headers,
      signal,
    })
    const body = JSON.stringify({ name, chance, ...(sending === 'oversized' ? { more: 'x'.repeat(2_000_000) } : {}) })
    const isCutOff = sending === 'invalid' || sending === 'half'
    const part = isCutOff ? body.slice(0, Math.ceil(chance * (body.length - 1))) : body
    sent.setHeader('content-length', sending === 'half' ? body.length : part.length)
    if (sending === 'half') sent.write(part)
    else sent.end(part)
    if (sending === 'half' || sending === 'abort') setTimeout(() => sent.destroy(), chance * longestStayMs)
    return sent
  }

  /** @returns the status of the first answer */
  async #onSocket({ name, kind, chance }: PlannedRequest, signal: AbortSignal): Promise<number | undefined> {
    const socket = connect(this.#port, '127.0.0.1')
    const giveUp = (): unknown => socket.destroy()
    signal.addEventListener('abort', giveUp, { once: true })
    let text = ''
    socket.setEncoding('utf8').on('data', (part) => (text += String(part)))
    socket.on('error', () => undefined)
    if (kind.sending === 'garbage') socket.write(`SING ${name}\r\n\r\n`)
    else {
      socket.write(rawPost(kind.path, { name, chance }, 'keep-alive'))
      socket.write(rawPost('/refuses', { name: `${name} second`, chance }, 'close'))
    }
    await once(socket, 'close')
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
    // Both are answered, in their order, or the first one counts as something that it must not be.
    return kind.sending === 'garbage' || statuses[1] === 422 ? statuses[0] : 0
  }
}

function rawPost(path: string, body: object, connection: string): string {
  const text = JSON.stringify(body)
  const head = ['host: localhost', 'content-type: application/json', `content-length: ${text.length}`]
  return `POST ${path} HTTP/1.1\r\n${[...head, `connection: ${connection}`].join('\r\n')}\r\n\r\n${text}`
}

async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    sent.once('response', resolve)
    // Stays there: a connection that breaks while the answer is read says so here as well.
    sent.on('error', reject)
    sent.once('close', () => reject(new Error('closed')))
  })
}

async function read(response: IncomingMessage, { kind, chance }: PlannedRequest): Promise<void> {
  for await (const _part of response) {
    if (kind.sending === 'cut') response.destroy()
    if (kind.sending === 'slow') await delay(chance * 4)
  }
}
