/** What requests get while their server, or their datastore, is closed. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../adapters/fastify.js'
import { frameworks, type Route } from '../http/servers.js'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach, type TestDatabaseKind } from '../support/databases.js'

/** How many connections the database's server has, with those of the observer; 0 where it has no server. */
async function connections(kind: TestDatabaseKind, { database }: OpenDatabase): Promise<number> {
  if (kind.provider === 'sqlite') return 0
  const rows = await database.query(
    kind.provider === 'postgresql'
      ? `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'`
      : `SELECT id FROM information_schema.processlist WHERE db = database()`,
  )
  return rows.length
}

/** A connection on which several requests are sent, and all that comes back. */
class Client {
  readonly socket: Socket
  received = ''

  constructor(url: string) {
    this.socket = connect(Number(new URL(url).port), '127.0.0.1')
    this.socket.on('data', (data) => {
      this.received += String(data)
    })
    this.socket.on('error', () => undefined)
  }

  post(path: string): void {
    this.socket.write(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n`)
  }

  async closed(): Promise<void> {
    if (!this.socket.closed) await once(this.socket, 'close')
  }

  get statuses(): number[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
  }
}

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let before: number
  beforeEach(async () => {
    open = await openDatabase(kind)
    // All that the observer can have.
    await Promise.all([open.dogs(), open.dogs()])
    before = await connections(kind, open)
  })
  afterEach(async () => {
    await open.close()
  })

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }

  describe('a Fastify server that closes its datastore in onClose', () => {
    let server: FastifyInstance
    let order: string[]
    let gate: ReturnType<typeof newGate>
    let stored: ReturnType<typeof newGate>
    beforeEach(async () => {
      order = []
      gate = newGate()
      stored = newGate()
      server = Fastify()
      let idle: NodeJS.Timeout | undefined
      server.addHook('preClose', async () => {
        order.push('preClose')
        idle = setInterval(() => server.server.closeIdleConnections(), 20)
      })
      server.addHook('onClose', async () => {
        clearInterval(idle)
        order.push(`onClose with ${open.datastore.stats.open} open`)
        await open.datastore.close()
      })
      await server.register(transactions, { datastore: open.datastore })
      // Another plugin, whose hook comes before that of the datastore, which was there first.
      server.addHook('onClose', async () => void order.push('onClose of another'))
      server.post<{ Params: { dog: string } }>('/dogs/:dog', async (request, reply) => {
        const { dog } = request.params
        await newOwner(dog)
        if (dog === 'slow4') stored.open()
        if (dog.startsWith('slow')) await gate.opened
        return await reply.code(201).send({})
      })
    })

    it('answers what is under way, refuses what comes later, and leaves no connection', async () => {
      const url = await server.listen({ host: '127.0.0.1', port: 0 })
      // SQLite has one writer, so that one request is enough.
      const numbers = kind.provider === 'sqlite' ? [4] : [1, 2, 3, 4]
      const clients = numbers.map(() => new Client(url))
      clients.forEach((client, index) => client.post(`/dogs/slow${numbers[index]}`))
      await stored.opened
      while (open.datastore.stats.open < numbers.length) await new Promise((resolve) => setTimeout(resolve, 5))
      const closed = server.close()
      while (!order.includes('preClose')) await new Promise((resolve) => setTimeout(resolve, 5))
      const [first] = clients
      first?.post('/dogs/late')
      await expect(fetch(`${url}/dogs/new`, { method: 'POST' })).rejects.toThrow('fetch failed')
      gate.open()
      await Promise.all([closed, ...clients.map((client) => client.closed())])
      expect(first?.statuses).toEqual([201, 503])
      expect(first?.received.toLowerCase()).toContain('connection: close')
      for (const client of clients.slice(1)) expect(client.statuses).toEqual([201])
      expect(order).toEqual(['preClose', 'onClose of another', 'onClose with 0 open'])
      expect(await open.dogs()).toEqual(numbers.map((number) => `slow${number}`))
      // A server takes a moment to forget one that was closed.
      await expect.poll(() => connections(kind, open), { timeout: 20_000 }).toBe(before)
    })
  })

  describe.each(casesOn(kind, frameworks))('behind $name a datastore that is closed', (framework) => {
    it.each([true, false])(
      'lets requests end, and answers later ones with 503, with problem details: %s',
      async (problems) => {
        const [gate, stored] = [newGate(), newGate()]
        const routes: Route[] = [
          {
            method: 'POST',
            path: '/slow',
            async handle({ send }) {
              await newOwner('slow')
              stored.open()
              await gate.opened
              send(201, {})
            },
          },
          {
            method: 'POST',
            path: '/dogs',
            async handle({ send }) {
              await newOwner('late')
              send(201, {})
            },
          },
          {
            method: 'POST',
            path: '/own',
            // Which Express begins again, in place of that of the app.
            transaction: { deadlineMs: 1_000 },
            async handle({ send }) {
              await newOwner('own')
              send(201, {})
            },
          },
        ]
        const server = await framework.start(open.datastore, routes, { problems })
        try {
          const slow = fetch(`${server.url}/slow`, { method: 'POST' })
          await stored.opened
          const closed = open.datastore.close()
          for (const path of ['/dogs', '/own']) {
            const response = await fetch(`${server.url}${path}`, { method: 'POST' })
            expect([response.status, response.headers.get('connection'), response.headers.get('retry-after')]).toEqual([
              503,
              'close',
              expect.stringMatching(/^[1-3]$/),
            ])
            const body = await response.text()
            if (problems) expect(JSON.parse(body)).toMatchObject({ status: 503, code: 'ES_DATASTORE_CLOSED' })
          }
          gate.open()
          expect((await slow).status).toBe(201)
          await closed
          expect(await open.dogs()).toEqual(['slow'])
        } finally {
          gate.open()
          await server.close()
        }
      },
    )

    it('waits for requests that have not used the database yet, up to the limit', async () => {
      const [arrived, gate] = [newGate(), newGate()]
      const waiting: Route = {
        method: 'POST',
        path: '/waiting',
        async handle({ send }) {
          arrived.open()
          await gate.opened
          await newOwner('in time')
          send(201, {})
        },
      }
      const unused: Route = { ...waiting, path: '/unused', handle: async ({ send }) => send(200, {}) }
      const server = await framework.start(open.datastore, [waiting, unused])
      try {
        expect((await fetch(`${server.url}/unused`, { method: 'POST' })).status).toBe(200)
        const answer = fetch(`${server.url}/waiting`, { method: 'POST' })
        await arrived.opened
        let isClosed = false
        const closed = open.datastore.close({ timeoutMs: 20_000 }).then(() => (isClosed = true))
        expect((await fetch(`${server.url}/unused`, { method: 'POST' })).status).toBe(503)
        expect(isClosed).toBe(false)
        gate.open()
        expect((await answer).status).toBe(201)
        await closed
        expect(await open.dogs()).toEqual(['in time'])
      } finally {
        gate.open()
        await server.close()
      }
    })

    it('answers requests that come to use the database after the limit with 503', async () => {
      const [arrived, gate] = [newGate(), newGate()]
      const late: Route = {
        method: 'POST',
        path: '/late',
        async handle({ send }) {
          arrived.open()
          await gate.opened
          await newOwner('too late')
          send(201, {})
        },
      }
      const server = await framework.start(open.datastore, [late])
      try {
        const answer = fetch(`${server.url}/late`, { method: 'POST' })
        await arrived.opened
        await open.datastore.close({ timeoutMs: 20 })
        gate.open()
        expect((await answer).status).toBe(503)
        expect(await open.dogs()).toEqual([])
      } finally {
        gate.open()
        await server.close()
      }
    })

    it('answers requests that are not done at the limit with 503', async () => {
      const stored = newGate()
      let reason: unknown
      const stuck: Route = {
        method: 'POST',
        path: '/stuck',
        async handle({ send }) {
          const { signal } = open.datastore.currentTransaction
          await newOwner('stuck')
          stored.open()
          await once(signal, 'abort')
          reason = signal.reason
          send(201, {})
        },
      }
      const server = await framework.start(open.datastore, [stuck])
      try {
        const answer = fetch(`${server.url}/stuck`, { method: 'POST' })
        await stored.opened
        await open.datastore.close({ timeoutMs: 20 })
        const { status, headers } = await answer
        expect([status, headers.get('retry-after')]).toEqual([503, expect.stringMatching(/^[1-3]$/)])
        expect(reason).toMatchObject({ code: 'ES_DATASTORE_CLOSED' })
        expect(await open.dogs()).toEqual([])
        // A server takes a moment to forget one that was closed.
        await expect.poll(() => connections(kind, open), { timeout: 20_000 }).toBe(before)
      } finally {
        await server.close()
      }
    })
  })
})
