/** What requests of Fastify have of their transaction, and what the log of the app is told. */
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { transactions } from '../../adapters/fastify.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'

const [kind] = databases
if (kind === undefined) throw new Error('there is a database')
let open: OpenDatabase
let server: FastifyInstance
let records: Array<{ readonly level: number; readonly code?: string; readonly msg: string }> = []
beforeAll(async () => {
  open = await openDatabase(kind, { onEscape: 'warn' })
})
beforeEach(async () => {
  await open.clear()
  records = []
  server = Fastify({ logger: { level: 'warn', stream: { write: (line) => void records.push(JSON.parse(line)) } } })
})
afterEach(async () => await server.close())
afterAll(async () => await open.close())

const add = async (dog: string): Promise<void> => void (await open.db.owner.create({ data: { name: 'Ann', dog } }))
const post = async (url: string): Promise<number> => (await server.inject({ method: 'POST', url })).statusCode

it('has its transaction, from the preHandler hooks on', async () => {
  const seen: unknown[] = []
  const codeOf = (fn: () => unknown): unknown => {
    try {
      return fn()
    } catch (error) {
      return Reflect.get(Object(error), 'code')
    }
  }
  server.addHook('onRequest', async (request) => void seen.push(codeOf(() => request.transaction.state)))
  await server.register(transactions, { datastore: open.datastore })
  server.post('/dogs', async ({ transaction }, reply) => {
    transaction.afterCommit(() => seen.push('committed'))
    await add('Fido')
    seen.push(transaction.state)
    return await reply.code(201).send()
  })
  server.post('/refused', async (request) => {
    await add('Rex')
    request.transaction.rollbackOnly({ answer: 'keep' })
    return {}
  })
  server.post('/without', { config: { transaction: false } }, async (request) => {
    seen.push(codeOf(() => request.transaction))
    return {}
  })
  expect([await post('/dogs'), await post('/refused'), await post('/without')]).toEqual([201, 200, 200])
  const none = 'ES_NO_TRANSACTION'
  expect(seen).toEqual([none, 'open', 'committed', none, none, none])
  expect(await open.dogs()).toEqual(['Fido'])
})

it('leaves request.transaction to a plugin that has it, and says so', async () => {
  server.decorateRequest('transaction' as never, 'theirs' as never)
  await server.register(transactions, { datastore: open.datastore })
  server.post('/dogs', async (request) => ({ transaction: request.transaction }))
  expect((await server.inject({ method: 'POST', url: '/dogs' })).json()).toEqual({ transaction: 'theirs' })
  expect(records.map(({ msg }) => msg)).toEqual([expect.stringContaining('request.transaction is of another plugin')])
})

it('tells the log of the app of warnings, until it is closed', async () => {
  await server.register(transactions, { datastore: open.datastore })
  server.post('/dogs', async (_request, reply) => {
    await add('Fido')
    await open.base.owner.count()
    return await reply.code(201).send()
  })
  expect(await post('/dogs')).toBe(201)
  await expect.poll(() => records.map(({ level, code }) => [level, code])).toEqual([[40, 'ES_ESCAPE']])
  expect(records[0]?.msg).toContain('POST /dogs')
  process.emitWarning('of somebody else', { code: 'OTHER' })
  const before = process.listenerCount('warning')
  await server.close()
  expect(process.listenerCount('warning')).toBe(before - 1)
  process.emitWarning('too late', { code: 'ES_ESCAPE' })
  await new Promise(setImmediate)
  expect(records).toHaveLength(1)
})
