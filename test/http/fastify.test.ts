/** Fastify alone: its hooks, the ways to reply, and what is written below it. */

import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/fastify.js'
import {
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  ProgrammingError,
  TransactionClosedError,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { Signal } from './listening.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')

describe.each(databases.slice(0, 1))('Fastify on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  let fastify: FastifyInstance
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  beforeEach(async () => {
    await open.clear()
    fastify = Fastify({ forceCloseConnections: true })
  })
  afterEach(async () => {
    await fastify.close()
  })
  afterAll(async () => {
    await open.close()
  })

  const save = async (dog = 'Fido'): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  /** Saves what another writer has saved already, so that the commit fails. */
  const saveInConflict = async (): Promise<void> => {
    await save()
    await recorder.appendEvents([storedEvent(fido, 1)])
  }
  const saveAndFail = async (): Promise<void> => {
    await save()
    throw new Error('no')
  }
  const expectConflict = async (response: Response): Promise<void> => {
    expect(response.status).toBe(409)
    expect(await response.json()).toMatchObject({ status: 409, code: 'ES_CONCURRENCY' })
    expect(await open.dogs()).toEqual([])
  }
  const listen = async (): Promise<string> => await fastify.listen({ host: '127.0.0.1', port: 0 })
  const post = async (path: string): Promise<Response> => {
    const url = fastify.server.listening ? fastify.listeningOrigin : await listen()
    return await fetch(url + path, { method: 'POST' })
  }

  it('sends a reply that its handler neither awaits nor returns', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.post('/dogs', async (_request, reply) => {
      await save()
      void reply.code(201).send({ made: true })
    })
    fastify.post('/sync', (_request, reply) => {
      save('Rex').then(
        () => reply.code(201).send({ made: true }),
        (error: unknown) => reply.send(error),
      )
    })
    for (const path of ['/dogs', '/sync']) {
      const response = await post(path)
      expect(response.status).toBe(201)
      expect(await response.json()).toEqual({ made: true })
    }
    expect(await open.dogs()).toEqual(['Fido', 'Rex'])
  })

  it('covers every route when it is registered without await', async () => {
    fastify.post('/before', saveAndFail)
    void fastify.register(transactions, { datastore: open.datastore })
    fastify.post('/after', saveAndFail)
    void fastify.register((child, _options, done) => {
      child.post('/child', saveAndFail)
      done()
    })
    for (const path of ['/before', '/after', '/child']) {
      expect((await post(path)).status).toBe(500)
      expect(await open.dogs()).toEqual([])
    }
  })

  it('lets hooks that come later use the transaction, and rolls back when one throws', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    let states: unknown[] = []
    fastify.addHook('onSend', async (request, _reply, payload) => {
      await delay(5)
      states.push(open.datastore.currentTransaction.state)
      await save('of the hook')
      if (request.url === '/failing') throw new Error('no')
      return payload
    })
    for (const path of ['/dogs', '/failing']) {
      fastify.post(path, { onSend: async () => void states.push('of the route') }, async () => {
        await save()
        return { made: true }
      })
    }
    expect((await post('/dogs')).status).toBe(200)
    expect(states).toEqual(['open', 'of the route'])
    expect(await open.dogs()).toEqual(['Fido', 'of the hook'])
    await open.clear()
    states = []
    expect((await post('/failing')).status).toBe(500)
    expect(await open.dogs()).toEqual([])
  })

  it('runs an onSend hook again for the answer of its error: one that writes for success alone leaves the first error', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    const handled: string[] = []
    fastify.setErrorHandler((error: Error, _request, reply) => {
      handled.push(error.message)
      void reply.status(500).send({ message: error.message })
    })
    fastify.addHook('onSend', async (request, reply) => {
      if (request.url === '/cured' && reply.statusCode >= 400) return
      await save('of the hook')
      throw new Error('the first')
    })
    for (const path of ['/twice', '/cured']) fastify.post(path, async () => ({ made: true }))
    expect(await (await post('/twice')).json()).toMatchObject({ code: 'ES_TRANSACTION_CLOSED' })
    expect(await (await post('/cured')).json()).toEqual({ message: 'the first' })
    expect(handled).toEqual(['the first', 'the first'])
    expect(await open.dogs()).toEqual([])
  })

  it('is open in the preHandler hooks of a route, and not before', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    const seen: unknown[] = []
    const look = async (): Promise<void> => {
      seen.push(open.datastore.tryCurrentTransaction?.state)
    }
    fastify.post('/dogs', { onRequest: look, preParsing: look, preValidation: look, preHandler: look }, async () => {
      await look()
      return {}
    })
    await listen()
    await fetch(`${fastify.listeningOrigin}/dogs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(seen).toEqual([undefined, undefined, undefined, 'idle', 'idle'])
  })

  it('commits before the first byte of a hijacked reply, and answers when that fails', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.post('/dogs', async (request, reply) => {
      reply.hijack()
      await save()
      const { raw } = reply
      raw.writeHead(200)
      raw.write((await open.dogs()).join())
      await delay(20)
      raw.end(
        `, ${String(await open.db.owner.count().catch((error: unknown) => error instanceof TransactionClosedError))}`,
      )
    })
    fastify.post('/failing', async (_request, reply) => {
      reply.hijack()
      await saveInConflict()
      reply.raw.writeHead(200, { 'x-made': 'yes' })
      reply.raw.write('made')
      await delay(20)
      reply.raw.end('made')
    })
    expect(await (await post('/dogs')).text()).toBe(', true')
    expect(await open.dogs()).toEqual(['Fido'])
    await open.clear()
    await recorder.insertEvents([storedEvent(fido, 1)])
    const failed = await post('/failing')
    expect(failed.headers.get('x-made')).toBeNull()
    await expectConflict(failed)
  })

  it('sends streams of Node and of the web after the commit, and nothing of them when it fails', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.setErrorHandler(problemDetails())
    const bodies: Record<string, () => unknown> = {
      '/node': () => Readable.from(['a stream ', 'x'.repeat(200_000)]),
      '/web': () => Readable.toWeb(Readable.from([Buffer.from('a stream '), Buffer.from('x'.repeat(200_000))])),
      '/response': () => new Response(`a stream ${'x'.repeat(200_000)}`, { status: 202, headers: { 'x-made': 'yes' } }),
    }
    for (const [path, body] of Object.entries(bodies)) {
      fastify.post(path, async (_request, reply) => {
        await saveInConflict()
        return await reply.send(body())
      })
    }
    for (const path of Object.keys(bodies)) {
      await open.clear()
      const response = await post(path)
      expect(response.ok).toBe(true)
      expect(await open.dogs()).toEqual(['Fido'])
      expect(await response.text()).toBe(`a stream ${'x'.repeat(200_000)}`)
      await open.clear()
      await recorder.insertEvents([storedEvent(fido, 1)])
      const failed = await post(path)
      expect(failed.headers.get('x-made')).toBeNull()
      await expectConflict(failed)
    }
  })

  it('rolls back when a stream fails before its first byte', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.post('/dogs', async () => {
      await save()
      return new Readable({
        read() {
          this.destroy(new Error('no'))
        },
      })
    })
    expect((await post('/dogs')).status).toBe(500)
    expect(await open.dogs()).toEqual([])
  })

  it('refuses a streamed body where the route says so', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.setErrorHandler(problemDetails())
    fastify.addHook('onSend', async (_request, _reply, payload) =>
      typeof payload === 'string' ? Readable.from([payload]) : payload,
    )
    fastify.post('/dogs', { config: { transaction: { stream: 'refuse' } } }, async () => {
      await save()
      return Readable.from(['a'])
    })
    fastify.post('/whole', { config: { transaction: { stream: 'refuse' } } }, async () => {
      await save('Rex')
      return { made: true }
    })
    expect((await post('/dogs')).status).toBe(500)
    expect(await (await post('/whole')).json()).toEqual({ made: true })
    expect(await open.dogs()).toEqual(['Rex'])
  })

  it('never lets a handler that goes on after the deadline answer before a slow error handler', async () => {
    await fastify.register(transactions, { datastore: open.datastore, deadlineMs: 500 })
    const [failed, answered] = [new Signal(), new Signal()]
    fastify.post('/dogs', async (_request, reply) => {
      await save()
      await failed.given
      void reply.code(201).send({ made: true })
      answered.give()
      return reply
    })
    fastify.setErrorHandler(async (_error, _request, reply) => {
      failed.give()
      await answered.given
      await delay(50)
      return await reply.code(418).send('slow')
    })
    const response = await post('/dogs')
    expect(response.status).toBe(503)
    expect(await response.text()).not.toContain('made')
    await answered.given
    await delay(150)
    expect(await open.dogs()).toEqual([])
    expect((await post('/unknown')).status).toBe(404)
  })

  it('rolls back when the framework stops a handler', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    const done = new Signal()
    fastify.post('/dogs', { handlerTimeout: 50 }, async () => {
      try {
        await save()
        await delay(150)
      } finally {
        done.give()
      }
      return { made: true }
    })
    expect((await post('/dogs')).status).toBe(503)
    await done.given
    await delay(10)
    expect(await open.dogs()).toEqual([])
  })

  it('keeps the headers that were set before it, and drops those of the success', async () => {
    fastify.addHook('onRequest', async (_request, reply) => {
      reply.headers({ 'access-control-allow-origin': '*', 'cache-control': 'no-store' })
      reply.raw.setHeader('x-raw', 'before')
    })
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.setErrorHandler(problemDetails())
    fastify.post('/dogs', async (_request, reply) => {
      await saveInConflict()
      reply.raw.setHeader('x-raw', 'made')
      return await reply
        .code(201)
        .headers({
          'cache-control': 'max-age=60',
          location: '/dogs/1',
          'set-cookie': 'dog=Fido',
          'content-length': '11',
        })
        .send('{"made":1}\n')
    })
    await recorder.insertEvents([storedEvent(fido, 1)])
    const response = await post('/dogs')
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': '*',
      'cache-control': 'no-store',
      'x-raw': 'before',
    })
    expect(response.headers.get('location')).toBeNull()
    expect(response.headers.get('set-cookie')).toBeNull()
    await expectConflict(response)
  })

  it('settles invalid requests, what is not found, and a handler that finds nothing', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.post('/dogs', { schema: { querystring: { type: 'object', required: ['name'] } } }, async () => await save())
    fastify.post('/hidden', async (_request, reply) => {
      await save()
      return reply.callNotFound()
    })
    expect((await post('/dogs')).status).toBe(400)
    expect((await post('/unknown')).status).toBe(404)
    expect((await post('/hidden')).status).toBe(404)
    expect(await open.dogs()).toEqual([])
    expect((await post('/dogs?name=Fido')).status).toBe(200)
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('rolls back although an error handler answers with success', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.setErrorHandler(async (error, _request, reply) => await reply.code(200).send({ sorry: String(error) }))
    fastify.post('/dogs', async () => {
      await save()
      throw new Error('no')
    })
    const response = await post('/dogs')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ sorry: 'Error: no' })
    expect(await open.dogs()).toEqual([])
  })

  it('lets an error handler store something by itself, and nothing in the failed transaction', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    let refused: unknown
    fastify.setErrorHandler(async (_error, _request, reply) => {
      refused = await save('Bob').catch((reason: unknown) => reason)
      await open.datastore.transaction(async () => await save('Cid'), { propagation: 'requiresNew' })
      return await reply.code(500).send({})
    })
    fastify.post('/dogs', saveAndFail)
    expect((await post('/dogs')).status).toBe(500)
    expect(refused).toBeInstanceOf(TransactionClosedError)
    expect(await open.dogs()).toEqual(['Cid'])
  })

  it('is not registered without a datastore', async () => {
    await expect(fastify.register(transactions, {} as { datastore: typeof open.datastore })).rejects.toThrow(
      'no datastore was given',
    )
  })

  it('is registered once for a datastore, in what is inside as well', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    await expect(fastify.register(transactions, { datastore: open.datastore })).rejects.toThrow(ProgrammingError)
    const twice = Fastify()
    for (let child = 1; child <= 2; child += 1) {
      await twice.register(async (plugin) => {
        await plugin.register(transactions, { datastore: open.datastore })
      })
    }
    await twice.register(transactions, { datastore: open.datastore })
    const inside = twice.register(async (child) => {
      await child.register(transactions, { datastore: open.datastore, readOnly: true })
    })
    await expect(inside).rejects.toThrow(`Could not register the plugin for ${open.datastore.name}`)
  })

  it('commits injected requests', async () => {
    await fastify.register(transactions, { datastore: open.datastore })
    fastify.setErrorHandler(problemDetails())
    fastify.post('/dogs', async (_request, reply) => {
      await saveInConflict()
      return await reply.code(201).send({ made: true })
    })
    const first = await fastify.inject({ method: 'POST', url: '/dogs' })
    expect([first.statusCode, first.json()]).toEqual([201, { made: true }])
    expect(await open.dogs()).toEqual(['Fido'])
    await open.clear()
    await recorder.insertEvents([storedEvent(fido, 1)])
    const second = await fastify.inject({ method: 'POST', url: '/dogs' })
    expect([second.statusCode, second.json().code]).toEqual([409, 'ES_CONCURRENCY'])
    expect(await open.dogs()).toEqual([])
  })

  it('serves HTTP/2: what is whole, what is a stream, and what is written by hand', async () => {
    const server = Fastify({ http2: true })
    await server.register(transactions, { datastore: open.datastore })
    server.setErrorHandler(problemDetails())
    const text = 'x'.repeat(200_000)
    const answers: Record<string, (reply: FastifyReply) => unknown> = {
      '/whole': (reply) => reply.code(201).send(text),
      '/stream': (reply) => reply.code(201).send(Readable.from([text.slice(0, 10), text.slice(10)])),
      '/hijacked'(reply) {
        reply.hijack()
        reply.raw.writeHead(201)
        reply.raw.write(text.slice(0, 10))
        reply.raw.end(text.slice(10))
      },
    }
    for (const [path, answer] of Object.entries(answers)) {
      server.post(path, async (_request, reply) => {
        await saveInConflict()
        answer(reply as unknown as FastifyReply)
        return reply
      })
    }
    const session = connectHttp2(await server.listen({ host: '127.0.0.1', port: 0 }))
    const request = async (path: string): Promise<{ status: unknown; seen: string[]; body: string }> => {
      const stream = session.request({ ':method': 'POST', ':path': path })
      stream.end()
      const [headers] = await once(stream, 'response')
      const seen = await open.dogs()
      let body = ''
      for await (const part of stream) body += String(part)
      return { status: headers[constants.HTTP2_HEADER_STATUS], seen, body }
    }
    try {
      for (const path of Object.keys(answers)) {
        await open.clear()
        expect(await request(path)).toEqual({ status: 201, seen: ['Fido'], body: text })
        await open.clear()
        await recorder.insertEvents([storedEvent(fido, 1)])
        const { status, seen, body } = await request(path)
        expect([status, seen]).toEqual([409, []])
        expect(JSON.parse(body)).toMatchObject({ code: 'ES_CONCURRENCY' })
      }
    } finally {
      session.close()
      await server.close()
    }
  })

  it('stores nothing for a client of HTTP/2 that has gone away before the transaction began', async () => {
    const server = Fastify({ http2: true })
    await server.register(transactions, { datastore: open.datastore })
    const arrived = new Signal()
    const finished = new Signal()
    let failure: unknown
    server.addHook('onRequest', async (_request, reply) => {
      const closed = once(reply.raw, 'close')
      arrived.give()
      await closed
    })
    server.post('/dogs', async () => {
      failure = await save().catch((error: unknown) => error)
      finished.give()
      return 'made'
    })
    const session = connectHttp2(await server.listen({ host: '127.0.0.1', port: 0 }))
    const stream = session.request({ ':method': 'POST', ':path': '/dogs' }).end()
    await arrived.given
    stream.close(constants.NGHTTP2_CANCEL)
    await finished.given
    expect(failure).toBeInstanceOf(TransactionClosedError)
    expect(await open.dogs()).toEqual([])
    session.close()
    await server.close()
  })
})
