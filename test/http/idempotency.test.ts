/** Requests with an idempotency key: served once, and answered alike for as often as they are sent. */
import { Readable } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ConcurrencyError } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { type Exchange, frameworks, type Route, type RunningServer } from './servers.js'

const conflict = () => new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })
const idempotency = {
  headers: ['X-Kept'],
  scope: (request: unknown) => String((request as Pick<Exchange, 'headers'>).headers['x-user'] ?? 'nobody'),
  maxBodyBytes: 5_000,
}

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  describe.each(casesOn(kind, frameworks))('a request with an idempotency key on $name', (framework) => {
    let server: RunningServer
    let runs = 0
    let gate = newGate()
    let begun = newGate()
    /** As it was before somebody else changed it. */
    let stale: Dog | undefined
    const store = async (dog: unknown): Promise<unknown> =>
      await open.db.owner.create({ data: { name: 'Ann', dog: String(dog) } })
    const route = (path: string, handle: (exchange: Exchange) => Promise<void>): Route => ({
      method: 'POST',
      path,
      async handle(exchange) {
        runs += 1
        await handle(exchange)
      },
    })
    const routes: Route[] = [
      route('/dogs', async ({ body, send }) => {
        await school.register(String(body['name']))
        await store(body['name'])
        send(201, { dog: body['name'], run: runs }, { location: '/dogs/1', 'x-kept': 'yes', 'x-other': String(runs) })
      }),
      route('/slow', async ({ body, send }) => {
        await store(body['name'])
        open.datastore.currentTransaction.signal.addEventListener('abort', () => gate.open())
        begun.open()
        await gate.opened
        send(201, { run: runs })
      }),
      route('/thrown', async ({ body, send }) => {
        await store(body['name'])
        if (runs === 1) throw new Error('no')
        send(201)
      }),
      route('/refused', async ({ body, send }) => {
        await store(body['name'])
        send(runs === 1 ? 422 : 201, { run: runs })
      }),
      route('/doomed', async ({ body, send }) => {
        await store(body['name'])
        if (runs === 1) open.datastore.currentTransaction.rollbackOnly()
        send(201, { run: runs })
      }),
      route('/empty', async ({ body, send }) => {
        await store(body['name'])
        send(204)
      }),
      route('/elsewhere', async ({ body, send }) => {
        await store(body['name'])
        send(303, undefined, { location: '/there' })
      }),
      route('/stream', async ({ body, stream }) => {
        await store(body['name'])
        stream(200, Readable.from([Buffer.from([0, 255]), 'ä'.repeat(Number(body['length']) / 2)]))
      }),
      route('/raw', async ({ body, raw }) => {
        await store(body['name'])
        const response = raw()
        response.writeHead(202, { 'Content-Type': 'text/plain', 'X-Kept': 'raw' })
        response.write('6869', 'hex')
        response.end(` ${runs}`)
      }),
      route('/large', async ({ body, send }) => {
        await store(body['name'])
        send(200, 'a'.repeat(Number(body['length'])))
      }),
      {
        ...route('/retried', async ({ body, send }) => {
          await store(body['name'])
          if (runs === 1) throw conflict()
          send(201, { run: runs })
        }),
        transaction: { retries: 2 },
      },
      {
        ...route('/conflict', async ({ body, send }) => {
          await store(body['name'])
          const dog = await school.repository.get(Dog, Dog.createId('Hot'))
          if (runs === 1) await open.datastore.transaction(() => school.addTrick('Hot', 'first'), separately)
          dog.addTrick('second')
          await school.save(dog)
          send(201, { run: runs })
        }),
        transaction: { retries: 2 },
      },
      {
        // Its first attempt fails, and another request is faster than its second.
        ...route('/overtaken', async ({ body, headers, send }) => {
          await store(body['name'])
          if (headers['x-first'] !== undefined) {
            open.datastore.currentTransaction.afterRollback(async () => await post('/overtaken', 'abc', body))
            throw conflict()
          }
          send(201, { run: runs })
        }),
        transaction: { retries: 2 },
      },
      {
        ...route('/overtaken-at-commit', async ({ body, headers, send }) => {
          if (headers['x-first'] !== undefined) {
            open.datastore.currentTransaction.afterRollback(async () => await post('/overtaken-at-commit', 'abc', body))
            stale?.addTrick('too late')
            await school.save(stale)
          }
          await store(body['name'])
          send(201, { run: runs }, headers['x-first'] === undefined ? {} : { 'x-kept': 'no' })
        }),
        transaction: { retries: 2 },
      },
      { ...route('/read', async ({ send }) => send(200, { run: runs })), transaction: { readOnly: true } },
      { ...route('/kept-errors', async ({ send }) => send(404, { run: runs })), transaction: { commitOn: () => true } },
      {
        ...route('/late', async ({ body }) => {
          await store(body['name'])
          begun.open()
          await gate.opened
        }),
        transaction: { deadlineMs: 300 },
      },
      { ...route('/dogs', async ({ send }) => send(200, { run: runs })), method: 'GET' },
    ]
    /** Of an app that has no keys by itself. */
    const others: Route[] = [
      {
        ...route('/required', async ({ send }) => send(201)),
        transaction: { idempotency: { required: true, scope: 'public' } },
      },
      route('/always', async ({ send }) => send(201, { run: runs })),
    ]
    const separately = { propagation: 'requiresNew' } as const
    let other: RunningServer

    beforeAll(async () => {
      server = await framework.start(open.datastore, routes, { idempotency })
      other = await framework.start(open.datastore, others)
    })
    beforeEach(async () => {
      runs = 0
      gate = newGate()
      begun = newGate()
      await open.clear()
      for (const table of ['idempotency_keys', 'trainingschool_events']) {
        await open.database.query(`DELETE FROM ${open.quoted(table)}`)
      }
    })
    afterEach(() => gate.open())
    afterAll(async () => {
      await server.close()
      await other.close()
    })

    const post = async (path: string, key: string | undefined, body: object = {}, headers = {}): Promise<Response> =>
      await fetch(`${(others.some((route) => route.path === path) ? other : server).url}${path}`, {
        method: 'POST',
        redirect: 'manual',
        headers: {
          'content-type': 'application/json',
          ...(key === undefined ? {} : { 'idempotency-key': key }),
          ...headers,
        },
        body: JSON.stringify(body),
      })
    const keys = async (): Promise<number> =>
      (await open.database.query(`SELECT status FROM ${open.quoted('idempotency_keys')}`)).length
    const events = async (): Promise<number> =>
      (await open.database.query(`SELECT topic FROM ${open.quoted('trainingschool_events')}`)).length

    it('is answered by what was stored when it is sent again, and its handler does not run', async () => {
      const first = await post('/dogs', '"k 1"', { name: 'Fido' })
      expect([first.status, first.headers.get('idempotency-replayed')]).toEqual([201, null])
      const text = await first.text()
      for (const key of ['"k 1"', '"k 1";a=b']) {
        const again = await post('/dogs', key, { name: 'Fido' })
        expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true'])
        expect(await again.text()).toBe(text)
        for (const name of ['content-type', 'content-length', 'location', 'x-kept', 'etag']) {
          expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)])
        }
        expect(again.headers.get('x-other')).toBeNull()
      }
      expect([runs, await open.dogs(), await events(), await keys()]).toEqual([1, ['Fido'], 1, 1])
    })

    it('is the same with its key in quotes or without, and with its members in another order', async () => {
      expect((await post('/dogs', 'abc', { name: 'Fido', a: { b: 1, c: [2] } })).status).toBe(201)
      const again = await post('/dogs', '"abc"', { a: { c: [2], b: 1 }, name: 'Fido' })
      expect([again.status, again.headers.get('idempotency-replayed'), runs]).toEqual([201, 'true', 1])
    })

    it('is refused with another body or to another path', async () => {
      await post('/dogs', 'abc', { name: 'Fido' })
      for (const [path, body] of [
        ['/dogs', { name: 'Rex' }],
        ['/empty', { name: 'Fido' }],
        ['/dogs?again=yes', { name: 'Fido' }],
      ] as const) {
        const other = await post(path, 'abc', body)
        expect(other.headers.get('content-type')).toContain('application/problem+json')
        expect(await other.json()).toMatchObject({ status: 422, code: 'ES_IDEMPOTENCY_KEY_REUSED' })
      }
      expect([runs, await open.dogs(), await keys()]).toEqual([1, ['Fido'], 1])
    })

    it('is refused while the first one is running, and gets its answer after that', async () => {
      const first = post('/slow', 'abc', { name: 'Fido' })
      await begun.opened
      const second = await post('/slow', 'abc', { name: 'Fido' })
      expect(await second.json()).toMatchObject({ status: 409, code: 'ES_IDEMPOTENCY_KEY_IN_USE' })
      gate.open()
      expect((await first).status).toBe(201)
      expect(await (await post('/slow', 'abc', { name: 'Fido' })).json()).toEqual({ run: 1 })
      expect(runs).toBe(1)
    })

    it('runs once when it is sent fifty times at once', async () => {
      const responses = await Promise.all(
        Array.from({ length: 50 }, async () => await post('/dogs', 'abc', { name: 'Fido' })),
      )
      expect([runs, await open.dogs(), await events()]).toEqual([1, ['Fido'], 1])
      const outcomes = responses.map(({ status, headers }) => `${status} ${headers.get('idempotency-replayed')}`)
      expect(outcomes.filter((outcome) => outcome === '201 null')).toHaveLength(1)
      expect(outcomes.filter((outcome) => !['201 null', '201 true', '409 null'].includes(outcome))).toEqual([])
      await Promise.all(responses.map(async (response) => await response.arrayBuffer()))
      expect((await post('/dogs', 'abc', { name: 'Fido' })).headers.get('idempotency-replayed')).toBe('true')
    })

    it.each(['/thrown', '/refused', '/doomed'])(
      'leaves nothing when it fails, and may be repeated: %s',
      async (path) => {
        expect((await post(path, 'abc', { name: 'Fido' })).status).toBeGreaterThanOrEqual(400)
        expect([await open.dogs(), await keys()]).toEqual([[], 0])
        expect((await post(path, 'abc', { name: 'Fido' })).status).toBe(201)
        expect((await post(path, 'abc', { name: 'Fido' })).headers.get('idempotency-replayed')).toBe('true')
        expect([runs, await open.dogs(), await keys()]).toEqual([2, ['Fido'], 1])
      },
    )

    it('leaves nothing when its deadline passes', async () => {
      expect((await post('/late', 'abc', { name: 'Fido' })).status).toBe(503)
      expect([await open.dogs(), await keys()]).toEqual([[], 0])
    })

    it('leaves nothing when its client goes away', async () => {
      const controller = new AbortController()
      const first = fetch(`${server.url}/slow`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'abc' },
        body: JSON.stringify({ name: 'Fido' }),
        signal: controller.signal,
      })
      await begun.opened
      controller.abort()
      await expect(first).rejects.toThrow('abort')
      await gate.opened
      await expect.poll(async () => (await post('/slow', 'abc', { name: 'Fido' })).status).toBe(201)
      expect([runs, await open.dogs(), await keys()]).toEqual([2, ['Fido'], 1])
    })

    it('is answered alike without a body, and with a status that has none', async () => {
      for (const [path, status, location] of [
        ['/empty', 204, null],
        ['/elsewhere', 303, '/there'],
      ] as const) {
        await post(path, path, { name: path })
        const again = await post(path, path, { name: path })
        expect([again.status, again.headers.get('location'), await again.text()]).toEqual([status, location, ''])
        expect(again.headers.get('idempotency-replayed')).toBe('true')
      }
      expect(runs).toBe(2)
    })

    it('is answered alike with a stream, and with what was written below the framework', async ({ skip }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      for (const [path, body] of [
        ['/stream', { name: 'a', length: 4_000 }],
        ['/raw', { name: 'b' }],
      ] as const) {
        const first = await post(path, path, body)
        const again = await post(path, path, body)
        expect([again.status, again.headers.get('x-kept')]).toEqual([first.status, first.headers.get('x-kept')])
        expect(again.headers.get('idempotency-replayed')).toBe('true')
        expect(Buffer.from(await again.arrayBuffer())).toEqual(Buffer.from(await first.arrayBuffer()))
      }
      expect(await open.dogs()).toEqual(['a', 'b'])
    })

    it.each(['/large', '/stream'])('is an error when its answer is longer than what is kept: %s', async (path) => {
      const response = await post(path, 'abc', { name: 'Fido', length: 5_010 })
      expect(response.status).toBe(500)
      expect(await response.text()).not.toContain('aaaa')
      expect([await open.dogs(), await keys()]).toEqual([[], 0])
      expect((await post(path, undefined, { name: 'Fido', length: 5_010 })).status).toBe(200)
    })

    it.each(['/retried', '/conflict'])('is run again by the server, and answered once: %s', async (path) => {
      await school.register('Hot')
      if (path === '/conflict' && kind.provider === 'sqlite') return
      const first = await post(path, 'abc', { name: 'Fido' })
      expect([first.status, await first.json()]).toEqual([201, { run: 2 }])
      const again = await post(path, 'abc', { name: 'Fido' })
      expect([await again.json(), again.headers.get('idempotency-replayed')]).toEqual([{ run: 2 }, 'true'])
      expect([runs, await open.dogs(), await keys()]).toEqual([2, ['Fido'], 1])
    })

    it.each(['/overtaken', '/overtaken-at-commit'])(
      'is answered as another one that has overtaken it between two attempts: %s',
      async (path) => {
        await school.register('Hot')
        stale = await school.repository.get(Dog, Dog.createId('Hot'))
        await school.addTrick('Hot', 'first')
        const response = await post(path, 'abc', { name: 'Fido' }, { 'x-first': 'yes' })
        expect([response.status, await response.json()]).toEqual([201, { run: 2 }])
        expect([response.headers.get('idempotency-replayed'), response.headers.get('x-kept')]).toEqual(['true', null])
        expect([runs, await open.dogs(), await keys()]).toEqual([2, ['Fido'], 1])
      },
    )

    it('is another one in another scope', async () => {
      for (const user of ['ann', 'bea']) {
        const response = await post('/dogs', 'abc', { name: `dog of ${user}` }, { 'x-user': user })
        expect(await response.json()).toMatchObject({ dog: `dog of ${user}` })
      }
      const again = await post('/dogs', 'abc', { name: 'dog of ann' }, { 'x-user': 'ann' })
      expect(await again.json()).toMatchObject({ dog: 'dog of ann', run: 1 })
      expect(runs).toBe(2)
    })

    it('is refused without a key where one is required, and with one that is none', async () => {
      for (const key of [undefined, '""', '"open', 'a b', `"${'k'.repeat(256)}"`, '"a", "b"']) {
        const response = await post('/required', key)
        expect(await response.json()).toMatchObject({ status: 400, code: 'ES_IDEMPOTENCY_KEY' })
      }
      expect(runs).toBe(0)
      expect((await post('/required', `"${'k'.repeat(255)}"`)).status).toBe(201)
    })

    it('is served as any other without a key, by other methods, and where the route says so', async () => {
      for (let n = 1; n <= 2; n += 1) {
        await post('/empty', undefined, { name: n })
        await fetch(`${server.url}/dogs`, { headers: { 'idempotency-key': 'abc' } })
        await post('/always', 'abc')
        await post('/read', 'abc')
      }
      expect([runs, await keys()]).toEqual([8, 0])
    })

    it('is answered by an error that was committed', async () => {
      await post('/kept-errors', 'abc')
      const again = await post('/kept-errors', 'abc')
      expect([again.status, await again.json(), runs]).toEqual([404, { run: 1 }, 1])
    })
  })
})
