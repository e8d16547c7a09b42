/** Extensions of the user's client, which know other clients than the ambient one: what they do by those joins the transaction. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NAMESPACE_URL, PrismaApplicationRecorder, PrismaDatastore, uuid5 } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'
import { Prisma } from '../support/generated/postgresql/client.js'
import type { TestClient } from './open-database.js'

type Extend = (client: TestClient) => unknown
type Create = (dog: string) => Promise<unknown>
/** An array form as extensions write it, of what `query` gives. */
type AnyTransaction = (operations: readonly unknown[]) => Promise<unknown[]>

const undo = new Error('undo')
const fido = uuid5(NAMESPACE_URL, '/dogs/fido')

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  const opened: Array<PrismaDatastore<TestClient>> = []
  beforeAll(async () => {
    database = await kind.createDatabase()
  })
  afterAll(async () => {
    for (const datastore of opened) await datastore.close({ timeoutMs: Infinity })
    await database.drop()
  })
  beforeEach(async () => {
    for (const table of ['toys', 'owners', 'stored_events']) await database.query(`DELETE FROM ${table}`)
  })

  /** The extension where the client is made, and on top of the ambient one. */
  function both(extend: Extend): Array<{ datastore: PrismaDatastore<TestClient>; db: TestClient; create: Create }> {
    const made = (client: (base: TestClient) => TestClient): PrismaDatastore<TestClient> => {
      const datastore = new PrismaDatastore<TestClient>({
        adapter: database.adapter(),
        client: (adapter) => client(database.newClient(adapter) as TestClient),
      })
      opened.push(datastore)
      return datastore
    }
    const below = made((base) => extend(base) as TestClient)
    const above = made((base) => base)
    const clients = [
      { datastore: below, db: below.client },
      { datastore: above, db: extend(above.client) as TestClient },
    ]
    return clients.map(({ datastore, db }) => ({
      datastore,
      db,
      create: async (dog) => await db.owner.create({ data: { name: 'Ann', dog } }),
    }))
  }
  const dogs = async (): Promise<string[]> =>
    (await database.query('SELECT dog FROM owners')).map(({ dog }) => String(dog)).sort()
  const toys = async (): Promise<number> => (await database.query('SELECT name FROM toys')).length

  /** A log that is written by the client that is extended. */
  const logging: Extend = (client) =>
    client.$extends({
      query: {
        owner: {
          async create({ args, query }) {
            const owner = await query(args)
            await client.toy.create({ data: { name: 'log', ownerId: Number(owner.id) } })
            await client.$executeRaw`UPDATE toys SET name = ${'logged'} WHERE name = ${'log'}`
            return owner
          },
        },
      },
    })

  it('a query extension writes by the client that it extends, in the transaction', async () => {
    for (const { datastore, create } of both(logging)) {
      await datastore.transaction(async () => {
        await Promise.all([create('Fido'), create('Rex')])
        expect(await toys()).toBe(0)
      })
      expect([await dogs(), await toys()]).toEqual([['Fido', 'Rex'], 2])
      const undone = datastore.transaction(async () => {
        await create('Ace')
        throw undo
      })
      await expect(undone).rejects.toBe(undo)
      expect([await dogs(), await toys()]).toEqual([['Fido', 'Rex'], 2])
      await create('Spot')
      expect(await toys()).toBe(3)
      for (const table of ['toys', 'owners']) await database.query(`DELETE FROM ${table}`)
    }
  })

  /** Row level security, as Prisma's own examples have it: a setting for the statement, in a batch with it. */
  const securing: Record<string, Extend> = {
    'a raw query and the operation': (client) =>
      secured(client, (query) => [client.$executeRaw`UPDATE toys SET name = name`, query]),
    'the operation and a read': (client) => secured(client, (query) => [query, client.toy.count()]),
  }
  function secured(client: TestClient, batch: (query: unknown) => readonly unknown[]): unknown {
    return client.$extends({
      query: {
        $allModels: {
          async $allOperations({ args, query }) {
            const operation: unknown = query(args)
            const operations = batch(operation)
            const results = await (client.$transaction as unknown as AnyTransaction)(operations)
            return results[operations.indexOf(operation)]
          },
        },
      },
    })
  }

  it.each(Object.entries(securing))(
    'a query extension makes a batch of %s, also side by side',
    async (_what, extend) => {
      for (const { datastore, db, create } of both(extend)) {
        const recorder = new PrismaApplicationRecorder(datastore)
        await Promise.all([db.owner.count(), db.owner.findMany()])
        await datastore.transaction(async () => {
          await Promise.all([create('Fido'), create('Rex'), recorder.insertEvents([storedEvent(fido, 1)])])
          expect(await Promise.all([db.owner.count(), db.owner.findFirst({ where: { dog: 'Rex' } })])).toEqual([
            2,
            expect.objectContaining({ dog: 'Rex' }),
          ])
          await Promise.all(Array.from({ length: 5 }, async () => await db.owner.findMany()))
          expect(await dogs()).toEqual([])
        })
        expect(await dogs()).toEqual(['Fido', 'Rex'])
        for (const table of ['owners', 'stored_events']) await database.query(`DELETE FROM ${table}`)
      }
    },
  )

  it('a query extension opens an interactive transaction around the operation', async () => {
    const careful: Extend = (client) =>
      client.$extends({
        query: {
          owner: {
            async create({ args, query }) {
              return await client.$transaction(async (tx) => {
                await tx.owner.create({ data: { name: 'log', dog: `before ${args.data.dog}` } })
                const owner = await query(args)
                if (args.data.dog === 'bad') throw undo
                return owner
              })
            },
          },
        },
      })
    for (const { datastore, create } of both(careful)) {
      await datastore.transaction(async () => {
        await Promise.all([create('Fido'), create('Rex')])
        await expect(create('bad')).rejects.toBe(undo)
        expect(await dogs()).toEqual([])
      })
      expect(await dogs()).toEqual(['Fido', 'Rex', 'before Fido', 'before Rex'])
      await database.query('DELETE FROM owners')
    }
  })

  it('methods of models and of the client join, by the clients that they know and by their context', async () => {
    const methods = (client: TestClient) =>
      client.$extends({
        model: {
          owner: {
            async adopt(dog: string) {
              return await client.owner.create({ data: { name: 'Ann', dog } })
            },
          },
          $allModels: {
            async exists<T>(this: T, where: object): Promise<boolean> {
              const context = Prisma.getExtensionContext(this) as unknown as TestClient['owner'] & {
                $parent: TestClient
              }
              return (await context.findFirst({ where })) !== null && (await context.$parent.owner.count({ where })) > 0
            },
          },
        },
        client: {
          async $adopt(dog: string) {
            await client.owner.create({ data: { name: 'Bea', dog } })
          },
        },
        result: {
          owner: { label: { needs: { name: true, dog: true }, compute: ({ name, dog }) => `${name} and ${dog}` } },
        },
      })
    for (const { datastore, db } of both(methods)) {
      const extended = db as unknown as ReturnType<typeof methods>
      const undone = datastore.transaction(async () => {
        await extended.owner.adopt('Fido')
        await extended.$adopt('Rex')
        expect(await extended.owner.exists({ dog: 'Rex' })).toBe(true)
        expect((await extended.owner.findMany({ orderBy: { dog: 'asc' } })).map(({ label }) => label)).toEqual([
          'Ann and Fido',
          'Bea and Rex',
        ])
        throw undo
      })
      await expect(undone).rejects.toBe(undo)
      expect(await dogs()).toEqual([])
    }
  })

  it('a client that a method of an extension gives joins, such as the one below it', async () => {
    const primaries = (client: TestClient) =>
      client.$extends({
        client: {
          $primary: () => client,
          $itself<T>(this: T): T {
            return this
          },
        },
      })
    for (const { datastore, db } of both(primaries)) {
      const extended = db as unknown as ReturnType<typeof primaries> & { $itself(): TestClient }
      const undone = datastore.transaction(async () => {
        await extended.$primary().owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        await extended.$itself().owner.create({ data: { name: 'Ann', dog: 'Rex' } })
        expect(await extended.$primary().owner.count()).toBe(2)
        expect(await extended.$primary().$transaction(async (tx) => await tx.owner.count())).toBe(2)
        throw undo
      })
      await expect(undone).rejects.toBe(undo)
      expect(await dogs()).toEqual([])
      await extended.$primary().owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      expect(await dogs()).toEqual(['Fido'])
      await database.query('DELETE FROM owners')
    }
  })

  it('an extension that overrides $transaction is called once, and reaches ours by the client that it wraps', async () => {
    let calls = 0
    let works = 0
    const retrying: Extend = (client) =>
      client.$extends(
        Prisma.defineExtension((prisma) =>
          prisma.$extends({
            client: {
              async $transaction(...args: unknown[]): Promise<unknown> {
                calls += 1
                for (let attempt = 1; ; attempt += 1) {
                  try {
                    return await (Reflect.apply(prisma.$transaction, prisma, args) as Promise<unknown>)
                  } catch (error) {
                    if (attempt === 3) throw error
                  }
                }
              },
            },
          }),
        ),
      )
    for (const { datastore, db } of both(retrying)) {
      const recorder = new PrismaApplicationRecorder(datastore)
      const flaky = async (): Promise<unknown> =>
        await db.$transaction(async (tx) => {
          works += 1
          await tx.owner.create({ data: { name: 'Ann', dog: `dog ${works}` } })
          await db.owner.create({ data: { name: 'Ann', dog: `joined ${works}` } })
          await recorder.insertEvents([storedEvent(fido, works)])
          if (works === 1) throw new Error('may pass')
          return await tx.owner.count()
        })
      const array = async (): Promise<unknown> => await db.$transaction([db.owner.count(), db.toy.count()])
      for (const inside of [false, true]) {
        calls = works = 0
        expect(await (inside ? datastore.transaction(flaky) : flaky())).toBe(2)
        expect({ calls, works, dogs: await dogs() }).toEqual({ calls: 1, works: 2, dogs: ['dog 2', 'joined 2'] })
        expect(await database.query('SELECT originator_version FROM stored_events')).toHaveLength(1)
        calls = 0
        expect(await (inside ? datastore.transaction(array) : array())).toEqual([2, 0])
        expect(calls).toBe(1)
        for (const table of ['owners', 'stored_events']) await database.query(`DELETE FROM ${table}`)
      }
      calls = 0
      await datastore.transaction(async (tx) => await tx.client.owner.count())
      expect(calls).toBe(0)
    }
  })
})
