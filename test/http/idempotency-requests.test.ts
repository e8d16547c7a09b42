/** Idempotency keys beside what else an app has: middlewares, body parsers, routers, other options of a route. */
import { once } from 'node:events'
import { connect } from 'node:http2'
import { json } from 'node:stream/consumers'
import express5, { type RequestHandler } from 'express'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { PrismaDatastore, PrismaIdempotencyStore } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { type Listening, listen } from './listening.js'

const [kind] = databases
if (kind === undefined) throw new Error('there is a database')

let open: OpenDatabase
let server: Listening | undefined
let fastify: FastifyInstance
let runs = 0
beforeEach(async () => {
  open = await openDatabase(kind)
  runs = 0
  fastify = Fastify()
})
afterEach(async () => {
  await server?.close()
  server = undefined
  await fastify.close()
  await open.close()
})

const idempotency = { scope: 'public' } as const
const handler: RequestHandler = async (_request, response) => {
  runs += 1
  await open.db.owner.create({ data: { name: 'Ann', dog: `dog ${runs}` } })
  response.status(201).json({ run: runs })
}
const post = async (
  path: string,
  body?: string | Buffer<ArrayBuffer>,
  headers: Record<string, string> = {},
  method = 'POST',
): Promise<Response> =>
  await fetch(`${server?.url}${path}`, {
    method,
    headers: { 'idempotency-key': '"abc"', ...headers },
    ...(body === undefined ? {} : { body }),
  })
/** The status, and whether the answer was stored before. */
const outcomeOf = ({ status, headers }: Response): unknown[] => [status, headers.get('idempotency-replayed')]
const codeOf = async (response: Response): Promise<unknown[]> => [
  response.status,
  ((await response.json()) as { code?: string }).code,
]

describe('on Express', () => {
  it('leaves the headers alone that middlewares before have set', async () => {
    const app = express5()
    let count = 0
    app.use((_request, response, next) => {
      response.set({ 'access-control-allow-origin': '*', 'x-count': String((count += 1)) })
      next()
    })
    app.use(expressAdapter.transactions(open.datastore, { idempotency: { ...idempotency, headers: ['x-count'] } }))
    app.post('/', handler)
    server = await listen(app)
    await post('/')
    const again = await post('/')
    expect(outcomeOf(again)).toEqual([201, 'true'])
    expect(again.headers.get('access-control-allow-origin')).toBe('*')
    // One that is to be kept is as it was sent.
    expect(again.headers.get('x-count')).toBe('1')
  })

  it('tells paths apart that routers have matched, and bodies whatever parser has read them', async () => {
    const app = express5()
    app.use(express5.text(), express5.raw(), express5.urlencoded({ extended: true }))
    app.use(expressAdapter.transactions(open.datastore))
    const router = express5.Router()
    router.post('/x', expressAdapter.transactions(open.datastore, { idempotency }), handler)
    app.use('/a', router)
    app.use('/b', router)
    app.use(expressAdapter.problemDetails())
    server = await listen(app)
    const types = { 'text/plain': 'one=1', 'application/octet-stream': 'a', 'application/x-www-form-urlencoded': 'a=b' }
    for (const [type, body] of Object.entries(types)) {
      const headers = { 'content-type': type, 'idempotency-key': type }
      expect(outcomeOf(await post('/a/x', body, headers))).toEqual([201, null])
      expect(outcomeOf(await post('/a/x', body, headers))).toEqual([201, 'true'])
      expect((await post('/a/x', `${body}2`, headers)).status).toBe(422)
      expect((await post('/b/x', body, headers)).status).toBe(422)
    }
    expect(runs).toBe(3)
  })

  it('refuses a body that nobody has read, unless the app says what tells requests apart', async () => {
    const app = express5()
    app.post('/none', expressAdapter.transactions(open.datastore, { idempotency }), handler)
    const fingerprint = (request: express5.Request): string => String(request.headers['x-sum'])
    app.post(
      '/own',
      expressAdapter.transactions(open.datastore, { idempotency: { ...idempotency, fingerprint } }),
      handler,
    )
    app.use(expressAdapter.problemDetails())
    app.set('env', 'test')
    server = await listen(app)
    expect(await codeOf(await post('/none', 'text'))).toEqual([415, 'ES_IDEMPOTENCY_BODY'])
    expect((await post('/none')).status).toBe(201)
    const own = { 'idempotency-key': 'own', 'x-sum': '1' }
    expect(outcomeOf(await post('/own', 'text', own))).toEqual([201, null])
    expect(outcomeOf(await post('/own', 'text', own))).toEqual([201, 'true'])
    expect((await post('/own', 'text', { ...own, 'x-sum': '2' })).status).toBe(422)
  })

  it('lets a route have options of its own, also for its keys, but not after other work', async () => {
    const app = express5()
    app.use(expressAdapter.transactions(open.datastore, { idempotency }))
    const own = expressAdapter.transactions(open.datastore, { deadlineMs: 10_000 })
    app.post('/', own, handler)
    app.post(
      '/used',
      async (_request, _response, next) => {
        await open.db.owner.count()
        next()
      },
      own,
      handler,
    )
    app.post('/off', expressAdapter.transactions(open.datastore, { idempotency: false }), handler)
    // Without a transaction nothing is put together: this leaves in parts.
    app.post('/none', expressAdapter.transactions(open.datastore, false), (_request, response) => {
      response.write('part', () => response.end())
    })
    app.use(expressAdapter.problemDetails())
    app.set('env', 'test')
    server = await listen(app)
    await post('/')
    expect(outcomeOf(await post('/'))).toEqual([201, 'true'])
    expect(await codeOf(await post('/used', undefined, { 'idempotency-key': 'used' }))).toEqual([500, 'ES_PROGRAMMING'])
    for (let n = 0; n < 2; n += 1) {
      expect(outcomeOf(await post('/off', undefined, { 'idempotency-key': 'off' }))).toEqual([201, null])
      expect(outcomeOf(await post('/none', undefined, { 'idempotency-key': 'none' }))).toEqual([200, null])
    }
    expect(runs).toBe(3)
  })

  it('calls back who waits for a part to be written before the next one', async () => {
    const app = express5()
    app.use(expressAdapter.transactions(open.datastore, { idempotency }))
    app.post('/', async (_request, response) => {
      await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      for (const part of ['one, ', 'two, ']) {
        await new Promise<void>((resolve) => response.write(part, 'utf8', () => resolve()))
      }
      response.end('three')
    })
    server = await listen(app)
    for (let n = 0; n < 2; n += 1) expect(await (await post('/')).text()).toBe('one, two, three')
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('keeps an answer whole where several datastores have keys', async () => {
    await using other = new PrismaDatastore({ adapter: open.database.adapter() })
    const keys = { keysTable: 'other_keys' }
    await new PrismaIdempotencyStore(other, keys).createTable()
    const app = express5().set('env', 'test')
    const store = new PrismaIdempotencyStore(other, keys)
    app.use(expressAdapter.transactions(open.datastore, { idempotency }))
    app.use(expressAdapter.transactions(other, { idempotency: { ...idempotency, maxBodyBytes: 10, store } }))
    app.post('/', async (request, response) => {
      runs += 1
      response.write('a'.repeat(Number(request.headers['x-length'])))
      response.end('b')
    })
    app.use(expressAdapter.problemDetails())
    server = await listen(app)
    expect((await post('/', undefined, { 'x-length': '20' })).status).toBe(500)
    for (const replayed of [null, 'true']) {
      const response = await post('/', undefined, { 'x-length': '5', 'idempotency-key': 'short' })
      expect([...outcomeOf(response), await response.text()]).toEqual([200, replayed, 'aaaaab'])
    }
    expect(runs).toBe(2)
  })

  it('says what is wrong without an error handler of ours', async () => {
    const app = express5().set('env', 'test')
    app.use(express5.json())
    app.post(
      '/',
      expressAdapter.transactions(open.datastore, { idempotency: { ...idempotency, required: true } }),
      handler,
    )
    server = await listen(app)
    const asJSON = { 'content-type': 'application/json' }
    expect((await post('/', '{"a":1}', asJSON)).status).toBe(201)
    expect((await post('/', '{"a":2}', asJSON)).status).toBe(422)
    expect((await post('/', '{"a":1}', { ...asJSON, 'idempotency-key': '' })).status).toBe(400)
  })

  it('fails where the table is missing, instead of serving twice', async () => {
    await open.database.query(`DROP TABLE ${open.quoted('idempotency_keys')}`)
    const app = express5().set('env', 'test')
    app.use(expressAdapter.transactions(open.datastore, { idempotency }))
    app.post('/', handler)
    app.use(expressAdapter.problemDetails())
    server = await listen(app)
    expect(await codeOf(await post('/'))).toEqual([500, 'ES_PROGRAMMING'])
    expect(runs).toBe(0)
  })
})

describe('on Fastify', () => {
  const serve = async (): Promise<void> => {
    const url = await fastify.listen({ host: '127.0.0.1', port: 0 })
    server = { url, port: Number(new URL(url).port), close: async () => await fastify.close() }
  }
  const route = async (): Promise<{ run: number }> => {
    runs += 1
    await open.db.owner.create({ data: { name: 'Ann', dog: `dog ${runs}` } })
    return { run: runs }
  }

  it('leaves the headers alone that hooks before have set, and passes the hooks after', async () => {
    fastify.addHook('onRequest', async (_request, reply) => void reply.header('access-control-allow-origin', '*'))
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
    fastify.addHook('onSend', async (_request, reply) => void reply.header('x-sent', 'yes'))
    fastify.post('/', route)
    await serve()
    for (const replayed of [null, 'true']) {
      const response = await post('/')
      expect(outcomeOf(response)).toEqual([200, replayed])
      expect(response.headers.get('access-control-allow-origin')).toBe('*')
      expect(response.headers.get('x-sent')).toBe('yes')
      expect(await response.json()).toEqual({ run: 1 })
    }
  })

  it('lets a route turn keys on or off, or add to what the app says', async () => {
    const app = { ...idempotency, headers: ['x-run'], ttlMs: 1_000_000 }
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency: app })
    const routeWith = (path: string, own: boolean | object): void => {
      fastify.post(path, { config: { transaction: { idempotency: own } } }, async (_request, reply) => {
        void reply.header('x-run', 'yes')
        return await route()
      })
    }
    routeWith('/on', true)
    routeWith('/required', { required: true })
    routeWith('/off', false)
    await serve()
    for (const path of ['/on', '/required']) {
      await post(path, undefined, { 'idempotency-key': path })
      const again = await post(path, undefined, { 'idempotency-key': path })
      expect([...outcomeOf(again), again.headers.get('x-run')]).toEqual([200, 'true', 'yes'])
    }
    expect((await fetch(`${server?.url}/required`, { method: 'POST' })).status).toBe(400)
    for (let n = 0; n < 2; n += 1) expect(outcomeOf(await post('/off'))).toEqual([200, null])
    expect(runs).toBe(4)
  })

  it('counts the methods that the options name, and PATCH among them by default', async () => {
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
    fastify.patch('/', route)
    const put = { methods: ['PUT'] }
    fastify.put('/', { config: { transaction: { idempotency: put } } }, route)
    await serve()
    for (const method of ['PATCH', 'PUT']) {
      const key = { 'idempotency-key': method }
      await post('/', undefined, key, method)
      expect(outcomeOf(await post('/', undefined, key, method))).toEqual([200, 'true'])
    }
    expect(runs).toBe(2)
  })

  it('serves a request that validation has refused as often as it is sent', async () => {
    await fastify.register(fastifyAdapter.transactions, {
      datastore: open.datastore,
      idempotency: { ...idempotency, required: true },
    })
    const body = { type: 'object', required: ['name'], properties: { name: { type: 'string' } } }
    fastify.post('/', { schema: { body } }, route)
    await serve()
    const asJSON = { 'content-type': 'application/json' }
    expect((await post('/', '{}', asJSON)).status).toBe(400)
    expect((await post('/', '{"name":"a"}', asJSON)).status).toBe(200)
    expect((await post('/', '{"name":"b"}', asJSON)).status).toBe(422)
    expect(runs).toBe(1)
  })

  it('answers over HTTP/2', async () => {
    const secure = Fastify({ http2: true })
    await secure.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
    secure.post('/', route)
    const session = connect(await secure.listen({ host: '127.0.0.1', port: 0 }))
    try {
      const replayed: unknown[] = []
      for (let n = 0; n < 2; n += 1) {
        const stream = session.request({ ':method': 'POST', ':path': '/', 'idempotency-key': 'abc' })
        stream.end()
        const [headers] = await once(stream, 'response')
        replayed.push([headers[':status'], headers['idempotency-replayed'], await json(stream)])
      }
      expect(replayed).toEqual([
        [200, undefined, { run: 1 }],
        [200, 'true', { run: 1 }],
      ])
    } finally {
      session.close()
      await secure.close()
    }
  })

  it('answers what is injected', async () => {
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
    fastify.post('/', route)
    const request = { method: 'POST', url: '/', headers: { 'idempotency-key': 'abc' }, payload: { a: 1 } } as const
    const [first, again] = [await fastify.inject(request), await fastify.inject(request)]
    expect([again.statusCode, again.json(), again.headers['idempotency-replayed']]).toEqual([200, first.json(), 'true'])
    expect((await fastify.inject({ ...request, payload: { a: 2 } })).statusCode).toBe(422)
  })
})
