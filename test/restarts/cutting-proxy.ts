/** A way to a server on which answers get lost: what was asked is carried out, and nobody is told. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Passes on what both sides say, until it is told to lose an answer. */
export class CuttingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #marker: string | undefined
  #losses = 0

  private constructor(server: Server) {
    this.#server = server
  }

  /** Listens on a port of its own, in front of the server of a URL. */
  static async before(target: string, defaultPort: number): Promise<CuttingProxy> {
    const { hostname: host, port } = new URL(target)
    const server = createServer({ pauseOnConnect: false })
    const proxy = new CuttingProxy(server)
    server.on('connection', (near) => proxy.#join(near, connect({ host, port: Number(port || defaultPort) })))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  /** How many answers were lost. */
  get losses(): number {
    return this.#losses
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

  /** Closes the connection on which this text is sent next, as soon as the server has answered, without the answer. */
  loseAnswerTo(marker: string): void {
    this.#marker = marker
  }

  /** Refuses new connections, and closes all that there are. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #join(near: Socket, far: Socket): void {
    let loses = false
    const closeBoth = (): void => {
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      // Or each small part of what is passed on waits for some 40 ms, until what came before is acknowledged.
      socket.setNoDelay(true)
      socket.on('error', closeBoth)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        closeBoth()
      })
    }
    near.on('data', (data) => {
      if (this.#marker !== undefined && data.includes(this.#marker)) {
        this.#marker = undefined
        loses = true
      }
      far.write(data)
    })
    far.on('data', (data) => {
      if (!loses) near.write(data)
      else {
        this.#losses += 1
        closeBoth()
      }
    })
  }
}
