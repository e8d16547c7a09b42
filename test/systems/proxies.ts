/** What may stand between a follower and a log over HTTP: a way that drops connections, and a cache. */
import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer, request as requestOf } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A server that passes on. */
export interface Proxy {
  readonly url: string
  close(): Promise<void>
}

/** Closes connections by chance: before the request has passed, or in the middle of the answer. */
export interface DroppingProxy extends Proxy {
  /** How many it has closed. */
  readonly drops: number
}

/** @param random - from 0 to 1, of which a connection of less than 0.3 is dropped */
export async function droppingProxy(target: string, random: () => number): Promise<DroppingProxy> {
  const { hostname: host, port } = new URL(target)
  const sockets = new Set<Socket>()
  let drops = 0
  const server = createServer((near) => {
    const far = connect({ host, port: Number(port) })
    const closeBoth = (): void => {
      near.destroy()
      far.destroy()
    }
    const drop = (): void => {
      drops += 1
      closeBoth()
    }
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', closeBoth)
      socket.on('close', () => {
        sockets.delete(socket)
        closeBoth()
      })
    }
    near.on('data', (data) => (random() < 0.15 ? drop() : far.write(data)))
    far.on('data', (data) => {
      if (random() >= 0.15) near.write(data)
      else near.write(data.subarray(0, Math.floor(data.length * random())), drop)
    })
  })
  return {
    url: await listening(server),
    get drops() {
      return drops
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Keeps what may be kept by all, for good. */
export interface CachingProxy extends Proxy {
  /** The paths that were asked for there, in order. */
  readonly passedOn: readonly string[]
}

export async function cachingProxy(target: string): Promise<CachingProxy> {
  const kept = new Map<string, string>()
  const passedOn: string[] = []
  const server: HttpServer = createHttpServer((request, response) => {
    const path = request.url ?? ''
    const known = kept.get(path)
    if (known !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json', age: '1' }).end(known)
      return
    }
    passedOn.push(path)
    const { host: _, connection: __, ...headers } = request.headers
    const further = requestOf(`${target}${path}`, { headers }, (answer) => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (data) => (body += data))
      answer.on('end', () => {
        const control = answer.headers['cache-control'] ?? ''
        if (answer.statusCode === 200 && /public.*immutable/.test(control)) kept.set(path, body)
        response.writeHead(answer.statusCode ?? 502, { 'cache-control': control }).end(body)
      })
    })
    further.on('error', () => response.destroy())
    response.on('close', () => further.destroy())
    further.end()
  })
  return {
    url: await listening(server),
    passedOn,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
