/** Requests that have not used their transaction yet: when it is too late for that, who waits for them, what is taken back. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import express5, { type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/express.js'
import { transactions as plugin } from '../../adapters/fastify.js'
import { ConcurrencyError, PrismaDatastore, TransactionClosedError, type TransactionTrace } from '../../src/index.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { casesOn, oneOf, oneOfEach, type TestDatabaseKind } from '../support/databases.js'
import { listen, Signal } from './listening.js'
import { type Framework, frameworks, passingErrors, type Route, type ServerOptions } from './servers.js'

type Datastore = PrismaDatastore<TestClient>
type Handle = Route['handle']
type Options = ServerOptions & Pick<Route, 'transaction'>

const conflict = new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })
const errorOf = async (work: Promise<unknown>): Promise<unknown> => await work.catch((error: unknown) => error)
/** Where it waits for what does not end, its test fails. */
const close = async (closing: Datastore): Promise<void> => await closing.close({ timeoutMs: Infinity })

let open: OpenDatabase
/** Each test has its own on the same database, since some close it. */
let datastore: Datastore
const cleanUps: Array<() => Promise<void>> = []

function useDatabase(kind: TestDatabaseKind): void {
  beforeAll(async () => void (open = await openDatabase(kind)))
  beforeEach(async () => {
    await open.clear()
    datastore = newDatastore()
  })
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  })
  afterAll(async () => await open.close())
}

function newDatastore(): Datastore {
  const client = (adapter: Datastore['adapter']): TestClient => open.database.newClient(adapter) as TestClient
  const made = new PrismaDatastore({ adapter: open.database.adapter(), client })
  cleanUps.push(async () => await close(made))
  return made
}

async function save(dog: string, by = datastore): Promise<void> {
  await by.client.owner.create({ data: { name: 'Ann', dog } })
}

/** Serves `/`, with the first handle for the first request, and so on; gives the URL. */
async function serve(framework: Framework, { transaction, ...app }: Options, ...handles: Handle[]): Promise<string> {
  const handle: Handle = async (exchange) => await (handles.length > 1 ? handles.shift() : handles[0])?.(exchange)
  const route: Route = { method: 'GET', path: '/', handle, ...(transaction === undefined ? {} : { transaction }) }
  const server = await framework.start(datastore, [route], app)
  cleanUps.push(async () => await server.close())
  return server.url
}

/** Serves `/` where each datastore has retries of its own, and the framework adds cookies to those that are set; gives the URL. */
type ServeAdding = (
  retriesOf: ReadonlyArray<readonly [Datastore, number]>,
  cookies: string | string[],
  handle: (addCookie: (cookie: string) => unknown) => Promise<void>,
) => Promise<string>

const inFastify: ServeAdding = async (retriesOf, cookies, handle) => {
  const server = Fastify({ forceCloseConnections: true })
  server.addHook('onRequest', async (_request, reply) => void reply.header('set-cookie', structuredClone(cookies)))
  for (const [of, retries] of retriesOf) await server.register(plugin, { datastore: of, retries })
  server.get('/', async (_request, reply) => {
    await handle((cookie) => reply.header('set-cookie', cookie))
    return 'made'
  })
  cleanUps.push(async () => await server.close())
  return await server.listen({ host: '127.0.0.1', port: 0 })
}

async function inExpress(app: Express, ...[retriesOf, cookies, handle]: Parameters<ServeAdding>): Promise<string> {
  const handler = passingErrors(async (_request, response) => {
    await handle((cookie) => response.appendHeader('set-cookie', cookie))
    response.send('made')
  })
  app.use((_request, response, next) => next(void response.setHeader('set-cookie', structuredClone(cookies))))
  app.use(retriesOf.map(([of, retries]) => transactions(of, { retries }, retries > 0 ? handler : undefined)))
  app.use(handler, problemDetails())
  const server = await listen(app)
  cleanUps.push(async () => await server.close())
  return server.url
}

const adding: ReadonlyArray<readonly [string, ServeAdding]> = [
  ['Fastify 5', inFastify],
  ['Express 5', async (...given) => await inExpress(express5(), ...given)],
  ['Express 4', async (...given) => await inExpress(express4(), ...given)],
]
const cookies = ['a=1', ['a=1'], ['a=1', 'b=1']].map((set) => ({ set }))

describe.each(oneOfEach)('a request on $name', (kind) => {
  useDatabase(kind)

  describe.each(casesOn(kind, frameworks))('of $name', (framework) => {
    it.for(['after the answer', 'in a stream'])(
      'is refused a first use %s, with onAbort finish',
      async (place, { skip }) => {
        skip(framework.answersByValue !== undefined, framework.answersByValue)
        const goOn = new Signal()
        let late: Promise<unknown> | undefined
        const handle: Handle = async ({ raw }) => {
          const response = raw()
          response.write('a')
          if (place === 'after the answer') response.end('b')
          late = goOn.given.then(async () => await errorOf(save('late')))
          await late
          if (place === 'in a stream') response.end('b')
        }
        const response = await fetch(await serve(framework, { onAbort: 'finish' }, handle))
        goOn.give()
        expect(await response.text()).toBe('ab')
        expect(await late).toBeInstanceOf(TransactionClosedError)
        expect([datastore.stats.open, await open.dogs()]).toEqual([0, []])
      },
    )

    it('is answered with a body when its commit fails, whatever head was written before the first use', async ({
      skip,
    }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      const url = await serve(framework, {}, async ({ raw }) => {
        const response = raw().writeHead(204)
        await save('Fido')
        datastore.currentTransaction.rollbackOnly()
        response.end()
      })
      const response = await fetch(url)
      expect([response.status, await response.json()]).toMatchObject([500, { status: 500, code: 'ES_ROLLBACK_ONLY' }])
      expect(await open.dogs()).toEqual([])
    })

    it('begins no transaction for what runs outside of it, or in one of its own', async () => {
      const log: unknown[] = []
      const note = (message: unknown): void => void log.push((message as TransactionTrace).transaction.label)
      const url = await serve(framework, {}, async ({ send }) => {
        await datastore.transaction(async (tx) => void (await tx.client.owner.count()), { propagation: 'notSupported' })
        log.push(datastore.stats.begun)
        await datastore.transaction(async () => await save('Rex'), { propagation: 'requiresNew', label: 'own' })
        log.push(datastore.stats.begun)
        await save('Fido')
        log.push(datastore.stats.begun)
        send(422)
      })
      subscribe('eventsourcing-prisma:transaction.open', note)
      expect((await fetch(url)).status).toBe(422)
      unsubscribe('eventsourcing-prisma:transaction.open', note)
      expect(log).toEqual([0, 'own', 1, 'GET /', 2])
      expect(await open.dogs()).toEqual(['Rex'])
    })

    it('is waited for by the close of the datastore while it may still begin its transaction', async () => {
      const [came, goOn] = [new Signal(), new Signal()]
      const order: string[] = []
      const url = await serve(framework, {}, async ({ send }) => {
        came.give()
        await goOn.given
        await save('Fido')
        datastore.currentTransaction.afterCommit(() => order.push('committed'))
        send(201)
      })
      const answer = fetch(url)
      await came.given
      const closing = close(datastore).then(() => order.push('closed'))
      await delay(50)
      goOn.give()
      expect((await answer).status).toBe(201)
      await closing
      expect(order).toEqual(['committed', 'closed'])
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('is committed when another one answers it while the datastore is closed', async () => {
      const [came, goOn] = [new Signal(), new Signal()]
      let answer = (): void => undefined
      const poll: Handle = async ({ send }) => {
        await save('Fido')
        answer = () => send(200)
        came.give()
      }
      const tell: Handle = async ({ send }) => {
        send(200)
        await goOn.given
        answer()
      }
      const url = await serve(framework, {}, poll, tell)
      const polled = fetch(url)
      await came.given
      expect((await fetch(url)).status).toBe(200)
      const closing = close(datastore)
      goOn.give()
      expect((await polled).status).toBe(200)
      await closing
      expect(await open.dogs()).toEqual(['Fido'])
    })
  })

  describe.each(adding)('of %s', (_name, serveAdding) => {
    it.each(cookies)('keeps the cookies $set, and adds those of what is sent alone', async ({ set }) => {
      const received = async (retries: number): Promise<unknown> => {
        const url = await serveAdding([[datastore, retries]], set, async (addCookie) => {
          addCookie('made=1')
          const { attempt } = datastore.currentTransaction
          addCookie(`attempt=${attempt}`)
          await save('Fido')
          if (retries === 0) datastore.currentTransaction.rollbackOnly()
          else if (attempt <= retries) throw conflict
        })
        const { status, headers } = await fetch(url)
        return [status, headers.getSetCookie()]
      }
      // Those of a response that is dropped are not sent, and of a handler that is run again only those of the last time.
      expect(await received(0)).toEqual([500, [set].flat()])
      expect(await received(2)).toEqual([200, [set, 'made=1', 'attempt=3'].flat()])
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('refuses what a failed attempt has left behind, with several datastores', async () => {
      const second = newDatastore()
      const again = new Signal()
      let late: Promise<unknown> | undefined
      const served = [[datastore, 0] as const, [second, 1] as const]
      const url = await serveAdding(served, [], async () => {
        if (second.currentTransaction.attempt === 1) {
          late = again.given.then(async () => await errorOf(save('left behind')))
          await save('of the second', second)
          throw conflict
        }
        again.give()
        await late
        await save('again')
      })
      expect((await fetch(url)).status).toBe(200)
      expect(await late).toBeInstanceOf(TransactionClosedError)
      expect(await open.dogs()).toEqual(['again'])
    })
  })
})

describe.each(oneOf('sqlite'))('a request without the database on $name', (kind) => {
  useDatabase(kind)

  describe.each(frameworks)('of $name', (framework) => {
    it.for(['in a route without a transaction', 'once its answer has begun'])(
      'holds up no close %s',
      async (when, { skip }) => {
        skip(framework.answersByValue !== undefined, framework.answersByValue)
        const came = new Signal()
        const hasBegun = when === 'once its answer has begun'
        const handle: Handle = async ({ raw }) => {
          if (hasBegun) raw().write('data: 1\n\n')
          came.give()
        }
        void errorOf(fetch(await serve(framework, hasBegun ? {} : { transaction: false }, handle)))
        await came.given
        await close(datastore)
      },
    )

    it('holds up no close behind others on a connection that is gone', async () => {
      const came = new Signal()
      const handles: Handle[] = [async () => undefined, async ({ send }) => send(200), async () => came.give()]
      const url = await serve(framework, {}, ...handles)
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(3))
      await came.given
      socket.destroy()
      await close(datastore)
    })

    it('lets a listener of its response close the datastore', async ({ skip }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      let error: unknown = 'not closed'
      const closeHere = async (): Promise<void> => void (error = await errorOf(close(datastore)))
      const url = await serve(framework, {}, async ({ raw }) => {
        const response = raw().once('finish', () => void closeHere())
        response.end('made')
      })
      expect(await (await fetch(url)).text()).toBe('made')
      await expect.poll(() => error, { timeout: 20_000 }).toBeUndefined()
    })

    it('is forgotten when it is over', async ({ skip }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      const requests: Array<WeakRef<object>> = []
      const url = await serve(framework, {}, async ({ raw }) => {
        requests.push(new WeakRef(raw().req))
        raw().end()
      })
      for (let n = 0; n < 50; n += 1) await (await fetch(url)).text()
      setFlagsFromString('--expose-gc')
      const collect: () => void = runInNewContext('gc')
      const countKept = (): number => {
        collect()
        return requests.filter((request) => request.deref() !== undefined).length
      }
      await expect.poll(countKept, { timeout: 20_000 }).toBeLessThanOrEqual(10)
    })
  })
})
