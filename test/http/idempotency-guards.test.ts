/** A stored answer is for whom the route would let in: keys are claimed after what guards a route, and just before its handler. */
import express5, { type Express, type NextFunction, type Request, type RequestHandler, type Response } from 'express'
import express4 from 'express4'
import Fastify, { type FastifyInstance, type preHandlerAsyncHookHandler } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { type Listening, listen } from './listening.js'

const [kind] = databases
if (kind === undefined) throw new Error('there is a database')

let open: OpenDatabase
let server: Listening | undefined
let fastify: FastifyInstance
let runs = 0
beforeAll(async () => {
  open = await openDatabase(kind)
})
beforeEach(async () => {
  runs = 0
  fastify = Fastify()
  await open.clear()
  await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
})
afterEach(async () => {
  await server?.close()
  server = undefined
  await fastify.close()
})
afterAll(async () => await open.close())

const idempotency = { scope: 'public' } as const
const post = async (path: string, headers: Record<string, string> = {}): Promise<globalThis.Response> =>
  await fetch(`${server?.url}${path}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { 'idempotency-key': '"abc"', 'content-type': 'application/json', ...headers },
    body: '{}',
  })
const alice = { authorization: 'alice' }
const outcomeOf = ({ status, headers }: globalThis.Response): unknown[] => [status, headers.get('idempotency-replayed')]
const keys = async (): Promise<number> =>
  (await open.database.query(`SELECT status FROM ${open.quoted('idempotency_keys')}`)).length
const work = async (): Promise<{ secret: string }> => {
  runs += 1
  await open.db.owner.create({ data: { name: 'Ann', dog: `dog ${runs}` } })
  return { secret: 'of Alice' }
}

/** Served once for who is let in, and refused for everybody else, before and after that. */
async function expectGuarded(path: string, refusal: number): Promise<void> {
  expect(outcomeOf(await post(path))).toEqual([refusal, null])
  expect([await keys(), runs]).toEqual([0, 0])
  expect(outcomeOf(await post(path, alice))).toEqual([201, null])
  expect(outcomeOf(await post(path, alice))).toEqual([201, 'true'])
  const stranger = await post(path)
  expect(outcomeOf(stranger)).toEqual([refusal, null])
  expect(await stranger.text()).not.toContain('Alice')
  expect(await (await post(path, alice)).json()).toEqual({ secret: 'of Alice' })
  expect([await keys(), runs]).toEqual([1, 1])
}

describe.each([
  ['Express 5', () => express5()],
  ['Express 4', () => express4() as unknown as Express],
] as const)('on %s', (_name, makeApp) => {
  let app: Express
  beforeEach(() => {
    app = makeApp().set('env', 'test')
    app.use(express5.json())
  })
  const start = async (): Promise<void> => {
    app.use(expressAdapter.problemDetails())
    server = await listen(app)
  }
  const guard = (request: Request, response: Response, next: NextFunction): void => {
    if (request.headers.authorization === undefined) response.status(401).json({ who: 'are you?' })
    else next()
  }
  const handler = (_request: Request, response: Response): void =>
    void work().then((body) => response.status(201).json(body))
  /** As most handlers in Express 4 are: it passes errors on. */
  const passing = (_request: Request, response: Response, next: NextFunction): void =>
    void work().then((body) => response.status(201).json(body), next)

  const routes: Record<string, () => void> = {
    'a middleware of the route': () => app.post('/x', guard, handler),
    'a middleware of the route, before a handler that may pass on': () => app.post('/x', guard, passing),
    'a middleware of a router': () =>
      app.use(express5.Router().use(guard).post('/x', passing) as unknown as RequestHandler),
    'a route of its own for all methods': () => app.all('/x', guard).post('/x', passing),
    'a route of its own for the method': () => app.post('/x', guard).post('/x', passing),
    'a function before others in route()': () => app.route('/x').all(guard).get(handler).post(passing).put(handler),
    'a middleware before options of the route': () =>
      app.post('/x', guard, expressAdapter.transactions(open.datastore, { deadlineMs: 9_000 }), passing),
    'a middleware after options of the route': () =>
      app.post('/x', expressAdapter.transactions(open.datastore, { deadlineMs: 9_000 }), guard, passing),
    'a middleware before a handler with retries': () =>
      app.post('/x', guard, expressAdapter.transactions(open.datastore, { retries: 2 }, handler)),
    'a middleware, before routes that match as well': () =>
      app.post('/x', guard, passing).post('/:id', handler).all(/.*/, handler),
  }

  it.each(Object.keys(routes))('asks first: %s', async (name) => {
    app.use(expressAdapter.transactions(open.datastore, { idempotency }))
    routes[name]?.()
    await start()
    await expectGuarded('/x', 401)
  })

  it('lets a guard redirect, and tells the user to the scope', async () => {
    const scope = (request: Request): number => Number(Reflect.get(request, 'user'))
    app.use(expressAdapter.transactions(open.datastore, { idempotency: { scope } }))
    const login: RequestHandler = (request, response, next) => {
      const { authorization } = request.headers
      if (authorization === undefined) return response.redirect('/login')
      Reflect.set(request, 'user', authorization.length)
      next()
    }
    app.post('/x', login, handler)
    app.post('/y', login)
    app.post('/y', passing)
    await start()
    await expectGuarded('/x', 302)
    expect(outcomeOf(await post('/x', { authorization: 'somebody else' }))).toEqual([201, null])
    expect(outcomeOf(await post('/y', { ...alice, 'idempotency-key': 'y' }))).toEqual([201, null])
    expect(outcomeOf(await post('/y', { ...alice, 'idempotency-key': 'y' }))).toEqual([201, 'true'])
    const rows = await open.database.query(`SELECT scope FROM ${open.quoted('idempotency_keys')} ORDER BY scope`)
    expect(rows.map((row) => Object.values(row)[0] ?? row)).toEqual(['13', '5', '5'])
  })

  it('claims no key where there is no route, and asks for none', async () => {
    app.use(expressAdapter.transactions(open.datastore, { idempotency: { ...idempotency, required: true } }))
    app.post('/x', guard, handler)
    await start()
    expect((await post('/nowhere')).status).toBe(404)
    expect((await fetch(`${server?.url}/nowhere`, { method: 'POST' })).status).toBe(404)
    expect((await fetch(`${server?.url}/x`, { method: 'POST' })).status).toBe(401)
    expect((await fetch(`${server?.url}/x`, { method: 'POST', headers: alice })).status).toBe(400)
    expect([await keys(), runs]).toEqual([0, 0])
  })

  it('refuses what is stored by no route, or before its last function', async () => {
    app.use(expressAdapter.transactions(open.datastore, { idempotency }))
    app.use('/used', handler)
    app.use('/unused', (_request, response) => void response.status(200).json({}))
    app.post('/first', passing, handler)
    app.use('/given', expressAdapter.transactions(open.datastore, {}, handler))
    await start()
    for (const path of ['/used', '/first']) expect((await post(path)).status).toBe(500)
    expect(await open.dogs()).toEqual([])
    expect((await post('/unused')).status).toBe(200)
    for (const replayed of [null, 'true']) expect(outcomeOf(await post('/given'))).toEqual([201, replayed])
  })

  it('refuses at once options that do not say whose keys they are, and with each request those of a route', async () => {
    expect(() => expressAdapter.transactions(open.datastore, { idempotency: true })).toThrow('`scope')
    app.use(expressAdapter.transactions(open.datastore))
    app.post('/x', expressAdapter.transactions(open.datastore, { idempotency: { required: true } }), handler)
    await start()
    expect((await post('/x')).status).toBe(500)
    expect(runs).toBe(0)
  })

  it.each([undefined, null, '', {}, Number.NaN, false])('refuses a scope that is none: %s', async (given) => {
    const scope = (): string => given as never
    app.use(expressAdapter.transactions(open.datastore, { idempotency: { scope } }))
    app.post('/x', handler)
    app.post('/passing', passing)
    await start()
    for (const path of ['/x', '/passing']) {
      const response = await post(path)
      expect([response.status, await keys(), await open.dogs()]).toEqual([500, 0, []])
    }
  })
})

describe('on Fastify', () => {
  const start = async (): Promise<void> => {
    const url = await fastify.listen({ host: '127.0.0.1', port: 0 })
    server = { url, port: Number(new URL(url).port), close: async () => await fastify.close() }
  }
  const guard: preHandlerAsyncHookHandler = async (request, reply) => {
    if (request.headers.authorization === undefined) await reply.code(401).send({ who: 'are you?' })
  }

  it('asks first the hooks of the route, of its plugin, and of plugins that come later', async () => {
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
    fastify.post('/x', { preHandler: guard }, async (_request, reply) => await reply.code(201).send(await work()))
    await fastify.register(async (plugin) => {
      plugin.addHook('preHandler', guard)
      // As one may who calls back.
      plugin.post('/callback', (_request, reply) => {
        void work().then((body) => setImmediate(() => void reply.code(201).send(body)))
      })
    })
    await start()
    await expectGuarded('/x', 401)
    runs = 0
    await open.clear()
    await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
    await expectGuarded('/callback', 401)
  })

  it('claims no key where there is no route, and asks for none', async () => {
    const required = { ...idempotency, required: true }
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency: required })
    await start()
    expect((await post('/nowhere')).status).toBe(404)
    expect((await fetch(`${server?.url}/nowhere`, { method: 'POST' })).status).toBe(404)
    expect(await keys()).toBe(0)
  })

  it('refuses options that do not say whose keys they are, and routes that came too early', async () => {
    const { datastore } = open
    const other = Fastify()
    await expect(other.register(fastifyAdapter.transactions, { datastore, idempotency: true })).rejects.toThrow(
      '`scope',
    )
    fastify.post('/early', async () => await work())
    await fastify.register(fastifyAdapter.transactions, { datastore, idempotency })
    await start()
    expect((await post('/early')).status).toBe(500)
    expect((await fetch(`${server?.url}/early`, { method: 'POST' })).status).toBe(200)
    expect(runs).toBe(1)
  })

  it.each([undefined, null, '', {}])('refuses a scope that is none: %s', async (given) => {
    const scope = (): string => given as never
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency: { scope } })
    fastify.post('/x', async () => await work())
    await start()
    expect([(await post('/x')).status, runs, await keys()]).toEqual([500, 0, 0])
  })
})
