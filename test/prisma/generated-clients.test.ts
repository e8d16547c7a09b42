/** The clients of both of Prisma's generators, and extended ones, keep their types and join the transaction. */
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from 'vitest'
import { PrismaDatastore, type PrismaDatastoreOptions } from '../../src/index.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { PrismaClient } from '../support/generated/sqlite/client.js'
import { PrismaClient as OlderClient } from '../support/generated/sqlite-js/index.js'

type Adapter = Parameters<NonNullable<PrismaDatastoreOptions<object>['client']>>[0]

const failure = new Error('the request fails')
const fails = (): never => {
  throw failure
}

/** Extensions of all four kinds: methods of a model, of the client, fields of results, hooks on queries. */
const newExtended = (adapter: Adapter) =>
  new PrismaClient({ adapter }).$extends({
    client: { greeting: (name: string) => `Hello ${name}` },
    model: { owner: { named: (name: string) => ({ where: { name } }) } },
    result: {
      owner: { label: { needs: { name: true, dog: true }, compute: ({ name, dog }) => `${name} and ${dog}` } },
    },
    query: { owner: { create: ({ args, query }) => query(args) } },
  })

for (const { name, createDatabase } of databasesOf('sqlite')) {
  describe(`a datastore on ${name}`, () => {
    let database: TestDatabase

    beforeEach(async () => {
      database = await createDatabase()
    })

    afterEach(async () => {
      await database.drop()
    })

    it('takes a client of the generator prisma-client', async () => {
      await using datastore = new PrismaDatastore({
        adapter: database.adapter(),
        client: (adapter) => new PrismaClient({ adapter }),
      })
      expectTypeOf(datastore.client).toEqualTypeOf<PrismaClient>()
      const owner = await datastore.transaction(async () => {
        return await datastore.client.owner.create({ data: { name: 'Ann', dog: 'Fido' }, select: { dog: true } })
      })
      expectTypeOf(owner).toEqualTypeOf<{ dog: string }>()
      expect(owner).toEqual({ dog: 'Fido' })
    })

    it('takes a client of the generator prisma-client-js', async () => {
      await using datastore = new PrismaDatastore({
        adapter: database.adapter(),
        client: (adapter) => new OlderClient({ adapter }),
      })
      expectTypeOf(datastore.client).toEqualTypeOf<OlderClient>()
      const create = async (dog: string) =>
        await datastore.client.owner.create({ data: { name: 'Ann', dog }, include: { toys: true } })
      const owner = await datastore.transaction(async () => await create('Fido'))
      expectTypeOf(owner.toys).toEqualTypeOf<Array<{ id: number; name: string; ownerId: number }>>()
      await expect(datastore.transaction(async () => [await create('Rex'), fails()])).rejects.toBe(failure)
      expect(await datastore.client.owner.findMany({ select: { dog: true } })).toEqual([{ dog: 'Fido' }])
    })

    it('takes an extended client with its extensions', async () => {
      await using datastore = new PrismaDatastore({ adapter: database.adapter(), client: newExtended })
      const { client } = datastore
      expectTypeOf(client).toEqualTypeOf<ReturnType<typeof newExtended>>()
      const create = async (dog: string) => (await client.owner.create({ data: { name: 'Ann', dog } })).label
      expectTypeOf(create).returns.resolves.toEqualTypeOf<string>()
      expect(await datastore.transaction(async () => await create('Fido'))).toBe('Ann and Fido')
      await expect(datastore.transaction(async () => [await create('Rex'), fails()])).rejects.toBe(failure)
      const found = await datastore.transaction(async (tx) => await tx.client.owner.findMany(client.owner.named('Ann')))
      expect(found.map(({ label }) => label)).toEqual(['Ann and Fido'])
      expect(client.greeting('Ann')).toBe('Hello Ann')
    })
  })
}
