/** Connections that are abandoned at a deadline leave nothing behind. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PrismaDatastore, TransactionTimeoutError } from '../../src/index.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { adapterOf } from '../support/pools.js'
import type { TestClient } from './open-database.js'

describe.each(databasesOf('postgresql', 'mysql'))('abandoned connections to $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore<TestClient>({
      adapter: adapterOf(kind, database.url, 1),
      client: (adapter) => database.newClient(adapter) as TestClient,
    })
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })
  const sleep = kind.provider === 'postgresql' ? 'SELECT 1 FROM pg_sleep(60)' : 'SELECT sleep(60)'

  it('keep neither each other nor what they were made for', async () => {
    const requests: Array<WeakRef<object>> = []
    const storage = new AsyncLocalStorage<object>()
    let timeouts = 0
    // The pool makes the next connection in the context in which one is abandoned, or is asked for.
    const serve = async (): Promise<void> => {
      try {
        await datastore.transaction(() => datastore.client.$queryRawUnsafe(sleep), { deadlineMs: 100 })
      } catch (error) {
        // Not by `rejects`: Vitest keeps what is expected of.
        timeouts += error instanceof TransactionTimeoutError ? 1 : 0
      }
    }
    for (let n = 0; n < 7; n += 1) {
      const request = {}
      requests.push(new WeakRef(request))
      await storage.run(request, serve)
    }
    expect(timeouts).toBe(requests.length)
    // Prisma keeps its last hundred debug messages, and the errors in them.
    for (let n = 0; n < 100; n += 1) await datastore.transaction(() => datastore.client.owner.count())
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const countKept = (): number => {
      collect()
      return requests.filter((request) => request.deref() !== undefined).length
    }
    await expect.poll(countKept, { timeout: 10_000 }).toBeLessThanOrEqual(2)
  })
})
