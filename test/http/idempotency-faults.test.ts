/** A client that repeats its request with its key until it is answered is served once, whatever goes wrong at whichever statement. */
import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/fastify.js'
import { PrismaApplicationRecorder, PrismaDatastore } from '../../src/index.js'
import { checkEveryFault, type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import type { TestClient } from '../prisma/open-database.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let faults: FaultyAdapter
  let datastore: PrismaDatastore<TestClient>
  let fastify: FastifyInstance
  beforeAll(async () => {
    database = await kind.createDatabase()
    faults = faultyAdapter(database.adapter())
    datastore = new PrismaDatastore<TestClient>({
      adapter: faults,
      client: (adapter) => database.newClient(adapter) as TestClient,
    })
    const recorder = new PrismaApplicationRecorder(datastore)
    fastify = Fastify()
    await fastify.register(transactions, { datastore, idempotency: { scope: 'public', required: true } })
    fastify.setErrorHandler(problemDetails())
    fastify.post('/', async (request, reply) => {
      await datastore.client.owner.create({ data: { name: 'Ann', dog: String(request.headers['idempotency-key']) } })
      await recorder.insertEvents([storedEvent(crypto.randomUUID(), 1)])
      return await reply.code(201).send({ made: true })
    })
  })
  afterAll(async () => {
    await fastify.close()
    await datastore.close()
    await database.drop()
  })

  it('is served once', async () => {
    let repeated = 0
    let replayed = 0
    const run = async (n: number): Promise<{ status: number }> => {
      let response: LightMyRequestResponse | undefined
      for (let attempt = 1; attempt <= 50 && response?.statusCode !== 201; attempt += 1) {
        if (attempt > 1) await delay(5)
        response = await fastify.inject({ method: 'POST', url: '/', headers: { 'idempotency-key': `key-${n}` } })
        if (attempt === 2) repeated += 1
      }
      if (response?.headers['idempotency-replayed'] === 'true') replayed += 1
      return { status: response?.statusCode ?? 0 }
    }
    const tables = ['owners', 'stored_events', 'idempotency_keys']
    const { statements, changes, outcomes } = await checkEveryFault({ faults, run, tables })
    expect(changes.map(({ added }) => added)).toEqual([1, 1, 1])
    expect(new Set(outcomes.map(({ told, isStored }) => `${told} ${isStored}`))).toEqual(new Set(['success true']))
    expect(repeated).toBeGreaterThanOrEqual(statements.length)
    // Of a commit whose answer is lost the client learns by its repetition.
    expect(replayed > 0).toBe(kind.provider !== 'sqlite')
  }, 120_000)
})
