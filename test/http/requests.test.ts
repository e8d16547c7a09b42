/** What a request's transaction does, case by case, on each framework and database, over real sockets. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type IdentifiedRequest, requestMetadata } from '../../adapters/http.js'
import {
  Application,
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  TransactionClosedError,
  uuid5,
} from '../../src/index.js'
import { Dog } from '../application/dogs.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { Signal } from './listening.js'
import { type Exchange, frameworks, type Route, type RunningServer, type ServerOptions } from './servers.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')

const post = async (url: string, body: object = {}): Promise<Response> =>
  await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(database)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
  })

  const events = async (): Promise<number> =>
    Number((await open.database.query('SELECT count(*) AS n FROM stored_events'))[0]?.['n'])
  const save = async (dog = 'Fido'): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
    await recorder.appendEvents([storedEvent(uuid5(NAMESPACE_URL, `/dogs/${dog.toLowerCase()}`), 1)])
  }
  const askForMoney = async ({ send }: Exchange): Promise<void> => {
    await save()
    send(402, 'pay first')
  }
  const expectNothing = async (): Promise<void> => {
    expect(await open.dogs()).toEqual([])
    expect(await events()).toBe(0)
  }

  describe.each(casesOn(database, frameworks))('$name', (framework) => {
    let server: RunningServer | undefined
    const serve = async (
      handle: (exchange: Exchange) => Promise<void>,
      route: Partial<Route> = {},
      options: ServerOptions = {},
    ): Promise<string> => {
      await server?.close()
      server = await framework.start(open.datastore, [{ method: 'POST', path: '/dogs', handle, ...route }], options)
      return `${server.url}/dogs`
    }
    afterAll(async () => {
      await server?.close()
    })

    it('commits rows and events, and answers [259]', async () => {
      const url = await serve(async ({ body, send }) => {
        await save(String(body['dog']))
        send(201, { made: body['dog'] }, { 'x-made': 'yes' })
      })
      const response = await post(url, { dog: 'Fido' })
      expect(response.status).toBe(201)
      expect(response.headers.get('x-made')).toBe('yes')
      expect(await response.json()).toEqual({ made: 'Fido' })
      expect(await open.dogs()).toEqual(['Fido'])
      expect(await events()).toBe(1)
    })

    it('stores facts about the request with the events that are saved in it', async () => {
      const school = new Application<unknown>({ name: '', datastore: open.datastore })
      // Each framework gives its own request.
      const metadata = (request: unknown) => ({ ...requestMetadata(request as IdentifiedRequest), user: 'ann' })
      const url = await serve(
        async ({ send }) => {
          await delay(1)
          await school.save(new Dog('Fido'))
          send(201)
        },
        {},
        { metadata },
      )
      const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
      const response = await fetch(url, { method: 'POST', headers: { 'x-request-id': 'r1', traceparent } })
      expect(response.status).toBe(201)
      const [notification] = await recorder.selectNotifications(null, 1)
      expect(notification?.metadata).toEqual({ correlationId: 'r1', traceparent, user: 'ann' })
    })

    it('sends no byte of a success before another connection can read the row', async () => {
      let n = 0
      const url = await serve(async ({ send }) => {
        n += 1
        await save(`dog ${n}`)
        send(201, { n })
      })
      for (let request = 1; request <= 20; request += 1) {
        const seen = await new Promise<string[]>((resolve, reject) => {
          const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
            socket.write(
              'POST /dogs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
            )
          })
          socket.once('data', () => {
            open.dogs().then(resolve, reject)
            socket.destroy()
          })
          socket.once('error', reject)
        })
        expect(seen).toContain(`dog ${request}`)
      }
    })

    it('rolls back when the handler throws [259]', async () => {
      const url = await serve(async () => {
        await save()
        await open.datastore.currentTransaction.flush()
        throw new Error('secret')
      })
      const response = await post(url)
      expect(response.status).toBe(500)
      expect(await response.text()).not.toContain('secret')
      await expectNothing()
    })

    it('rolls back when the status is 400 or more, and answers as the handler says', async () => {
      const url = await serve(async ({ send }) => {
        await save()
        send(422, { problem: 'no' })
      })
      const response = await post(url)
      expect(response.status).toBe(422)
      expect(await response.json()).toEqual({ problem: 'no' })
      await expectNothing()
    })

    it('lets commitOn decide, for the app and for a route', async () => {
      const url = await serve(askForMoney, {}, { commitOn: (status) => status === 402 })
      expect((await post(url)).status).toBe(402)
      expect(await open.dogs()).toEqual(['Fido'])
      await open.clear()
      const again = await serve(askForMoney, { transaction: { commitOn: () => false } }, { commitOn: () => true })
      expect((await post(again)).status).toBe(402)
      await expectNothing()
    })

    it('answers 409 for a conflict at the end, without a trace of the success', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      const url = await serve(async ({ send }) => {
        await save()
        send(201, { made: 'Fido' }, { location: '/dogs/fido', 'x-made': 'yes' })
      })
      const response = await post(url)
      expect(response.status).toBe(409)
      expect(response.headers.get('content-type')).toContain('application/problem+json')
      expect(response.headers.get('location')).toBeNull()
      expect(response.headers.get('x-made')).toBeNull()
      expect(await response.json()).toMatchObject({ status: 409, title: 'Conflict' })
      expect(await open.dogs()).toEqual([])
      expect(await events()).toBe(1)
    })

    it('gives a failed commit to the error handler of the framework, too', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      const url = await serve(
        async ({ send }) => {
          await save()
          send(201, { made: 'Fido' })
        },
        {},
        { problems: false },
      )
      const response = await post(url)
      expect(response.status).toBe(409)
      expect(await open.dogs()).toEqual([])
    })

    it('opens no transaction where the database is not used', async () => {
      let state: string | undefined
      const url = await serve(async ({ send }) => {
        state = open.datastore.currentTransaction.state
        send(200, { fine: true })
      })
      expect((await post(url)).status).toBe(200)
      expect(state).toBe('idle')
    })

    it('makes no transaction at all where nothing asks for it, and refuses who asks after the answer', async () => {
      const opened: unknown[] = []
      const note = (message: unknown): void => void opened.push(message)
      subscribe('eventsourcing-prisma:transaction.open', note)
      const late = new Signal()
      const refusals: unknown[] = []
      try {
        const url = await serve(async ({ send }) => {
          send(200, { fine: true })
          await late.given
          await save().catch((error: unknown) => refusals.push(error))
        })
        expect((await post(url)).status).toBe(200)
        expect(opened).toEqual([])
        late.give()
        await expect.poll(() => refusals.length).toBe(1)
      } finally {
        unsubscribe('eventsourcing-prisma:transaction.open', note)
      }
      expect(refusals[0]).toBeInstanceOf(TransactionClosedError)
      await expectNothing()
    })

    it('drops headers and status that were set before the first use of the database with the rest', async ({
      skip,
    }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      await recorder.insertEvents([storedEvent(fido, 1)])
      const url = await serve(async ({ raw }) => {
        const response = raw()
        response.statusCode = 201
        response.setHeader('x-made', 'yes')
        await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        await recorder.appendEvents([storedEvent(fido, 1)])
        response.end('made')
      })
      const response = await post(url)
      expect([response.status, response.headers.get('x-made')]).toEqual([409, null])
      expect(await open.dogs()).toEqual([])
    })

    it('leaves a route alone that opts out', async () => {
      const url = await serve(
        async ({ send }) => {
          expect(open.datastore.tryCurrentTransaction).toBeUndefined()
          await save()
          send(500, 'stored all the same')
        },
        { transaction: false },
      )
      expect((await post(url)).status).toBe(500)
      expect(await open.dogs()).toEqual(['Fido'])
      expect(await events()).toBe(1)
    })

    it('obeys the options of a route', async () => {
      const url = await serve(
        async ({ send }) => {
          expect(open.datastore.currentTransaction.autoflush).toBe(false)
          await save()
          send(201, 'made')
        },
        { transaction: { readOnly: true, autoflush: false } },
      )
      expect((await post(url)).status).toBe(500)
      await expectNothing()
    })

    it('answers 503 at the deadline, although the handler goes on, and stores nothing', async () => {
      let late: unknown
      const finished = new Signal()
      const url = await serve(
        async ({ send }) => {
          await save()
          await delay(1_500)
          late = await save('Rex').catch((error: unknown) => error)
          send(201, 'too late')
          finished.give()
        },
        { transaction: { deadlineMs: 1_000 } },
      )
      const response = await post(url)
      expect(response.status).toBe(503)
      expect(response.headers.get('retry-after')).toMatch(/^[1-3]$/)
      await expectNothing()
      await finished.given
      expect(late).toMatchObject({ code: 'ES_TRANSACTION_TIMEOUT' })
      await expectNothing()
      expect((await post(`${url}/unknown`)).status).toBe(404)
    })

    it('rolls back when the client goes away, or finishes where it is told to', async () => {
      for (const onAbort of ['rollback', 'finish'] as const) {
        await open.clear()
        let isAborted = false
        const finished = new Signal()
        const controller = new AbortController()
        const url = await serve(
          async ({ send }) => {
            await save()
            const { signal } = open.datastore.currentTransaction
            controller.abort()
            await Promise.race([delay(2_000), new Promise((resolve) => signal.addEventListener('abort', resolve))])
            isAborted = signal.aborted
            await delay(30)
            send(201, 'made')
            await delay(30)
            finished.give()
          },
          {},
          { onAbort },
        )
        const request = fetch(url, { method: 'POST', signal: controller.signal })
        await expect(request).rejects.toThrow()
        await finished.given
        expect(isAborted).toBe(true)
        await expect.poll(() => open.dogs(), { timeout: 20_000 }).toEqual(onAbort === 'finish' ? ['Fido'] : [])
      }
    })

    it('stores nothing for a client that has gone away before the transaction began', async () => {
      const finished = new Signal()
      const controller = new AbortController()
      let failure: unknown
      const url = await serve(
        async ({ send }) => {
          failure = await save().catch((error: unknown) => error)
          send(201, 'made')
          finished.give()
        },
        {},
        {
          async before(response) {
            const closed = once(response, 'close')
            controller.abort()
            await closed
          },
        },
      )
      await expect(fetch(url, { method: 'POST', signal: controller.signal })).rejects.toThrow()
      await finished.given
      expect(failure).toBeInstanceOf(TransactionClosedError)
      await expect.poll(() => open.datastore.stats.open, { timeout: 20_000 }).toBe(0)
      await expectNothing()
    })

    it('rolls back, and answers 500, when an option of the app throws', async () => {
      const fail = (): never => {
        throw new Error('a mistake in the options')
      }
      const faulty: ServerOptions[] = [
        { commitOn: fail },
        { metadata: fail },
        { metadata: fail, idempotency: { scope: 'public' } },
      ]
      for (const options of faulty) {
        const url = await serve(
          async ({ send }) => {
            await save()
            send(201)
          },
          {},
          options,
        )
        const { status } = await fetch(url, { method: 'POST', headers: { 'idempotency-key': '"1"' } })
        expect(status).toBe(500)
        expect(open.datastore.stats.open).toBe(0)
        await expectNothing()
      }
    })

    it('never lets parallel requests see each other', async () => {
      const url = await serve(async ({ body, send }) => {
        const { dog, fails } = body
        await save(String(dog))
        await delay(Math.random() * 5)
        const names = (await open.db.owner.findMany({ where: { dog: String(dog) } })).map((owner) => owner.dog)
        expect(names).toEqual([dog])
        if (fails === true) throw new Error('no')
        send(201, { dog })
      })
      const responses = await Promise.all(
        Array.from({ length: 40 }, (_, n) => post(url, { dog: `dog ${n}`, fails: n % 2 === 1 })),
      )
      expect(responses.map(({ status }) => status)).toEqual(responses.map((_, n) => (n % 2 === 1 ? 500 : 201)))
      expect(await open.dogs()).toHaveLength(20)
      expect(await events()).toBe(20)
    })

    it('commits before the first byte of a stream', async () => {
      let late: unknown
      async function* parts(): AsyncGenerator<string> {
        yield 'first; '
        await delay(20)
        late = await open.db.owner.count().catch((error: unknown) => error)
        yield 'x'.repeat(300_000)
      }
      const url = await serve(async ({ stream }) => {
        await save()
        stream(200, Readable.from(parts()))
      })
      const response = await post(url)
      expect(response.status).toBe(200)
      expect(await open.dogs()).toEqual(['Fido'])
      expect(await response.text()).toBe(`first; ${'x'.repeat(300_000)}`)
      expect(late).toBeInstanceOf(TransactionClosedError)
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('settles a response that is written past the framework', async ({ skip }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      let late: unknown
      const url = await serve(async ({ raw }) => {
        await save()
        const response = raw()
        response.writeHead(200, { 'content-type': 'text/plain' })
        response.write('early')
        await delay(30)
        late = await open.db.owner.count().catch((error: unknown) => error)
        response.end(' and late')
      })
      const response = await post(url)
      expect(response.status).toBe(200)
      expect(await response.text()).toBe('early and late')
      await delay(20)
      expect(late).toBeInstanceOf(TransactionClosedError)
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('settles 204, redirects, HEAD, 404 and invalid bodies', async () => {
      const statuses: number[] = []
      const url = await serve(async ({ body, send }) => {
        await save(String(body['dog']))
        send(Number(body['status']), undefined, { location: '/elsewhere' })
      })
      for (const status of [204, 303]) {
        const response = await fetch(url, {
          method: 'POST',
          redirect: 'manual',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ dog: `dog ${status}`, status }),
        })
        statuses.push(response.status)
      }
      statuses.push(
        (await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"not json' }))
          .status,
      )
      statuses.push((await fetch(`${url}/unknown`)).status)
      expect(statuses).toEqual([204, 303, 400, 404])
      expect(await open.dogs()).toEqual(['dog 204', 'dog 303'])
      const getUrl = await serve(
        async ({ send, method }) => {
          await save(method)
          send(200, { method })
        },
        { method: 'GET' },
      )
      const head = await fetch(getUrl, { method: 'HEAD' })
      expect(head.status).toBe(200)
      expect(await head.text()).toBe('')
      expect(await open.dogs()).toContain('HEAD')
    })

    it('settles a response that is sent twice once', async () => {
      const url = await serve(async ({ send }) => {
        await save()
        send(201, { first: true })
        try {
          send(500, { second: true })
        } catch {
          // Express refuses it by an error, Fastify by a warning.
        }
      })
      const response = await post(url)
      expect(await response.json()).toEqual({ first: true })
      expect(response.status).toBe(201)
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('never answers 2xx when COMMIT fails', async () => {
      const owners = open.quoted('owners')
      if (database.provider === 'postgresql') {
        await open.database.query('ALTER TABLE toys DROP CONSTRAINT IF EXISTS toys_owner_id_fkey')
        await open.database.query(
          'ALTER TABLE toys ADD CONSTRAINT toys_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners (id) DEFERRABLE INITIALLY DEFERRED',
        )
      }
      const url = await serve(async ({ send }) => {
        await save()
        const { db } = open
        if (database.provider === 'postgresql')
          await db.$executeRaw`INSERT INTO toys (name, owner_id) VALUES ('ball', 999999)`
        else if (database.provider === 'sqlite') {
          await db.$queryRawUnsafe('PRAGMA defer_foreign_keys = ON')
          await db.$executeRawUnsafe(`INSERT INTO toys (name, owner_id) VALUES ('ball', 999999)`)
        } else {
          const [row] = await db.$queryRawUnsafe<Array<{ id: bigint }>>('SELECT connection_id() AS id')
          await open.database.query(`KILL ${String(row?.id)}`)
        }
        send(201, { made: true }, { 'x-made': 'yes' })
      })
      const response = await post(url)
      expect(response.status).toBeGreaterThanOrEqual(500)
      expect(response.headers.get('x-made')).toBeNull()
      expect(await response.text()).not.toContain('made')
      await expectNothing()
      expect(await open.database.query(`SELECT 1 FROM ${owners}`)).toEqual([])
    })

    it('never answers 2xx when the connection is killed before COMMIT', async () => {
      if (database.provider !== 'postgresql') return
      const url = await serve(async ({ send }) => {
        await save()
        const [row] = await open.db.$queryRaw<Array<{ pid: number }>>`SELECT pg_backend_pid() AS pid`
        await open.database.query('SELECT pg_terminate_backend($1)', [row?.pid])
        send(201, { made: true })
      })
      for (let n = 0; n < 5; n += 1) {
        const response = await post(url)
        expect(response.status).toBeGreaterThanOrEqual(500)
        await response.text()
      }
      await expectNothing()
    })
  })
})
