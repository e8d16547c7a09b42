/** A request over a socket of its own, with a look at the database when the first byte of the answer arrives. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import type { Answer } from './answers.js'

export interface Observed<Seen> {
  /** What the observer saw when the first byte had arrived. */
  readonly seen: Seen
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Without its encoding. */
  readonly body: string
}

/**
 * Sends the request.
 *
 * @param look - at the database, on a connection of its own
 */
export async function observe<Seen>(
  url: string,
  { method = 'POST', headers = {}, payload }: Pick<Answer, 'method' | 'headers' | 'payload'>,
  look: () => Promise<Seen>,
): Promise<Observed<Seen>> {
  let seen: Promise<Seen> | undefined
  const lookOnce = (socket: Socket | null): void => {
    socket?.once('data', () => {
      seen = look()
    })
  }
  const waits = headers['expect'] !== undefined
  const sent = request(url, {
    method,
    headers: { ...headers, ...(payload === undefined ? {} : { 'content-length': Buffer.byteLength(payload) }) },
    createConnection() {
      const { hostname, port } = new URL(url)
      const socket = connect(Number(port), hostname)
      if (!waits) lookOnce(socket)
      return socket
    },
  })
  if (waits) {
    // What comes first says no more than that the body may be sent.
    sent.once('continue', () => {
      lookOnce(sent.socket)
      sent.end(payload)
    })
    sent.flushHeaders()
  } else sent.end(payload)
  const [response] = await once(sent, 'response')
  const bytes = await buffer(response)
  if (seen === undefined) throw new Error('no byte has arrived')
  const body = response.headers['content-encoding'] === 'gzip' && bytes.length > 0 ? gunzipSync(bytes) : bytes
  return { seen: await seen, status: response.statusCode, headers: response.headers, body: String(body) }
}
