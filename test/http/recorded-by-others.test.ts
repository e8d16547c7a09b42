/** Middlewares that keep answers: at the end of a response they see what has left, when a handler sends one they see what may be undone. */
import express5, { type RequestHandler } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { transactions } from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import { type Listening, listen } from './listening.js'

const [sqlite] = databasesOf('sqlite')
if (sqlite === undefined) throw new Error('there is no SQLite')

describe('an answer that is kept', () => {
  let open: OpenDatabase
  let server: Listening | undefined
  /** What was kept of the answers, by when. */
  let kept: Record<'sent' | 'ended', number[]>
  beforeAll(async () => {
    open = await openDatabase(sqlite)
  })
  afterEach(async () => await server?.close())
  afterAll(async () => await open.close())

  /** Its commit fails. */
  const work = async (): Promise<object> => {
    await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
    open.datastore.currentTransaction.rollbackOnly()
    return { text: 'done' }
  }
  const expectKept = async (): Promise<void> => {
    expect((await fetch(`${server?.url}/`)).status).toBe(500)
    expect(await open.dogs()).toEqual([])
    await expect.poll(() => kept.ended).toEqual([500])
    expect(kept.sent).toContain(200)
  }

  it.each([
    ['Express 5', express5],
    ['Express 4', express4],
  ])('is that of an error where it is kept at the end of the response: %s', async (_name, express) => {
    kept = { sent: [], ended: [] }
    const keep: RequestHandler = (_request, response, next) => {
      const json = response.json.bind(response)
      response.json = (body: unknown) => {
        kept.sent.push(response.statusCode)
        return json(body)
      }
      response.once('finish', () => kept.ended.push(response.statusCode))
      next()
    }
    const app = express().set('env', 'test').use(keep).use(transactions(open.datastore))
    app.get('/', (_request, response, next) => {
      work().then((body) => response.json(body), next)
    })
    server = await listen(app)
    await expectKept()
  })

  it('is that of an error where it is kept at the end of the response: Fastify 5', async () => {
    kept = { sent: [], ended: [] }
    const app = Fastify()
    app.addHook('onSend', async (_request, reply) => void kept.sent.push(reply.statusCode))
    app.addHook('onResponse', async (_request, reply) => void kept.ended.push(reply.statusCode))
    await app.register(fastifyAdapter.transactions, { datastore: open.datastore })
    app.get('/', work)
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    server = { url, port: Number(new URL(url).port), close: async () => await app.close() }
    await expectKept()
  })
})
