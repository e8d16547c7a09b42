/** Requests that something holds up: a slow statement, a lock, a pool that is too small. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { newGate } from '../prisma/gate.js'
import type { TestClient } from '../prisma/open-database.js'
import { connectionCounts } from '../support/connections.js'
import { casesOn, databasesOf, type TestDatabase } from '../support/databases.js'
import { adapterOf } from '../support/pools.js'
import { type Exchange, frameworks, type RunningServer } from './servers.js'

const poolSize = 3
const crowd = 60
const maxWaiting = 60
const deadlineMs = 1_000
/** More than a slow machine needs, and less than what holds requests up. */
const soonMs = 15_000
const sleep: Readonly<Record<string, string>> = { postgresql: 'SELECT 1 FROM pg_sleep(60)', mysql: 'SELECT SLEEP(60)' }

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore<TestClient>({
      adapter: adapterOf(kind, database.url, poolSize),
      client: (adapter) => database.newClient(adapter) as TestClient,
      maxWaiting,
    })
  })
  beforeEach(async () => {
    await database.query('DELETE FROM owners')
    await datastore.client.owner.create({ data: { name: 'Ann', dog: 'locked' } })
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })
  const busy = async (): Promise<number | undefined> => (await connectionCounts(kind, database))?.busy
  const create = async (dog: unknown): Promise<void> => {
    await datastore.client.owner.create({ data: { name: 'Ann', dog: String(dog) } })
  }

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer
    let isAnswered = newGate()
    const handlers: Record<string, (exchange: Exchange) => Promise<void>> = {
      async slow() {
        await datastore.client.$queryRawUnsafe(sleep[kind.provider] ?? '')
      },
      async locked() {
        await datastore.client.owner.updateMany({ where: { dog: 'locked' }, data: { name: 'Bea' } })
      },
      async hashing({ body }) {
        await datastore.client.owner.count()
        await delay(50)
        await create(body['dog'])
      },
      async held({ body }) {
        await create(body['dog'])
        await isAnswered.opened
      },
    }
    beforeAll(async () => {
      const routes = Object.entries(handlers).map(([name, handle]) => ({
        method: 'POST' as const,
        path: `/${name}`,
        async handle(exchange: Exchange) {
          await handle(exchange)
          exchange.send(201, {})
        },
        transaction: { deadlineMs: name === 'held' ? 60_000 : deadlineMs },
      }))
      server = await framework.start(datastore, routes)
    })
    afterAll(async () => await server.close())

    const post = async (path: string, signal = AbortSignal.timeout(60_000)): Promise<Response> =>
      await fetch(server.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ dog: crypto.randomUUID() }),
        signal,
      })

    it.each([
      { name: 'a statement runs', path: '/slow' },
      { name: 'a lock is waited for', path: '/locked' },
    ])('answers at the deadline while $name, and ends it on the server', async ({ path }) => {
      const isOver = newGate()
      const isLocked = newGate()
      const locker = datastore.transaction(
        async () => {
          await datastore.client.owner.updateMany({ where: { dog: 'locked' }, data: { name: 'Cem' } })
          isLocked.open()
          await isOver.opened
        },
        { deadlineMs: 120_000 },
      )
      await isLocked.opened
      const answers = await Promise.all([
        post(path, AbortSignal.timeout(soonMs)),
        post(path, AbortSignal.timeout(soonMs)),
      ])
      expect(answers.map(({ status }) => status)).toEqual([503, 503])
      // The locker itself.
      await expect.poll(busy, { timeout: soonMs }).toBe(1)
      isOver.open()
      await locker
      expect((await post('/hashing')).status).toBe(201)
    })

    it('frees the connection of a client that has gone away', async () => {
      const gone = new AbortController()
      const answer = post('/slow', gone.signal).catch(() => 'gone')
      await expect.poll(busy, { timeout: soonMs }).toBe(1)
      gone.abort()
      expect(await answer).toBe('gone')
      await expect.poll(busy, { timeout: soonMs }).toBe(0)
      expect(datastore.stats.open).toBe(0)
    })

    it('serves more requests than connections, each of which holds one for a while', async () => {
      // All together they take longer than the deadline of each.
      const answers = await Promise.all(Array.from({ length: crowd }, () => post('/hashing')))
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: crowd }, () => 201))
    })

    it('refuses at once who comes when enough are waiting, and leaves nobody in the line', async () => {
      const more = 5
      isAnswered = newGate()
      const all = Array.from({ length: poolSize + maxWaiting + more }, () => post('/held'))
      const refused: Response[] = []
      for (const each of all) void each.then((response) => response.status === 503 && refused.push(response))
      await expect.poll(() => refused.length, { timeout: soonMs }).toBe(more)
      expect(datastore.stats).toMatchObject({ open: poolSize, waiting: maxWaiting })
      expect(refused.map(({ headers }) => headers.get('retry-after'))).toEqual(
        refused.map(() => expect.stringMatching(/^[1-3]$/)),
      )
      expect(await refused[0]?.json()).toMatchObject({ code: 'ES_OVERLOADED' })
      isAnswered.open()
      const statuses = (await Promise.all(all)).map(({ status }) => status)
      expect(statuses.filter((status) => status === 201)).toHaveLength(poolSize + maxWaiting)
      expect(datastore.stats).toMatchObject({ open: 0, waiting: 0 })
    })
  })
})
