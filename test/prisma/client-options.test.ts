/** What the user has told the PrismaClient holds for all transactions of the datastore, and its logs and messages tell of them. */
import { AsyncResource } from 'node:async_hooks'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  OverloadedError,
  PrismaDatastore,
  type PrismaDatastoreOptions,
  TransactionTimeoutError,
} from '../../src/index.js'
import { type ClientOptions, oneOfEach, type TestDatabase } from '../support/databases.js'
import type { TestClient } from './open-database.js'

type Options = Omit<PrismaDatastoreOptions<TestClient>, 'adapter' | 'client'>
/** What is not typed for a client without the option `log`. */
interface Listening {
  $on(event: 'query', listener: (event: { readonly query: string }) => void): unknown
}

const later = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms))
const errorOf = async (work: PromiseLike<unknown>): Promise<Error & { readonly code?: unknown }> => {
  try {
    await work
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('it has not failed')
}

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  const ended: Array<() => Promise<unknown>> = []
  beforeAll(async () => {
    database = await kind.createDatabase()
  })
  afterAll(async () => {
    for (const end of ended) await end()
    await database.drop()
  })
  beforeEach(async () => {
    for (const table of ['toys', 'owners']) await database.query(`DELETE FROM ${table}`)
  })

  const queries: string[] = []
  function open(clientOptions: ClientOptions, options: Options = {}): PrismaDatastore<TestClient> {
    const datastore = new PrismaDatastore<TestClient>({
      ...options,
      adapter: database.adapter(),
      client: (adapter) => listened(database.newClient(adapter, clientOptions), clientOptions),
    })
    ended.push(async () => await datastore.close({ timeoutMs: Infinity }))
    return datastore
  }
  function openPlain(clientOptions: ClientOptions): TestClient {
    const client = listened(database.newClient(database.adapter(), clientOptions), clientOptions)
    ended.push(async () => await client.$disconnect())
    return client
  }
  function listened(client: object, { log }: ClientOptions): TestClient {
    if (log !== undefined) (client as Listening).$on('query', ({ query }) => queries.push(query))
    return client as TestClient
  }
  async function queriesOf(work: () => Promise<unknown>): Promise<string[]> {
    queries.length = 0
    await work()
    return [...queries]
  }
  const log: ClientOptions['log'] = [{ emit: 'event', level: 'query' }]
  const create = async (db: Pick<TestClient, 'owner'>, dog: string): Promise<unknown> =>
    await db.owner.create({ data: { name: 'Ann', dog } })

  it('takes its timeout for every transaction, and tells it in the words of who has begun that', async () => {
    const datastore = open({ transactionOptions: { timeout: 150 } })
    const { client } = datastore
    const slow = async (): Promise<void> => {
      await create(client, 'Fido')
      await later(600)
      await create(client, 'Rex')
    }
    const ofPrisma = await errorOf(client.$transaction(slow))
    expect([ofPrisma.constructor.name, ofPrisma.code]).toEqual(['PrismaClientKnownRequestError', 'P2028'])
    expect(ofPrisma.cause).toBeInstanceOf(TransactionTimeoutError)
    await expect(datastore.transaction(slow)).rejects.toBeInstanceOf(TransactionTimeoutError)
    expect(await client.owner.count()).toBe(0)
    await client.$transaction(async () => await later(300), { timeout: 20_000 })
    await datastore.transaction(async () => await slow(), { deadlineMs: 20_000 })
    expect(await client.owner.count()).toBe(2)
  })

  it.skipIf(kind.provider !== 'sqlite')('takes how long it waits to begin, too', async () => {
    const datastore = open({ transactionOptions: { maxWait: 100 } })
    const { client } = datastore
    const outside = async (): Promise<unknown> => await create(client, 'Rex')
    // Code inside the transaction that has the writer would be refused at once.
    const holder = new AsyncResource('test')
    await datastore.transaction(async () => {
      await create(client, 'Fido')
      const [ofPrisma, ours] = await holder.runInAsyncScope(
        async () => await Promise.all([errorOf(client.$transaction(outside)), errorOf(datastore.transaction(outside))]),
      )
      expect([ofPrisma?.code, ofPrisma?.message]).toEqual(['P2028', expect.stringContaining('Unable to start')])
      expect(ours).toBeInstanceOf(OverloadedError)
    })
    expect(await client.owner.count()).toBe(1)
  })

  it('takes the deadline of the datastore before it', async () => {
    const datastore = open({ transactionOptions: { timeout: 100 } }, { deadlineMs: 20_000 })
    const slow = async (): Promise<unknown> => {
      await create(datastore.client, 'Fido')
      await later(400)
      return await datastore.client.owner.deleteMany()
    }
    await datastore.client.$transaction(slow)
    await datastore.transaction(slow)
  })

  it('ends a part at the timeout that it is given, and goes on around it', async () => {
    const datastore = open({})
    const { client } = datastore
    await datastore.transaction(async () => {
      await create(client, 'Fido')
      const part = client.$transaction(
        async (tx) => {
          await create(tx, 'Rex')
          await later(600)
          await create(tx, 'Ace')
        },
        { timeout: 150 },
      )
      const error = await errorOf(part)
      expect([error.code, error.cause]).toEqual(['P2028', expect.any(TransactionTimeoutError)])
      await create(client, 'Spot')
    })
    expect((await client.owner.findMany({ orderBy: { dog: 'asc' } })).map(({ dog }) => dog)).toEqual(['Fido', 'Spot'])
  })

  it.skipIf(kind.provider === 'sqlite')('takes its isolation level for every transaction', async () => {
    const datastore = open({ transactionOptions: { isolationLevel: 'Serializable' } })
    const level = async (db: Pick<TestClient, '$queryRawUnsafe'> = datastore.client): Promise<unknown> => {
      const sql =
        kind.provider === 'mysql'
          ? 'SELECT trx_isolation_level AS level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = connection_id()'
          : "SELECT current_setting('transaction_isolation') AS level"
      // InnoDB lists a transaction from its first read on, and its list is made anew every 100 ms.
      await db.$queryRawUnsafe('SELECT dog FROM owners')
      if (kind.provider === 'mysql') await later(200)
      const [row] = await db.$queryRawUnsafe<Array<{ level: string }>>(sql)
      return row?.level.toLowerCase()
    }
    expect(await datastore.client.$transaction(async (tx) => await level(tx))).toBe('serializable')
    expect(await datastore.transaction(async () => await level())).toBe('serializable')
    expect(
      await datastore.transaction(async () => await datastore.client.$transaction(async (tx) => await level(tx))),
    ).toBe('serializable')
    const managed = datastore.begin()
    expect(await managed.run(async () => await level())).toBe('serializable')
    await managed.rollback()
    const read = { isolationLevel: 'ReadCommitted' } as const
    expect(await datastore.transaction(async () => await level(), read)).toMatch(/^read.committed$/)
    expect(await datastore.client.$transaction(async (tx) => await level(tx), read)).toMatch(/^read.committed$/)
  })

  it('tells the same queries of $transaction, with its end', async () => {
    const plain = openPlain({ log })
    const { client } = open({ log })
    const forms: Record<string, (db: TestClient) => Promise<unknown>> = {
      commit: async (db) => await db.$transaction(async (tx) => await tx.owner.count()),
      rollback: async (db) =>
        await db
          .$transaction(async (tx) => {
            await tx.owner.count()
            throw new Error('undo')
          })
          .catch(() => undefined),
      array: async (db) => await db.$transaction([db.owner.count(), db.toy.count()]),
    }
    for (const form of Object.values(forms)) {
      const expected = await queriesOf(() => form(plain))
      expect(expected.length).toBeGreaterThan(1)
      expect(await queriesOf(() => form(client))).toEqual(expected)
    }
  })

  it('sends reads by unique fields that are asked for together as one, in every form', async () => {
    const datastore = open({ log })
    const { client } = datastore
    for (const dog of ['Fido', 'Rex', 'Spot']) await create(client, dog)
    const reads = (db: Pick<TestClient, 'owner'>) =>
      ['Spot', 'Fido', 'none'].map((dog) => db.owner.findUnique({ where: { dog }, select: { dog: true } }))
    const found = [{ dog: 'Spot' }, { dog: 'Fido' }, null]
    const selects = async (work: () => Promise<unknown>): Promise<number> =>
      (await queriesOf(async () => expect(await work()).toEqual(found))).filter((query) => query.startsWith('SELECT'))
        .length
    const array = async (): Promise<unknown> => await client.$transaction(reads(client))
    const callback = async (): Promise<unknown> => await client.$transaction(async (tx) => await Promise.all(reads(tx)))
    for (const work of [array, callback, async () => await Promise.all(reads(client))]) {
      expect(await selects(work)).toBe(1)
      expect(await selects(async () => await datastore.transaction(async () => await work()))).toBe(1)
    }
  })

  it('tells file, line and code of a call that fails', async () => {
    const { client } = open({})
    await create(client, 'Fido')
    const data = { name: 'Ann', dog: 'Fido' }
    const calls: Record<string, () => Promise<unknown>> = {
      outside: async () => await client.owner.create({ data }),
      part: async () => await client.$transaction(async (tx) => await tx.owner.create({ data })),
      async array() {
        const failing = client.owner.create({ data })
        return await client.$transaction([client.toy.count(), failing])
      },
    }
    for (const call of Object.values(calls)) {
      const { message } = await errorOf(call())
      expect(message).toMatch(
        /Invalid `\S*\.owner\.create\(\)` invocation in\n\S*client-options\.test\.ts:\d+:\d+\n\n(.*\n)*→ .*owner\.create\(/,
      )
    }
  })

  it('keeps a transaction outside of one that Prisma sends something for in the same tick', async () => {
    const datastore = open({})
    const { client } = datastore
    const undo = new Error('undo')
    for (let distance = 0; distance < 8; distance += 1) {
      const undone = datastore.transaction(async () => {
        await client.owner.count()
        await Promise.all([client.owner.findMany(), client.toy.findMany()])
        throw undo
      })
      const kept = (async () => {
        for (let tick = 0; tick < distance * 3; tick += 1) await Promise.resolve()
        await client.$transaction([
          client.owner.create({ data: { name: 'Ann', dog: `one ${distance}` } }),
          client.owner.create({ data: { name: 'Ann', dog: `two ${distance}` } }),
        ])
      })()
      await expect(undone).rejects.toBe(undo)
      await kept
    }
    expect(await client.owner.count()).toBe(16)
  })

  it('refuses a COMMIT and a ROLLBACK that the work of $transaction sends', async () => {
    const { client } = open({})
    for (const sql of ['COMMIT', 'ROLLBACK']) {
      const ending = client.$transaction(async (tx) => {
        await create(tx, 'Fido')
        await tx.$executeRawUnsafe(sql)
      })
      await expect(ending, sql).rejects.toThrow()
    }
    expect(await client.owner.count()).toBe(0)
  })
})
