/** A server on a free port of this machine, and requests whose bytes are looked at. */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'

export interface Listening {
  readonly port: number
  readonly url: string
  close(): Promise<void>
}

/** Starts a server; with an Express app, say. */
export async function listen(listener: RequestListener): Promise<Listening> {
  const server: Server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server listens on no port')
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Sends a POST without a body on a socket of its own. */
export async function postRaw(port: number, path: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n`)
  return socket
}

/** A promise, and the function that resolves it. */
export class Signal {
  readonly give: () => void
  readonly given: Promise<void>

  constructor() {
    let give: (() => void) | undefined
    this.given = new Promise<void>((resolve) => {
      give = resolve
    })
    this.give = () => give?.()
  }
}
