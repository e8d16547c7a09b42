/** Transactions need no table of the library, on any database, and send nothing of their own but BEGIN and COMMIT. */
import Fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { transactions } from '../../adapters/fastify.js'
import { NotSupportedError, OperationalError, PrismaDatastore, transactional } from '../../src/index.js'
import { type FaultyAdapter, faultyAdapter, withRollback } from '../../src/testing/index.js'
import type { TestClient } from '../prisma/open-database.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

const tablesOfTheUser = ['owners', 'toys']
const undo = new Error('undo')

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let faults: FaultyAdapter
  let datastore: PrismaDatastore<TestClient>
  beforeAll(async () => {
    database = await kind.createDatabase()
    const list = {
      postgresql: `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'`,
      mysql: 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()',
      sqlite: `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`,
    }
    const names = async (): Promise<string[]> =>
      (await database.query(list[kind.provider])).map(({ name }) => String(name)).sort()
    for (const name of await names()) if (!tablesOfTheUser.includes(name)) await database.query(`DROP TABLE ${name}`)
    expect(await names()).toEqual(tablesOfTheUser)
    faults = faultyAdapter(database.adapter())
    const client = (adapter: PrismaDatastore['adapter']): TestClient => database.newClient(adapter) as TestClient
    datastore = new PrismaDatastore<TestClient>({ adapter: faults, client })
    await datastore.client.owner.count()
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })

  const create = async (dog: string): Promise<unknown> =>
    await datastore.client.owner.create({ data: { name: 'Ann', dog } })
  const dogs = async (): Promise<string[]> =>
    (await database.query('SELECT dog FROM owners')).map(({ dog }) => String(dog)).sort()

  it('commits, rolls back, nests, runs again and runs hooks', async () => {
    const told: string[] = []
    class Kennel {
      @transactional(datastore, { retries: 2 }) async register(dog: string): Promise<number> {
        const { attempt } = datastore.currentTransaction
        await create(`${dog} ${attempt}`)
        datastore.currentTransaction.afterCommit(() => told.push(dog))
        if (attempt < 3) throw new OperationalError('not yet', { retryable: true })
        return attempt
      }
    }
    expect(await new Kennel().register('Rex')).toBe(3)
    const transaction = datastore.transaction(async (tx) => {
      await create('Buster')
      const nested = datastore.transaction(
        async () => {
          await create('Fido')
          throw undo
        },
        { propagation: 'nested' },
      )
      await expect(nested).rejects.toBe(undo)
      tx.afterRollback(() => told.push('undone'))
    })
    await transaction
    const failing = datastore.transaction(async (tx) => {
      await create('Max')
      tx.afterRollback(() => told.push('undone'))
      throw undo
    })
    await expect(failing).rejects.toBe(undo)
    expect(await dogs()).toEqual(['Buster', 'Rex 3'])
    expect(told).toEqual(['Rex', 'undone'])
    await database.query('DELETE FROM owners')
  })

  it('has transactions beside each other, where there are two writers', async () => {
    const outer = datastore.transaction(async () => {
      await create('undone')
      await datastore.transaction(async () => await create('kept'), { propagation: 'requiresNew' })
      throw undo
    })
    await expect(outer).rejects.toThrow(kind.provider === 'sqlite' ? NotSupportedError : undo)
    expect(await dogs()).toEqual(kind.provider === 'sqlite' ? [] : ['kept'])
    await database.query('DELETE FROM owners')
  })

  it('has tests that leave nothing behind', async () => {
    await withRollback(datastore, async () => {
      await datastore.transaction(async () => await create('Fido'))
      expect(await datastore.client.owner.count()).toBe(1)
    })
    expect(await dogs()).toEqual([])
  })

  it('serves requests, with BEGIN and COMMIT around what they send and nothing else', async () => {
    await using server = Fastify()
    await server.register(transactions, { datastore })
    server.post('/', async (_request, reply) => {
      await create('Rex')
      return await reply.code(201).send()
    })
    server.get('/', async () => ({ ok: true }))
    const statementsOf = async (method: 'GET' | 'POST'): Promise<string[]> => {
      faults.record()
      expect((await server.inject({ method, url: '/' })).statusCode).toBeLessThan(400)
      faults.stop()
      return faults.statements.map((sql) => sql.split(' ', 1)[0] ?? '')
    }
    expect(await statementsOf('GET')).toEqual([])
    // MySQL has no RETURNING, so that Prisma reads the row that it has made.
    const own = kind.provider === 'mysql' ? ['INSERT', 'SELECT'] : ['INSERT']
    expect(await statementsOf('POST')).toEqual(['BEGIN', ...own, 'COMMIT'])
    expect(await dogs()).toEqual(['Rex'])
  })
})
