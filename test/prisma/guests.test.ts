/** Guests of Prisma go from transaction to transaction: the next one finds nothing of those before it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { PrismaDatastore, TransactionClosedError } from '../../src/index.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'
import type { TestClient } from './open-database.js'

type AdapterFactory = PrismaDatastore['adapter']

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  let db: TestClient
  /** How often Prisma has begun a transaction, which is a guest here, and how often it has connected. */
  let opened: number
  let connected = 0

  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      onEscape: 'off',
      client: (adapter) => database.newClient(counting(adapter)) as TestClient,
    })
    db = datastore.client
  })
  afterAll(async () => {
    await datastore.close({ timeoutMs: Infinity })
    await database.drop()
  })
  beforeEach(async () => {
    await db.owner.deleteMany()
    opened = 0
  })

  /** Each adapter is to be wrapped in the one of the datastore, which counts. */
  function counting(factory: AdapterFactory): AdapterFactory {
    return {
      provider: factory.provider,
      adapterName: factory.adapterName,
      async connect() {
        connected += 1
        const adapter = await factory.connect()
        const begin = adapter.startTransaction.bind(adapter)
        adapter.startTransaction = async (level) => {
          opened += 1
          return await begin(level)
        }
        return adapter
      },
    }
  }
  const create = async (dog: string): Promise<unknown> => await db.owner.create({ data: { name: 'Ann', dog } })
  const dogs = async (): Promise<string[]> =>
    (await db.owner.findMany({ orderBy: { dog: 'asc' } })).map(({ dog }) => dog)
  // No model read, which needs no guest where nothing has begun.
  const settled = async (): Promise<void> =>
    await datastore.transaction(async () => void (await db.$queryRaw`SELECT 1`))

  it('opens none for the transactions that follow one that has committed', async () => {
    await settled()
    opened = 0
    for (const dog of ['Ace', 'Fido', 'Rex']) await datastore.transaction(async () => await create(dog))
    expect(opened).toBe(0)
    expect(await dogs()).toEqual(['Ace', 'Fido', 'Rex'])
  })

  it('opens another one after a transaction that was rolled back, or had a call that failed', async () => {
    await create('Rex')
    await settled()
    opened = 0
    const undo = new Error('undo')
    await expect(
      datastore.transaction(async () => {
        await create('Ace')
        throw undo
      }),
    ).rejects.toBe(undo)
    await datastore.transaction(async () => await create('Fido'))
    expect(opened).toBe(1)
    await datastore.transaction(async (tx) => {
      const part = datastore.transaction(async () => await create('Rex'), { propagation: 'nested' })
      await expect(part).rejects.toThrow('Unique constraint')
      expect(tx.state).toBe('open')
    })
    await datastore.transaction(async () => await create('Spot'))
    expect(opened).toBe(2)
    expect(await dogs()).toEqual(['Fido', 'Rex', 'Spot'])
  })

  it('refuses a call that was made in one transaction and is awaited in the next', async () => {
    let late: PromiseLike<unknown> | undefined
    await datastore.transaction(async (tx) => {
      await db.owner.count()
      late = tx.client.owner.create({ data: { name: 'Ann', dog: 'Rex' } })
    })
    await datastore.transaction(async () => {
      await create('Fido')
      await expect(late).rejects.toBeInstanceOf(TransactionClosedError)
    })
    expect(await dogs()).toEqual(['Fido'])
  })

  it('lets nothing that a query extension leaves behind come to the next transaction', async () => {
    let leave: (() => void) | undefined
    let left: Promise<unknown> | undefined
    const extended = db.$extends({
      query: {
        owner: {
          async create({ args, query }) {
            const isLate = new Promise<void>((resolve) => (leave = resolve))
            left = isLate.then(async () => await query(args))
            left.catch(() => undefined)
            return null as never
          },
        },
      },
    })
    await datastore.transaction(async () => await extended.owner.create({ data: { name: 'Ann', dog: 'Rex' } }))
    await datastore.transaction(async () => {
      await extended.owner.count()
      leave?.()
      await expect(left).rejects.toThrow()
    })
    expect(await dogs()).toEqual([])
  })

  it('opens another one after a call that Prisma has refused', async () => {
    await settled()
    opened = 0
    await datastore.transaction(async () => {
      const unknown = { nobody: 'knows' } as unknown as { dog: string }
      await expect(db.owner.findUnique({ where: unknown })).rejects.toThrow('nobody')
    })
    await settled()
    expect(opened).toBe(1)
  })

  it('opens another one in place of one that is an hour old', async () => {
    await settled()
    opened = 0
    const now = performance.now() + 3_600_001
    const clock = vi.spyOn(performance, 'now').mockReturnValue(now)
    try {
      await settled()
    } finally {
      clock.mockRestore()
    }
    expect(opened).toBe(1)
  })

  it('keeps no more than 32 after many transactions at once', async () => {
    const burst = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 40 }, settled))
    }
    await burst()
    opened = 0
    await burst()
    expect(opened).toBe(40 - 32)
  })

  it('opens one for each transaction of a client that hides its extensions', async () => {
    const hiding = (base: TestClient): TestClient => {
      const extended = base.$extends({ query: { owner: { findMany: ({ args, query }) => query(args) } } })
      const get = (target: TestClient, name: string | symbol): unknown =>
        Reflect.get(extended, name) ?? Reflect.get(target, name)
      return new Proxy(base, { get })
    }
    const special = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => hiding(database.newClient(counting(adapter)) as TestClient),
    })
    try {
      for (const dog of ['Ace', 'Rex']) {
        await special.transaction(async (tx) => await tx.client.owner.create({ data: { name: 'Ann', dog } }))
      }
    } finally {
      await special.client.$disconnect()
      await special.close()
    }
    expect(opened).toBe(2)
    expect(await dogs()).toEqual(['Ace', 'Rex'])
  })

  it('calls no $transaction that has been put before that of Prisma', async () => {
    let called = 0
    const limited = (base: TestClient): TestClient => {
      const begin = base.$transaction.bind(base) as (work: unknown, options: object) => Promise<unknown>
      const $transaction = async (work: unknown, options: object): Promise<unknown> => {
        called += 1
        return await begin(work, { ...options, timeout: 60_000 })
      }
      return Object.assign(base, { $transaction })
    }
    const special = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => limited(database.newClient(counting(adapter)) as TestClient),
    })
    const { client } = special
    try {
      await special.transaction(async () => await client.owner.create({ data: { name: 'Ann', dog: 'Ace' } }))
      expect(called).toBe(0)
      await client.$transaction(async (tx) => await tx.owner.create({ data: { name: 'Ann', dog: 'Rex' } }))
      expect(called).toBe(1)
    } finally {
      await client.$disconnect()
      await special.close()
    }
    expect(await dogs()).toEqual(['Ace', 'Rex'])
  })

  it('opens another one after $disconnect', async () => {
    await settled()
    opened = 0
    await db.$disconnect()
    await datastore.transaction(async () => await create('Rex'))
    expect(opened).toBe(1)
    expect(await dogs()).toEqual(['Rex'])
  })

  it('does not connect again to close what $disconnect has ended', async () => {
    const closing = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => database.newClient(counting(adapter)) as TestClient,
    })
    await closing.transaction(async (tx) => await tx.client.owner.count())
    await closing.client.$disconnect()
    const before = connected
    await closing.close()
    expect(connected).toBe(before)
  })

  it.skipIf(kind.provider === 'sqlite')(
    'gives transactions side by side a guest each, and takes all of them again',
    async () => {
      const sideBySide = async (prefix: string): Promise<void> => {
        await Promise.all(
          ['Ace', 'Rex', 'Tom'].map(
            async (dog) =>
              await datastore.transaction(async () => {
                await create(`${prefix} ${dog}`)
                await db.owner.findUnique({ where: { dog: `${prefix} ${dog}` } })
              }),
          ),
        )
      }
      await sideBySide('old')
      opened = 0
      await sideBySide('new')
      expect(opened).toBe(0)
      expect(await dogs()).toHaveLength(6)
    },
  )
})
