/** What lies between the requests: connections that are used again, pipelined requests, upgrades, server-sent events, and where the middleware stands. */
import { Agent, createServer, type IncomingMessage, request, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import fastifyWebsocket from '@fastify/websocket'
import express5 from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import supertest from 'supertest'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { ConcurrencyError } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, databases } from '../support/databases.js'
import { listen, Signal } from './listening.js'
import { type Exchange, frameworks, passingErrors, type Route, type RunningServer } from './servers.js'

const conflict = () => new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  beforeEach(async () => {
    await open.clear()
  })
  afterAll(async () => {
    // Waits for every transaction, so that one that was never ended fails here.
    await open.close()
  })
  const save = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  const isOutside = (): boolean => open.datastore.tryCurrentTransaction === undefined

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer | undefined
    afterEach(async () => await server?.close())
    const serve = async (...routes: Route[]): Promise<RunningServer> => {
      server = await framework.start(open.datastore, routes)
      return server
    }
    const route = (path: string, handle: (exchange: Exchange) => Promise<void>): Route => ({
      method: 'POST',
      path,
      handle,
    })
    const endings: readonly Route[] = [
      route('/made', async ({ send }) => {
        await save('made')
        await delay(20)
        send(201, 'made')
      }),
      route('/thrown', async () => {
        await save('thrown')
        throw new Error('no')
      }),
      route('/conflict', async () => {
        await save('conflict')
        throw conflict()
      }),
      route('/refused', async ({ send }) => {
        await save('refused')
        send(422, 'no')
      }),
      route('/empty', async ({ send }) => {
        await save('empty')
        send(204)
      }),
    ]
    const statuses = [201, 500, 409, 422, 204]

    it('answers pipelined requests in their order, each after its own commit', async () => {
      const { port } = await serve(...endings)
      const socket = connect(port, '127.0.0.1')
      const heads = endings.map(({ path }) => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n`)
      socket.write(heads.map((head, n) => `${head}${n === 4 ? 'connection: close\r\n' : ''}\r\n`).join(''))
      const text = String(await buffer(socket))
      expect([...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status))).toEqual(statuses)
      expect(await open.dogs()).toEqual(['empty', 'made'])
    })

    it('leaves a connection as it was, however a request on it has ended', async () => {
      const { port } = await serve(...endings)
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      const ports = new Set<number | undefined>()
      const seen: Array<number | undefined> = []
      for (const { path } of endings) {
        const response = await new Promise<IncomingMessage>((resolve, reject) => {
          request({ agent, port, path, method: 'POST' }, resolve).on('error', reject).end()
        })
        ports.add(response.socket.localPort)
        seen.push(response.statusCode)
        await buffer(response)
      }
      agent.destroy()
      expect(seen).toEqual(statuses)
      expect(ports.size).toBe(1)
      expect(await open.dogs()).toEqual(['empty', 'made'])
    })

    it('lets a route of server-sent events use the database as long as it lasts, with a transaction for each', async ({
      skip,
    }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      let read = new Signal()
      const { url } = await serve({
        method: 'GET',
        path: '/events',
        transaction: false,
        async handle({ raw }) {
          expect(isOutside()).toBe(true)
          const response = raw()
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          for (const dog of ['Fido', 'Rex']) {
            await open.datastore.transaction(async () => await save(dog))
            read = new Signal()
            response.write(`data: ${dog}\n\n`)
            await read.given
          }
          response.end()
        },
      })
      const response = await fetch(`${url}/events`)
      const seen: Array<[string, string[]]> = []
      for await (const part of response.body ?? []) {
        seen.push([Buffer.from(part).toString(), await open.dogs()])
        read.give()
      }
      expect(seen).toEqual([
        ['data: Fido\n\n', ['Fido']],
        ['data: Rex\n\n', ['Fido', 'Rex']],
      ])
    })
  })

  describe('Fastify 5', () => {
    it('gives a WebSocket no transaction: what it does is stored at once', async () => {
      const server = Fastify()
      await server.register(fastifyWebsocket)
      await server.register(fastifyAdapter.transactions, { datastore: open.datastore })
      const seen: unknown[] = []
      server.get('/socket', { websocket: true }, (socket) => {
        seen.push(isOutside())
        socket.on('message', (message: Buffer) => {
          seen.push(isOutside())
          save(message.toString()).then(
            () => socket.send('stored'),
            () => socket.close(),
          )
        })
      })
      await server.ready()
      const socket = await server.injectWS('/socket')
      const answer = new Promise((resolve) => socket.once('message', (message: Buffer) => resolve(message.toString())))
      socket.send('Fido')
      expect(await answer).toBe('stored')
      expect(seen).toEqual([true, true])
      expect(await open.dogs()).toEqual(['Fido'])
      socket.terminate()
      await server.close()
    })

    it('gives transactions to the plugin that it is registered in, and to those inside', async () => {
      const server = Fastify()
      const fails = async () => {
        await save('failed')
        throw new Error('no')
      }
      await server.register(
        async (school) => {
          await school.register(fastifyAdapter.transactions, { datastore: open.datastore })
          school.post('/dogs', fails)
          await school.register(async (deeper) => void deeper.post('/deeper', fails), { prefix: '/far' })
        },
        { prefix: '/school' },
      )
      server.post('/outside', fails)
      const answers: Array<[number, string[]]> = []
      for (const url of ['/school/dogs', '/school/far/deeper', '/outside']) {
        const { statusCode } = await server.inject({ method: 'POST', url })
        answers.push([statusCode, await open.dogs()])
      }
      expect(answers).toEqual([
        [500, []],
        [500, []],
        [500, ['failed']],
      ])
      await server.close()
    })
  })

  describe.each([
    { name: 'Express 5', express: express5 },
    { name: 'Express 4', express: express4 },
  ])('$name', ({ express }) => {
    it('gives a WebSocket no transaction: what it does is stored at once', async () => {
      const app = express()
      app.use(transactions(open.datastore))
      const seen: boolean[] = []
      app.get('/socket', (request) => {
        seen.push(isOutside())
        request.socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')
      })
      const server = createServer(app)
      // As express-ws does it.
      server.on('upgrade', (request, socket) =>
        app(Object.assign(request, { ws: socket }), new ServerResponse(request)),
      )
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const socket = connect((server.address() as { port: number }).port, '127.0.0.1')
      socket.write('GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
      expect(String(await buffer(socket))).toContain('101')
      expect(seen).toEqual([true])
      await new Promise((resolve) => server.close(resolve))
    })

    it('gives a transaction to a request that only says that it wants to be a WebSocket', async () => {
      const app = express().set('env', 'test')
      app.use(transactions(open.datastore))
      app.post('/dogs', (_request, response, next) => {
        save('failed').then(() => response.status(422).end(), next)
      })
      const server = await listen(app)
      const socket = connect(server.port, '127.0.0.1')
      socket.write('POST /dogs HTTP/1.1\r\nhost: x\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\r\n')
      expect(String(await buffer(socket))).toContain('422')
      expect(await open.dogs()).toEqual([])
      await server.close()
    })

    it('gives transactions to the router that uses it, and to those inside', async () => {
      const app = express().set('env', 'test')
      const fails = passingErrors(async () => {
        await save('failed')
        throw new Error('no')
      })
      const [school, deeper] = [express.Router(), express.Router()]
      school.use(transactions(open.datastore))
      school.post('/dogs', fails)
      deeper.post('/deeper', fails)
      school.use('/far', deeper)
      app.use('/school', school)
      app.post('/outside', fails)
      app.use(problemDetails())
      const answers: Array<[number, string[]]> = []
      for (const url of ['/school/dogs', '/school/far/deeper', '/outside']) {
        const { status } = await supertest(app).post(url)
        answers.push([status, await open.dogs()])
      }
      expect(answers).toEqual([
        [500, []],
        [500, []],
        [500, ['failed']],
      ])
    })
  })
})
