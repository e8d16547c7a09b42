/** Connections on which nothing arrives any more: who waits gets an answer, and the pool is whole afterwards. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CommitUnknownError, PrismaDatastore, TransactionTimeoutError } from '../../src/index.js'
import { frameworks, type Route, type RunningServer } from '../http/servers.js'
import type { TestClient } from '../prisma/open-database.js'
import { connectionCounts } from '../support/connections.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { adapterOf } from '../support/pools.js'
import { FreezingProxy } from './freezing-proxy.js'

const poolSize = 2
const deadlineMs = 700
/** More than a slow machine needs, and less than what hangs would take. */
const soonMs = 15_000

describe.each(databasesOf('postgresql', 'mysql'))('frozen connections to $name', (kind) => {
  let database: TestDatabase
  let proxy: FreezingProxy
  let datastore: PrismaDatastore<TestClient>
  beforeAll(async () => {
    database = await kind.createDatabase()
    proxy = await FreezingProxy.before(database.url, kind.provider === 'mysql' ? 3306 : 5432)
    datastore = open()
    // A first connection takes longer than a deadline here.
    const ask = async (): Promise<void> => {
      await datastore.client.$queryRawUnsafe('SELECT 1')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await Promise.all(Array.from({ length: poolSize }, () => datastore.transaction(ask, { deadlineMs: 30_000 })))
  })
  afterAll(async () => {
    await datastore.close()
    await proxy.close()
    await database.drop()
  })

  const open = (options: { deadlineMs?: number } = {}): PrismaDatastore<TestClient> =>
    new PrismaDatastore<TestClient>({
      adapter: adapterOf(kind, proxy.urlOf(database.url), poolSize),
      client: (adapter) => database.newClient(adapter) as TestClient,
      deadlineMs,
      ...options,
    })
  const dogs = async (): Promise<string[]> =>
    (await database.query('SELECT dog FROM owners')).map((row) => String(row['dog']))
  const busy = async (): Promise<number | undefined> => (await connectionCounts(kind, database))?.busy

  /** Sends as many requests as there are connections, all of which freeze at the text. */
  async function freezeAll<T>(marker: string, send: () => Promise<T>): Promise<T[]> {
    const before = proxy.frozen
    proxy.freezeAt(marker)
    try {
      const answers = await Promise.all(Array.from({ length: poolSize }, send))
      expect(proxy.frozen - before).toBe(poolSize)
      return answers
    } finally {
      proxy.freezeAt(undefined)
    }
  }

  describe.each(frameworks)('under $name', (framework) => {
    const routes: readonly Route[] = ['stored', 'failing', 'later'].map((name) => ({
      method: 'POST',
      path: `/${name}`,
      // On a slow machine it takes long to make connections anew.
      ...(name === 'later' ? { transaction: { deadlineMs: 60_000 } } : {}),
      async handle({ body, send }) {
        await datastore.client.owner.create({ data: { name: 'Ann', dog: String(body['dog']) } })
        await datastore.client.$queryRawUnsafe('SELECT 42')
        if (name === 'failing') throw new Error('no')
        send(201, {})
      },
    }))
    let server: RunningServer
    beforeAll(async () => {
      server = await framework.start(datastore, routes)
    })
    afterAll(async () => await server.close())

    const post = async (path: string): Promise<{ status: number; code: unknown; dog: string }> => {
      const dog = crypto.randomUUID()
      const response = await fetch(server.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ dog }),
        signal: AbortSignal.timeout(soonMs),
      })
      const { code } = (await response.json()) as { code?: unknown }
      return { status: response.status, code, dog }
    }

    it.each([
      ['BEGIN', '/stored', 503, 'ES_TRANSACTION_TIMEOUT'],
      ['INSERT INTO', '/stored', 503, 'ES_TRANSACTION_TIMEOUT'],
      ['SELECT 42', '/stored', 503, 'ES_TRANSACTION_TIMEOUT'],
      ['COMMIT', '/stored', 500, 'ES_COMMIT_UNKNOWN'],
      ['ROLLBACK', '/failing', 500, undefined],
    ] as const)(
      'answers although they freeze at %s, and has whole connections then',
      async (marker, path, status, code) => {
        const answers = await freezeAll(marker, () => post(path))
        expect(answers).toEqual(answers.map(({ dog }) => ({ status, code, dog })))
        const stored = await Promise.all(Array.from({ length: poolSize }, () => post('/later')))
        expect(stored.map((answer) => answer.status)).toEqual([201, 201])
        await expect.poll(busy, { timeout: soonMs }).toBe(0)
        expect(await dogs()).toEqual(expect.not.arrayContaining(answers.map(({ dog }) => dog)))
        // The MariaDB connector says that a connection is gone when it has killed it on the server.
        await expect.poll(() => datastore.stats, { timeout: soonMs }).toMatchObject({ open: 0, waiting: 0 })
      },
    )
  })

  it('are let go of at the deadline by work without a web framework', async () => {
    const work = (): Promise<unknown> =>
      datastore.transaction(async () => {
        await datastore.client.owner.create({ data: { name: 'Ann', dog: crypto.randomUUID() } })
      })
    const late = await freezeAll('INSERT INTO', () => work().catch((error: unknown) => error))
    expect(late.map((error) => error instanceof TransactionTimeoutError)).toEqual([true, true])
    const unknown = await freezeAll('COMMIT', () => work().catch((error: unknown) => error))
    expect(unknown.map((error) => error instanceof CommitUnknownError)).toEqual([true, true])
  })

  it.each(['BEGIN', 'INSERT INTO', 'COMMIT', 'ROLLBACK'])(
    'do not keep close() waiting that are frozen at %s',
    async (marker) => {
      const closing = open({ deadlineMs: 60_000 })
      const before = proxy.frozen
      proxy.freezeAt(marker)
      const work = closing.transaction(async () => {
        await closing.client.owner.create({ data: { name: 'Ann', dog: crypto.randomUUID() } })
        if (marker === 'ROLLBACK') throw new Error('no')
      })
      const ended = work.catch((error: unknown) => error)
      await expect.poll(() => proxy.frozen - before, { timeout: soonMs }).toBe(1)
      const startedAt = performance.now()
      await closing.close({ timeoutMs: 100 })
      expect(performance.now() - startedAt).toBeLessThan(soonMs)
      expect(await ended).toBeInstanceOf(Error)
      proxy.freezeAt(undefined)
      await expect.poll(busy, { timeout: soonMs }).toBe(0)
    },
  )

  it('do not keep close() waiting for a statement outside of transactions', async () => {
    const closing = open()
    const before = proxy.frozen
    proxy.freezeAt('SELECT 43')
    const asked = closing.client.$queryRawUnsafe('SELECT 43').catch((error: unknown) => error)
    await expect.poll(() => proxy.frozen - before, { timeout: soonMs }).toBe(1)
    await closing.close({ timeoutMs: 100 })
    proxy.freezeAt(undefined)
    if (kind.provider === 'postgresql') expect(await asked).toBeInstanceOf(Error)
  })
})
