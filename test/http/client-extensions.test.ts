/** Requests whose handlers use an extended client: what the extension does by the client that it extends ends with the request. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import type { TestClient } from '../prisma/open-database.js'
import { casesOn, oneOfEach, type TestDatabase } from '../support/databases.js'
import { frameworks, type Route, type RunningServer } from './servers.js'

/** An array form as extensions write it, of what `query` gives. */
type AnyTransaction = (operations: readonly unknown[]) => Promise<unknown[]>

/** A log of what is created, and a setting in a batch with each read. */
function extended(client: TestClient): TestClient {
  const inBatch: AnyTransaction = async (operations) =>
    await (client.$transaction as unknown as AnyTransaction)(operations)
  const extending = client.$extends({
    query: {
      owner: {
        async create({ args, query }) {
          const owner = await query(args)
          await client.toy.create({ data: { name: 'log', ownerId: Number(owner.id) } })
          return owner
        },
      },
      $allModels: {
        async findMany({ args, query }) {
          const [, found] = await inBatch([client.$executeRaw`UPDATE toys SET name = ${'read'}`, query(args)])
          return found as Awaited<ReturnType<typeof query>>
        },
      },
    },
  })
  return extending as unknown as TestClient
}

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => extended(database.newClient(adapter) as TestClient),
    })
  })
  afterAll(async () => {
    await datastore.close({ timeoutMs: Infinity })
    await database.drop()
  })
  beforeEach(async () => {
    for (const table of ['toys', 'owners']) await database.query(`DELETE FROM ${table}`)
  })
  const names = async (): Promise<string[]> =>
    (await database.query('SELECT name FROM toys')).map(({ name }) => String(name))

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer
    const create = async (dog: string): Promise<unknown> =>
      await datastore.client.owner.create({ data: { name: 'Ann', dog } })
    const routes: Route[] = [
      {
        method: 'POST',
        path: '/dogs',
        async handle({ body, send }) {
          await Promise.all(['Fido', 'Rex'].map(create))
          send(Number(body['status']))
        },
      },
      {
        method: 'GET',
        path: '/dogs',
        async handle({ send }) {
          const { owner, toy } = datastore.client
          const [owners, toys] = await Promise.all([owner.findMany(), toy.findMany()])
          send(200, { owners: owners.length, toys: toys.length })
        },
      },
    ]
    beforeAll(async () => {
      server = await framework.start(datastore, routes)
    })
    afterAll(async () => await server.close())
    const post = async (status: number): Promise<number> => {
      const body = JSON.stringify({ status })
      const headers = { 'content-type': 'application/json' }
      return (await fetch(`${server.url}/dogs`, { method: 'POST', headers, body })).status
    }

    it('stores what the extension has written with the request, or not at all', async () => {
      expect(await post(409)).toBe(409)
      expect(await names()).toEqual([])
      expect(await post(201)).toBe(201)
      expect(await names()).toEqual(['log', 'log'])
    })

    it('answers reads side by side that the extension puts into batches', async () => {
      await post(201)
      const answers = await Promise.all([1, 2, 3].map(async () => await fetch(`${server.url}/dogs`)))
      for (const answer of answers) {
        expect([answer.status, await answer.json()]).toEqual([200, { owners: 2, toys: 2 }])
      }
      expect(await names()).toEqual(['read', 'read'])
    })
  })
})
