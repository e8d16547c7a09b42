/** Transactions inside of others on a pool that is too small: they fail at once instead of waiting for each other. */
import { createPool } from 'mariadb'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  NAMESPACE_URL,
  PoolExhaustedError,
  PrismaApplicationRecorder,
  PrismaDatastore,
  type TransactionOptions,
  uuid5,
} from '../../src/index.js'
import { poolSizeOf } from '../../src/prisma/driver-pool.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { adapterOf } from '../support/pools.js'
import { newGate } from './gate.js'
import type { TestClient } from './open-database.js'

/** Of them no transaction here may need one. */
const deadlineMs = 30_000

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await kind.createDatabase()
  })
  afterAll(async () => await database.drop())
  beforeEach(async () => {
    await database.query('DELETE FROM owners')
    await database.query('DELETE FROM stored_events')
  })

  const dogs = async (): Promise<string[]> =>
    (await database.query('SELECT dog FROM owners')).map((row) => String(row['dog'])).sort()

  const withPool = async (
    poolSize: number,
    work: (datastore: PrismaDatastore<TestClient>) => Promise<void>,
  ): Promise<void> => {
    const datastore = new PrismaDatastore<TestClient>({
      adapter: adapterOf(kind, database.url, poolSize),
      client: (adapter) => database.newClient(adapter) as TestClient,
      deadlineMs,
    })
    try {
      await work(datastore)
    } finally {
      await datastore.close()
    }
  }

  const streamOf = (dog: string): string => uuid5(NAMESPACE_URL, `/dogs/${dog}`)

  /**
   * A row in a transaction, and an event in another inside of it. They are in different tables: on one, the locks of the outer
   * transaction can hold up the inner one, which no database sees as a deadlock.
   */
  const rowAndEvent = async (
    datastore: PrismaDatastore<TestClient>,
    dog: string,
    options: TransactionOptions = {},
  ): Promise<void> => {
    const recorder = new PrismaApplicationRecorder(datastore)
    await datastore.transaction(async () => {
      await datastore.client.owner.create({ data: { name: 'Ann', dog } })
      const inner = async (): Promise<unknown> => await recorder.insertEvents([storedEvent(streamOf(dog), 1)])
      await datastore.transaction(inner, { propagation: 'requiresNew' })
    }, options)
  }
  const streams = async (datastore: PrismaDatastore<TestClient>): Promise<string[]> =>
    (await new PrismaApplicationRecorder(datastore).selectNotifications(null, 1_000)).map((event) => event.originatorId)

  it.each([2, 3])(
    'a pool of %i serves some of many at once, refuses the others, and none waits for ever',
    async (size) => {
      await withPool(size, async (datastore) => {
        const stored: string[] = []
        for (let round = 0; round < 5; round += 1) {
          const names = Array.from({ length: 12 }, (_, n) => `${size} ${round} ${n}`)
          const results = await Promise.allSettled(names.map((name) => rowAndEvent(datastore, name)))
          for (const [n, result] of results.entries()) {
            if (result.status === 'fulfilled') stored.push(names[n] ?? '')
            else expect(result.reason).toMatchObject({ code: 'ES_POOL_EXHAUSTED', retryable: true })
          }
          expect(await dogs()).toEqual(stored.sort())
          expect((await streams(datastore)).sort()).toEqual(stored.map(streamOf).sort())
          const { open, waiting } = datastore.stats
          expect([open, waiting]).toEqual([0, 0])
        }
        // As many as there are connections are open at once: none was lost.
        const gate = newGate()
        let opened = 0
        await Promise.all(
          Array.from({ length: size }, () =>
            datastore.transaction(async () => {
              await datastore.client.owner.count()
              opened += 1
              if (opened === size) gate.open()
              await gate.opened
            }),
          ),
        )
        expect(opened).toBe(size)
      })
    },
  )

  it('the last of them is refused as soon as it asks, and the others go on', async () => {
    await withPool(2, async (datastore) => {
      const holds = [newGate(), newGate()]
      const goes = newGate()
      const recorder = new PrismaApplicationRecorder(datastore)
      const transaction = async (n: number): Promise<void> =>
        await datastore.transaction(async () => {
          await datastore.client.owner.create({ data: { name: 'Ann', dog: `dog ${n}` } })
          holds[n]?.open()
          await goes.opened
          const inner = async (): Promise<unknown> =>
            await recorder.insertEvents([storedEvent(streamOf(`dog ${n}`), 1)])
          await datastore.transaction(inner, { propagation: 'requiresNew' })
        })
      const all = Promise.allSettled([transaction(0), transaction(1)])
      await Promise.all(holds.map(({ opened }) => opened))
      goes.open()
      const results = await all
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      const refused = results.find((result) => result.status === 'rejected')
      expect(refused?.reason).toBeInstanceOf(PoolExhaustedError)
      expect(refused?.reason).toMatchObject({
        message: expect.stringContaining(
          'all 2 connections of the pool are held by 2 transactions that wait for another',
        ),
      })
      expect(await streams(datastore)).toEqual((await dogs()).map(streamOf))
    })
  })

  it('with retries all are stored in the end', async () => {
    await withPool(3, async (datastore) => {
      const names = Array.from({ length: 6 }, (_, n) => `${n}`)
      await Promise.all(names.map((name) => rowAndEvent(datastore, name, { retries: 100 })))
      expect([await dogs(), (await streams(datastore)).length]).toEqual([names, 6])
    })
  })

  it('what is deeper than the pool is refused for good', async () => {
    await withPool(1, async (datastore) => {
      const error: unknown = await rowAndEvent(datastore, 'x', { retries: 5 }).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'ES_POOL_EXHAUSTED', retryable: false })
      expect(error).toMatchObject({
        message: expect.stringContaining('number 2 inside of each other, and the pool has 1'),
      })
      expect(datastore.stats).toMatchObject({ retries: 0, open: 0 })
      expect(await dogs()).toEqual([])
    })
  })

  it('a transaction in work that has stepped out of another is one inside of it, too, also one of Prisma', async () => {
    await withPool(1, async (datastore) => {
      const { client: db } = datastore
      const inside = async (work: () => Promise<unknown>): Promise<unknown> =>
        await datastore.transaction(async () => {
          await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
          await datastore.transaction(work, { propagation: 'notSupported' })
        })
      const ours = async () => await datastore.transaction(async () => await db.owner.count())
      await expect(inside(ours)).rejects.toMatchObject({ code: 'ES_POOL_EXHAUSTED' })
      await expect(inside(async () => await db.$transaction(async (tx) => await tx.owner.count()))).rejects.toThrow(
        'Could not begin a transaction inside another one',
      )
      expect(await dogs()).toEqual([])
    })
  })

  it('transactions that wait for each other by their pool alone, and not inside of each other, just wait', async () => {
    await withPool(1, async (datastore) => {
      const names = Array.from({ length: 5 }, (_, n) => `dog ${n}`)
      await Promise.all(
        names.map((dog) =>
          datastore.transaction(async () => await datastore.client.owner.create({ data: { name: 'Ann', dog } })),
        ),
      )
      expect(await dogs()).toEqual(names)
    })
  })

  /** Runs work while a transaction holds the only connection; `release` ends that. */
  async function whileHeld(
    work: (datastore: PrismaDatastore<TestClient>, release: () => void) => Promise<void>,
  ): Promise<void> {
    await withPool(1, async (datastore) => {
      const isHeld = newGate()
      const isDone = newGate()
      const first = datastore.transaction(
        async (tx) => {
          await tx.client.owner.count()
          isHeld.open()
          await isDone.opened
        },
        { begin: 'first-statement', deadlineMs: 30_000 },
      )
      await isHeld.opened
      try {
        await work(datastore, () => isDone.open())
      } finally {
        isDone.open()
        await first
      }
    })
  }

  it('who waits for a connection for too long leaves the line', async () => {
    await whileHeld(async (datastore) => {
      const second = datastore.transaction(async (tx) => await tx.client.owner.count(), { maxWaitMs: 50 })
      await expect(second).rejects.toMatchObject({
        code: 'ES_OVERLOADED',
        retryable: false,
        message: expect.stringContaining(
          'a connection of the pool (1) was not free within 50 ms, and 0 others wait for it',
        ),
      })
      expect(datastore.stats).toMatchObject({ waiting: 0, overloads: 1, timeouts: 0 })
    })
  })

  it('waiting for a connection is not charged to the deadline', async () => {
    await whileHeld(async (datastore, release) => {
      const second = datastore.transaction(async (tx) => await tx.client.owner.count(), { deadlineMs: 400 })
      await new Promise((resolve) => setTimeout(resolve, 600))
      expect(datastore.stats).toMatchObject({ waiting: 1, timeouts: 0 })
      release()
      expect(await second).toBe(0)
    })
  })
})

describe('the size of a pool', () => {
  it('is read from the pools of both drivers', async () => {
    const pools = [new pg.Pool(), new pg.Pool({ max: 7 })]
    expect(pools.map(poolSizeOf)).toEqual([10, 7])
    const options = { host: '127.0.0.1', port: 1, initializationTimeout: 1 }
    const others = [createPool(options), createPool({ ...options, connectionLimit: 7 })]
    expect(others.map(poolSizeOf)).toEqual([10, 7])
    await Promise.all([...pools, ...others].map((pool) => pool.end()))
  })

  it('is not known of others', () => {
    expect([undefined, null, {}, { options: {} }, { options: { max: '5' } }, 'limit=3'].map(poolSizeOf)).toEqual(
      Array.from({ length: 6 }, () => undefined),
    )
  })
})
