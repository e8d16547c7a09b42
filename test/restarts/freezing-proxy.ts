/** A way to a server on which connections freeze: they stay open, and nothing passes any more. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Passes on what both sides say, until a text freezes a connection. */
export class FreezingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #marker: string | undefined
  #frozen = 0

  private constructor(server: Server) {
    this.#server = server
  }

  /** Listens on a port of its own, in front of the server of a URL. */
  static async before(target: string, defaultPort: number): Promise<FreezingProxy> {
    const { hostname: host, port } = new URL(target)
    const server = createServer()
    const proxy = new FreezingProxy(server)
    server.on('connection', (near) => proxy.#join(near, connect({ host, port: Number(port || defaultPort) })))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  /** How many connections were frozen. */
  get frozen(): number {
    return this.#frozen
  }

  /** The URL with this way to the server. */
  urlOf(target: string): string {
    const url = new URL(target)
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
    url.hostname = '127.0.0.1'
    url.port = `${address.port}`
    return url.href
  }

  /** From now on each connection freezes on which this text is sent, before it arrives; undefined for no more of them. */
  freezeAt(marker: string | undefined): void {
    this.#marker = marker
  }

  /** Refuses new connections, and closes all that there are. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #join(near: Socket, far: Socket): void {
    let isFrozen = false
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket)
      // Or each small part of what is passed on waits for some 40 ms, until what came before is acknowledged.
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    near.on('data', (data) => {
      if (!isFrozen && this.#marker !== undefined && data.includes(this.#marker)) {
        isFrozen = true
        this.#frozen += 1
      }
      if (!isFrozen) far.write(data)
    })
    far.on('data', (data) => {
      if (!isFrozen) near.write(data)
    })
  }
}
