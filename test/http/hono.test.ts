/** What is of Hono alone: where its middleware stands, what it refuses, and answers that are values. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type HttpBindings, serve } from '@hono/node-server'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { stream, streamSSE } from 'hono/streaming'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  assertIfMatch,
  etagOf,
  problemDetails,
  type RouteTransactionOptions,
  requestMetadata,
  transactions,
} from '../../adapters/hono.js'
import { NAMESPACE_URL, PrismaApplicationRecorder, TransactionClosedError, uuid5 } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'

type App = Hono<{ Bindings: HttpBindings }>

describe.each(databases.slice(0, 1))('Hono on $name', (kind) => {
  let open: OpenDatabase
  let app: App
  let server: Server | undefined
  let printed: unknown[] = []
  const { error: print } = console
  beforeAll(async () => {
    open = await openDatabase(kind)
    console.error = (given: unknown) => void printed.push(given)
  })
  beforeEach(async () => {
    printed = []
    await open.clear()
    await open.database.query(`DELETE FROM ${open.quoted('trainingschool_events')}`)
    await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
    app = new Hono()
  })
  afterEach(() => {
    server?.close()
    server = undefined
  })
  afterAll(async () => {
    console.error = print
    await open.close()
  })

  const add = async (dog = 'Fido'): Promise<void> => void (await open.db.owner.create({ data: { name: 'Ann', dog } }))
  const start = async (): Promise<string> => {
    server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
    if (!server.listening) await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const post = async (path: string, headers: Record<string, string> = {}, body?: string): Promise<Response> =>
    await fetch((await start()) + path, { method: 'POST', headers, ...(body === undefined ? {} : { body }) })
  const taken = storedEvent(uuid5(NAMESPACE_URL, '/dogs/fido'), 1)
  const conflictAtCommit = async (): Promise<void> =>
    await new PrismaApplicationRecorder(open.datastore).appendEvents([taken])

  it('runs without a server as well, as tests ask an app', async () => {
    app.use(transactions(open.datastore))
    app.post('/dogs', async (c) => {
      await add()
      return c.json({ made: true }, 201)
    })
    app.post('/fails', async (c) => {
      await add('Rex')
      return c.text('no', 422)
    })
    const controller = new AbortController()
    app.post('/leaves', async (c) => {
      await add('Ace')
      controller.abort()
      return c.text('made', 201)
    })
    expect((await app.request('/dogs', { method: 'POST' })).status).toBe(201)
    expect((await app.request('/fails', { method: 'POST' })).status).toBe(422)
    expect(await open.dogs()).toEqual(['Fido'])
    await app.request('/leaves', { method: 'POST', signal: controller.signal })
    await expect.poll(() => open.datastore.stats.open).toBe(0)
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('gives app.onError what fails at the commit, keeps the headers of middlewares before it, and drops those after it', async () => {
    const seen: unknown[] = []
    app.use(cors(), async (c, next) => {
      c.header('x-before', 'yes')
      c.header('x-both', 'before')
      c.header('set-cookie', 'a=1', { append: true })
      await next()
    })
    app.use(transactions(open.datastore))
    app.onError((error, c) => {
      seen.push(Reflect.get(error, 'code'))
      return problemDetails()(error, c)
    })
    await conflictAtCommit()
    app.post('/dogs', async (c) => {
      await add()
      await conflictAtCommit()
      c.header('x-made', 'yes')
      c.header('x-both', 'made')
      c.header('set-cookie', 'b=2', { append: true })
      return c.json({ made: true }, 201, { location: '/dogs/1' })
    })
    const response = await post('/dogs')
    const { headers } = response
    expect([response.status, headers.get('content-type'), seen]).toEqual([
      409,
      'application/problem+json',
      ['ES_CONCURRENCY'],
    ])
    expect(
      ['x-made', 'location', 'x-before', 'x-both', 'access-control-allow-origin'].map((name) => headers.get(name)),
    ).toEqual([null, null, 'yes', 'before', '*'])
    expect(headers.getSetCookie()).toEqual(['a=1'])
    expect(await response.json()).toMatchObject({ code: 'ES_CONCURRENCY' })
    expect(await open.dogs()).toEqual([])
  })

  it('answers by the status of an error of this package where nobody handles it, and leaves HTTPException alone', async () => {
    app.use(transactions(open.datastore))
    await conflictAtCommit()
    app.post('/conflict', async (c) => {
      await conflictAtCommit()
      return c.json({})
    })
    app.post('/own', async () => {
      await add()
      throw new HTTPException(418, { res: new Response('tea', { status: 418 }) })
    })
    const conflict = await app.request('/conflict', { method: 'POST' })
    expect([conflict.status, await conflict.json()]).toMatchObject([409, { code: 'ES_CONCURRENCY' }])
    for (const handled of [false, true]) {
      if (handled) app.onError(problemDetails())
      const own = await app.request('/own', { method: 'POST' })
      expect([own.status, await own.text()]).toEqual([418, 'tea'])
    }
    expect(await open.dogs()).toEqual([])
  })

  it('stores nothing of a request that has thrown, whatever the error handler answers, nor what that does in the transaction', async () => {
    let late: unknown
    app.use(transactions(open.datastore))
    app.onError(async (_error, c) => {
      late = await add('late').catch((error: unknown) => error)
      return c.text('all is well', 200)
    })
    app.post('/dogs', async () => {
      await add()
      throw new Error('no')
    })
    const response = await post('/dogs')
    expect([response.status, await response.text()]).toEqual([200, 'all is well'])
    expect(late).toBeInstanceOf(TransactionClosedError)
    expect(await open.dogs()).toEqual([])
  })

  it('commits before the first byte of a stream, and of server-sent events, and refuses the database then', async () => {
    const late: unknown[] = []
    const tryToUse = async (): Promise<void> =>
      void late.push(await open.db.owner.count().catch((error: unknown) => error))
    app.use(transactions(open.datastore))
    app.get('/stream', async (c) => {
      await add()
      return stream(c, async (out) => {
        await out.write('first; ')
        await out.sleep(50)
        await tryToUse()
        await out.write('x'.repeat(100_000))
      })
    })
    app.get('/events', async (c) => {
      await add('Rex')
      return streamSSE(c, async (out) => {
        await out.sleep(50)
        await tryToUse()
        await out.writeSSE({ data: 'one' })
      })
    })
    app.get('/without', transactions(open.datastore, false), (c) =>
      streamSSE(c, async (out) => {
        for (const dog of ['Ace', 'Bo']) {
          await open.datastore.transaction(async () => await add(dog))
          await out.writeSSE({ data: (await open.dogs()).join(' ') })
        }
      }),
    )
    const url = await start()
    const streamed = await fetch(`${url}/stream`)
    expect(await open.dogs()).toEqual(['Fido'])
    expect(await streamed.text()).toBe(`first; ${'x'.repeat(100_000)}`)
    expect(await (await fetch(`${url}/events`)).text()).toContain('data: one')
    expect(late.map((error) => error instanceof TransactionClosedError)).toEqual([true, true])
    await open.clear()
    expect(await (await fetch(`${url}/without`)).text()).toContain('data: Ace Bo')
  })

  it('refuses a response that is written past Hono, while the transaction is open', async () => {
    app.use(transactions(open.datastore))
    app.post('/raw', async (c) => {
      await add()
      c.env.outgoing.writeHead(201)
      c.env.outgoing.end('made')
      return new Response(null, { headers: { 'x-hono-already-sent': 'true' } })
    })
    const response = await post('/raw')
    expect([response.status, await open.dogs()]).toEqual([500, []])
    expect(String(printed[0])).toContain('it is written past Hono')
  })

  it('refuses retries without a handler, and the option stream', () => {
    expect(() => transactions(open.datastore, { retries: 2 })).toThrow('Give it the handler')
    expect(() => transactions(open.datastore, { stream: 'refuse' } as object)).toThrow('stream')
    expect(() => transactions(undefined as never)).toThrow('no datastore was given')
  })

  describe('with idempotency keys', () => {
    const options: RouteTransactionOptions['idempotency'] = { scope: 'public' }
    const key = { 'idempotency-key': '"one"', 'content-type': 'application/json' }

    it('gives the handler the body that tells requests apart, and refuses another one under the same key', async () => {
      app.onError(problemDetails())
      app.post('/dogs', transactions(open.datastore, { idempotency: options }), async (c) => {
        const { dog } = await c.req.json<{ dog: string }>()
        await add(dog)
        c.header('x-made', dog)
        return c.json({ dog }, 201)
      })
      const url = await start()
      const send = async (dog: string): Promise<unknown[]> => {
        const response = await fetch(`${url}/dogs`, { method: 'POST', headers: key, body: JSON.stringify({ dog }) })
        return [response.status, response.headers.get('idempotency-replayed'), await response.json()]
      }
      expect(await send('Fido')).toEqual([201, null, { dog: 'Fido' }])
      expect(await send('Fido')).toEqual([201, 'true', { dog: 'Fido' }])
      expect(await send('Rex')).toMatchObject([422, null, { code: 'ES_IDEMPOTENCY_KEY_REUSED' }])
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('keeps the answer of a stream that ends, and refuses one that is too long', async () => {
      app.onError(problemDetails())
      const keys = transactions(open.datastore, { idempotency: { scope: 'public', maxBodyBytes: 100 } })
      app.post('/:length', keys, async (c) => {
        const length = Number(c.req.param('length'))
        await add(`dog ${length}`)
        return stream(c, async (out) => {
          for (let n = 0; n < length; n += 1) await out.write('x')
        })
      })
      const url = await start()
      const send = async (length: number): Promise<unknown[]> => {
        const headers = { 'idempotency-key': `"${length}"` }
        const response = await fetch(`${url}/${length}`, { method: 'POST', headers })
        return [response.status, response.headers.get('idempotency-replayed'), (await response.text()).slice(0, 3)]
      }
      expect([await send(3), await send(3)]).toEqual([
        [200, null, 'xxx'],
        [200, 'true', 'xxx'],
      ])
      expect((await send(200))[0]).toBe(500)
      expect(await open.dogs()).toEqual(['dog 3'])
    })

    it('is claimed right before the handler, and refused where a guard comes after', async () => {
      app.use(transactions(open.datastore, { idempotency: options }))
      app.post(
        '/guarded',
        async (_c, next) => await next(),
        async (c) => {
          await add()
          return c.text('made', 201)
        },
      )
      const handled = new Hono()
      handled.onError((error) => {
        throw error
      })
      handled.post('/dogs', async (c) => {
        await add()
        return c.text('made', 201)
      })
      app.route('/sub', handled)
      expect((await app.request('/guarded', { method: 'POST', headers: key })).status).toBe(500)
      expect(String(printed[0])).toContain('comes after it, such as a guard')
      expect((await app.request('/guarded', { method: 'POST' })).status).toBe(201)
      await open.clear()
      for (const replayed of [null, 'true']) {
        const answer = await app.request('/sub/dogs', { method: 'POST', headers: key })
        expect([answer.status, answer.headers.get('idempotency-replayed')]).toEqual([201, replayed])
      }
      expect(await open.dogs()).toEqual(['Fido'])
    })
  })

  it('lets commitOn look at the body, and sends the rest of a longer one after the commit', async () => {
    const commitOn = (_status: number, _context: unknown, answer: { json(): unknown }): boolean =>
      (answer.json() as { errors?: unknown } | undefined)?.errors === undefined
    app.use(transactions(open.datastore, { commitOn }))
    app.post('/errors', async (c) => {
      await add('Rex')
      return c.json({ errors: ['no'] })
    })
    app.post('/long', async (c) => {
      await add()
      return stream(c, async (out) => {
        for (let n = 0; n < 30; n += 1) await out.write('x'.repeat(100_000))
      })
    })
    const url = await start()
    const errors = await fetch(`${url}/errors`, { method: 'POST' })
    expect([errors.status, await errors.json(), await open.dogs()]).toEqual([200, { errors: ['no'] }, []])
    const long = await fetch(`${url}/long`, { method: 'POST' })
    expect([(await long.text()).length, await open.dogs()]).toEqual([3_000_000, ['Fido']])
  })

  it('answers 412 for another version than If-Match has, tells the position, and stores what identifies a request', async () => {
    const school = new TrainingSchool({ datastore: open.datastore })
    app.use(transactions(open.datastore, { metadata: requestMetadata, cookie: true }))
    app.onError(problemDetails())
    app.post('/dogs', async (c) => {
      const dog = new Dog('Fido')
      await school.save(dog)
      return c.json({ id: dog.id }, 201, { etag: etagOf(dog) })
    })
    app.put('/dogs/:id', async (c) => {
      const dog = await school.repository.get(Dog, c.req.param('id'))
      assertIfMatch({ headers: c.req.header() }, dog, { required: true })
      return c.json({})
    })
    const url = await start()
    const made = await fetch(`${url}/dogs`, { method: 'POST', headers: { 'x-request-id': 'r1' } })
    const { id } = (await made.json()) as { id: string }
    expect(made.headers.get('es-position')).toMatch(/\d+/)
    expect(made.headers.getSetCookie()[0]).toContain('es-position=')
    const put = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(`${url}/dogs/${id}`, { method: 'PUT', headers })).status
    expect([
      await put({}),
      await put({ 'if-match': '"7"' }),
      await put({ 'if-match': made.headers.get('etag') ?? '' }),
    ]).toEqual([428, 412, 200])
    const [notification] = await school.recorder.selectNotifications(null, 1)
    expect(notification?.metadata).toEqual({ correlationId: 'r1' })
  })
})
