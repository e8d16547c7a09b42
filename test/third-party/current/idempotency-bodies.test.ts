/** Idempotency keys beside body parsers and compression of others: another file is never taken for the same request, and a replay is for its own client. */
import { gunzipSync } from 'node:zlib'
import fastifyMultipart from '@fastify/multipart'
import busboy from 'busboy'
import compression from 'compression'
import express5, { type Express, type Request, type RequestHandler, type Response } from 'express'
import fileUpload from 'express-fileupload'
import express4 from 'express4'
import Fastify, { type FastifyInstance } from 'fastify'
import { formidable } from 'formidable'
import multer from 'multer'
import multer1 from 'multer1'
import multer20 from 'multer20'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as expressAdapter from '../../../adapters/express.js'
import * as fastifyAdapter from '../../../adapters/fastify.js'
import { type Listening, listen } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { type OpenDatabase, openDatabase } from '../../prisma/open-database.js'
import { databases } from '../../support/databases.js'

const [kind] = databases
if (kind === undefined) throw new Error('there is a database')

let open: OpenDatabase
let server: Listening | undefined
let fastify: FastifyInstance
beforeAll(async () => {
  open = await openDatabase(kind)
})
beforeEach(async () => {
  fastify = Fastify()
  await open.clear()
  await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
})
afterEach(async () => {
  await server?.close()
  server = undefined
  await fastify.close()
})
afterAll(async () => await open.close())

const idempotency = { scope: 'public' } as const
const key = { 'idempotency-key': '"abc"' }
const post = async (path: string, init: RequestInit): Promise<globalThis.Response> =>
  await fetch(server?.url + path, { method: 'POST', ...init, headers: { ...key, ...(init.headers as object) } })
const upload = async (text: string): Promise<globalThis.Response> => {
  const form = new FormData()
  form.set('title', 'invoice')
  form.set('file', new Blob([text]), 'a.txt')
  return await post('/upload', { body: form })
}
const outcomeOf = ({ status, headers }: globalThis.Response): unknown[] => [status, headers.get('idempotency-replayed')]
const store = async (dog: string): Promise<{ dog: string }> => {
  await open.db.owner.create({ data: { name: 'Ann', dog } })
  return { dog }
}
const handler = (_request: Request, response: Response, next: (error?: unknown) => void): void =>
  void store('Fido').then((body) => response.status(201).json(body), next)
const startFastify = async (): Promise<void> => {
  const url = await fastify.listen({ host: '127.0.0.1', port: 0 })
  server = { url, port: Number(new URL(url).port), close: async () => await fastify.close() }
}

/** Each reads the files, and calls what comes next. */
const parsers: Record<string, () => RequestHandler> = {
  multer: () => multer().single('file'),
  'multer 1': () => multer1().single('file'),
  'multer 2.0': () => multer20().single('file'),
  'express-fileupload': () => fileUpload() as RequestHandler,
  formidable: () => (request, _response, next) => formidable({}).parse(request, (error: unknown) => next(error)),
  busboy: () => (request, _response, next) => {
    const files = busboy({ headers: request.headers })
    files.on('file', (_name, file) => file.resume())
    files.on('close', () => next())
    request.pipe(files)
  },
}

describe.each([
  ['Express 5', () => express5(), express5.json],
  ['Express 4', () => express4() as unknown as Express, express4.json as unknown as typeof express5.json],
] as const)('on %s', (_name, makeApp, json) => {
  let app: Express
  beforeEach(() => {
    app = makeApp().set('env', 'test')
  })
  const start = async (): Promise<void> => {
    app.use(expressAdapter.problemDetails())
    server = await listen(app)
  }
  const ours = (more: object = {}): RequestHandler =>
    expressAdapter.transactions(open.datastore, { idempotency: { ...idempotency, ...more } })

  it.each(Object.keys(parsers).flatMap((name) => [[name, 'before'] as const, [name, 'after'] as const]))(
    'refuses an upload by %s, %s the transaction, where nothing tells its files',
    async (name, place) => {
      const parser = parsers[name]?.() ?? handler
      if (place === 'before') app.use(parser)
      app.use(ours())
      app.post('/upload', ...(place === 'before' ? [] : [parser]), handler)
      await start()
      const refused = await upload('AAA')
      expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([415, 'ES_IDEMPOTENCY_BODY'])
      expect(await open.dogs()).toEqual([])
    },
  )

  it('tells files apart by the option fingerprint', async () => {
    const fingerprint = ({ body, file }: Request): Uint8Array =>
      Buffer.concat([Buffer.from(JSON.stringify(body)), file?.buffer ?? Buffer.of()])
    app.use(ours({ fingerprint }))
    app.post('/upload', multer().single('file'), handler)
    await start()
    expect(outcomeOf(await upload('AAA'))).toEqual([201, null])
    expect(outcomeOf(await upload('AAA'))).toEqual([201, 'true'])
    expect((await upload('BBB')).status).toBe(422)
  })

  it('refuses a body of a type that nobody reads, and compares those of any depth', async () => {
    app.use(json({ limit: '1mb' }), ours())
    app.post('/x', handler)
    await start()
    const type = (name: string): Record<string, string> => ({ 'content-type': name })
    expect((await post('/x', { body: 'hello', headers: type('text/plain') })).status).toBe(415)
    const deep = '['.repeat(20_000) + ']'.repeat(20_000)
    for (const replayed of [null, 'true']) {
      const response = await post('/x', { body: deep, headers: type('application/json') })
      expect(outcomeOf(response)).toEqual([201, replayed])
    }
    for (const other of [`[${deep}]`, '{"__proto__":{"a":1}}', '[[],[]]', '{}', '[{"a":[1,2]}]']) {
      expect((await post('/x', { body: other, headers: type('application/json') })).status).toBe(422)
    }
  })

  it.each(['before', 'after'])(
    'compresses a replay for who accepts it, by compression %s the transaction',
    async (place) => {
      const compress = compression({ threshold: 0 }) as RequestHandler
      app.use(...(place === 'before' ? [compress, ours()] : [ours(), compress]))
      app.post(
        '/x',
        passingErrors(async (_request, response) => {
          await store('Fido')
          response.set({ 'cache-control': 'no-store', 'content-security-policy': "default-src 'none'" })
          response
            .cookie('a', 'b')
            .status(201)
            .json({ text: 'text '.repeat(100) })
        }),
      )
      await start()
      // With a client that decodes nothing by itself.
      const ask = async (accepted: string): Promise<{ headers: Headers; text: string }> => {
        const { request } = await import('node:http')
        return await new Promise((resolve, reject) => {
          const headers = { ...key, 'accept-encoding': accepted }
          request(`${server?.url}/x`, { method: 'POST', headers }, (response) => {
            const parts: Buffer[] = []
            response.on('data', (part: Buffer) => parts.push(part))
            response.on('end', () => {
              const bytes = Buffer.concat(parts)
              const isZipped = response.headers['content-encoding'] === 'gzip'
              const text = (isZipped ? gunzipSync(bytes) : bytes).toString()
              resolve({ headers: new Headers(response.headers as Record<string, string>), text })
            })
          })
            .on('error', reject)
            .end()
        })
      }
      const first = await ask('gzip')
      expect([first.headers.get('content-encoding'), first.headers.get('set-cookie')]).toEqual(['gzip', 'a=b; Path=/'])
      for (const [accepted, encoding] of [
        ['gzip', 'gzip'],
        ['gzip;q=0, identity', null],
        ['identity', null],
        ['', null],
        ['gzip, deflate', 'gzip'],
      ] as const) {
        const { headers, text } = await ask(accepted)
        expect([headers.get('idempotency-replayed'), headers.get('content-encoding')]).toEqual(['true', encoding])
        expect(text).toBe(first.text)
        for (const name of ['cache-control', 'content-security-policy', 'content-type']) {
          expect(headers.get(name)).toBe(first.headers.get(name))
        }
        expect(headers.get('set-cookie')).toBeNull()
      }
    },
  )

  it('refuses to keep cookies and what belongs to a connection', () => {
    for (const name of ['Set-Cookie', 'connection', 'Transfer-Encoding', 'content-length']) {
      expect(() => ours({ headers: [name] })).toThrow(name.toLowerCase())
    }
  })
})

describe('on Fastify', () => {
  it.each([false, true, 'keyValues'] as const)(
    'refuses an upload where nothing tells its files, with attachFieldsToBody: %s',
    async (attachFieldsToBody) => {
      await fastify.register(fastifyMultipart, attachFieldsToBody === false ? {} : { attachFieldsToBody })
      await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
      fastify.setErrorHandler(fastifyAdapter.problemDetails())
      fastify.post('/upload', async (_request, reply) => await reply.code(201).send(await store('Fido')))
      await startFastify()
      const refused = await upload('AAA')
      expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([415, 'ES_IDEMPOTENCY_BODY'])
      expect(await open.dogs()).toEqual([])
    },
  )

  it('tells files apart by the option fingerprint, and text by itself', async () => {
    await fastify.register(fastifyMultipart, { attachFieldsToBody: 'keyValues' })
    await fastify.register(fastifyAdapter.transactions, { datastore: open.datastore, idempotency })
    const fingerprint = ({ body }: { body: unknown }): string => JSON.stringify(body)
    const transaction = { idempotency: { fingerprint } }
    fastify.post('/upload', { config: { transaction } }, async () => await store('Fido'))
    fastify.post('/text', async () => await store('Rex'))
    await startFastify()
    expect(outcomeOf(await upload('AAA'))).toEqual([200, null])
    expect(outcomeOf(await upload('AAA'))).toEqual([200, 'true'])
    expect((await upload('BBB')).status).toBe(422)
    const text = { 'content-type': 'text/plain', 'idempotency-key': 'text' }
    for (const replayed of [null, 'true']) {
      expect(outcomeOf(await post('/text', { body: 'hello', headers: text }))).toEqual([200, replayed])
    }
    expect((await post('/text', { body: 'good bye', headers: text })).status).toBe(422)
  })
})
