/** Answers that are stored under idempotency keys go when the person is forgotten whose data they have. */
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../adapters/fastify.js'
import { PrismaIdempotencyStore } from '../../src/index.js'
import { PrismaSubjectKeyRecorder } from '../../src/recorders.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const persons = ['ann', 'Ann', 'ann ', "o'neil", '0f8fad5b-d9cb-469f-a165-70867728950e']

describe.each(oneOfEach)('the answers about a person on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaSubjectKeyRecorder
  let fastify: FastifyInstance
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaSubjectKeyRecorder(open.datastore)
    fastify = Fastify()
    const subject = ({ headers }: FastifyRequest): string | undefined => {
      const named = headers['x-person']
      return typeof named === 'string' ? (JSON.parse(named) as string) : undefined
    }
    const idempotency = { scope: 'public', subject } as const
    await fastify.register(transactions, { datastore: open.datastore, idempotency })
    fastify.post('/', async () => ({ name: await open.db.owner.count() }))
  })
  beforeEach(async () => {
    await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
    for (const [index, person] of [...persons, undefined].entries()) expect(await post(index, person)).toBe('new')
  })
  afterAll(async () => {
    await fastify.close()
    await open.close()
  })

  const post = async (index: number, person?: string): Promise<string> => {
    const named = person === undefined ? {} : { 'x-person': JSON.stringify(person) }
    const headers = { 'idempotency-key': `key-${index}`, ...named }
    const response = await fastify.inject({ method: 'POST', url: '/', headers })
    expect([response.statusCode, response.headers[':subject']]).toEqual([200, undefined])
    return response.headers['idempotency-replayed'] === 'true' ? 'stored' : 'new'
  }
  const stored = async (): Promise<number> =>
    (await open.database.query(`SELECT status FROM ${open.quoted('idempotency_keys')}`)).length

  it.each(persons)('are deleted with the key of the person, and no others: %j', async (person) => {
    await recorder.deleteKey(person)
    expect(await stored()).toBe(persons.length)
    for (const [index, each] of [...persons, undefined].entries()) {
      expect([each, await post(index, each)]).toEqual([each, each === person ? 'new' : 'stored'])
    }
  })

  it('are there again when the transaction is rolled back in which the person was forgotten', async () => {
    const undo = new Error('undo')
    const forgotten = open.datastore.transaction(async () => {
      await recorder.deleteKey('ann')
      throw undo
    })
    await expect(forgotten).rejects.toBe(undo)
    expect(await stored()).toBe(persons.length + 1)
  })

  it('are found by an id in capitals, as events are', async () => {
    const store = new PrismaIdempotencyStore(open.datastore)
    const key = { scope: 'other', key: 'abc' }
    await open.datastore.transaction(async () => {
      await store.claim({ ...key, fingerprint: new Uint8Array([1]), ttlMs: 60_000 })
      const subject = '7C9E6679-7425-40DE-944B-E07FC1F90AE7'
      await store.complete(key, { status: 200, headers: {}, body: new Uint8Array(), subject })
    })
    await recorder.deleteKey('7c9e6679-7425-40de-944b-e07fc1f90ae7')
    expect(await stored()).toBe(persons.length + 1)
  })
})
