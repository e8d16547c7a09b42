/** Parsers that call back from the request's stream: what a handler does behind them is in the transaction of the request. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fastifyMultipart from '@fastify/multipart'
import busboy from 'busboy'
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express'
import fileUpload from 'express-fileupload'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { formidable } from 'formidable'
import multer from 'multer'
import multer1 from 'multer1'
import multer20 from 'multer20'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { transactions } from '../../../adapters/express.js'
import * as fastifyAdapter from '../../../adapters/fastify.js'
import type { Listening } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { databases } from '../../support/databases.js'
import { expresses, Kennel, multipartParts, multipartType, postInParts, startExpress, startFastify } from './apps.js'

const folder = mkdtempSync(join(tmpdir(), 'es-uploads-'))
afterAll(() => rmSync(folder, { recursive: true }))

type Query = Readonly<Record<string, unknown>>

/** A handler that is given to a parser. */
type Behind = (handler: RequestHandler) => RequestHandler[]

const behindParser =
  (...parsers: RequestHandler[]): Behind =>
  (handler) => [...parsers, handler]

/** Reads the body by itself, and then runs the handler. */
const reading =
  (read: (request: Request, done: (error?: unknown) => void) => void): Behind =>
  (handler) => [(request, response, next) => read(request, onceRead(handler, request, response, next))]

const awaiting =
  (read: (request: Request) => Promise<unknown>): Behind =>
  (handler) => [
    passingErrors(async (request, response, next) => {
      await read(request)
      await handler(request, response, next)
    }),
  ]

function onceRead(handler: RequestHandler, request: Request, response: Response, next: NextFunction) {
  return (error?: unknown): void => {
    if (error === undefined || error === null) void handler(request, response, next)
    else next(error)
  }
}

const readByBusboy = (stream: NodeJS.ReadableStream & Pick<Request, 'headers'>, done: () => void): void => {
  const parser = busboy({ headers: stream.headers })
  parser.on('file', (_name, file) => file.resume())
  parser.on('close', done)
  stream.pipe(parser)
}

const multipart: Readonly<Record<string, Behind>> = {
  'multer 1.4.5-lts': behindParser(multer1().single('file')),
  'multer 1.4.5-lts, on disk': behindParser(multer1({ dest: folder }).single('file')),
  'multer 2.0': behindParser(multer20().single('file')),
  'multer 2.0, on disk': behindParser(multer20({ dest: folder }).single('file')),
  'multer 2.5': behindParser(multer().single('file')),
  'multer 2.5, on disk': behindParser(multer({ dest: folder }).single('file')),
  'formidable with a callback': behindParser((request, _response, next) => {
    formidable({ uploadDir: folder }).parse(request, (error: unknown) => next(error ?? undefined))
  }),
  'formidable, awaited': awaiting(async (request) => await formidable({ uploadDir: folder }).parse(request)),
  'express-fileupload': behindParser(fileUpload()),
  'express-fileupload with files': behindParser(fileUpload({ useTempFiles: true, tempFileDir: folder })),
  'busboy in the handler': reading(readByBusboy),
}

const other: Readonly<Record<string, Behind>> = {
  'express.json() on the route': behindParser(express.json()),
  'express.text() on the route': behindParser(express.text({ type: '*/*' })),
  'express.raw() on the route': behindParser(express.raw({ type: '*/*' })),
  "request.on('end')": reading((request, done) => void request.on('data', () => undefined).on('end', done)),
  "request.on('readable')": reading((request, done) => {
    request.on('readable', () => {
      while (request.read() !== null);
    })
    request.once('end', done)
  }),
  'for await': awaiting(async (request) => {
    for await (const _part of request);
  }),
}

const jsonParts = ['{"text":"', ...Array.from({ length: 4 }, () => 'y'.repeat(20_000)), '"}']

/** Sends the request twice: what is answered with a failure stores nothing, what is answered with success stores all. */
async function expectToHold(kennel: Kennel, url: string, isMultipart: boolean): Promise<void> {
  const name = new URL(url).pathname + kennel.open.datastore.stats.begun
  const post = async (query: string): Promise<number> => {
    const path = `${url}?${query}&dog=${encodeURIComponent(name)}`
    const [type, parts] = isMultipart ? [multipartType, multipartParts] : ['application/json', jsonParts]
    return (await postInParts(path, type, parts)).status
  }
  expect(await post('status=500')).toBe(500)
  expect(await kennel.stored(name)).toEqual({ rows: 0, events: 0 })
  expect(await post('status=201')).toBe(201)
  expect(await kennel.stored(name)).toEqual({ rows: 1, events: 1 })
}

const parsers = [
  ...Object.keys(multipart).map((name) => ({ name, isMultipart: true })),
  ...Object.keys(other).map((name) => ({ name, isMultipart: false })),
]
const pathOf = (name: string): string => `/${name.replace(/\W/g, '-')}`

describe.each(databases.slice(0, 1))('on $name', (kind) => {
  let kennel: Kennel
  beforeAll(async () => {
    kennel = await Kennel.open(kind)
  })
  afterAll(async () => {
    await kennel.close()
  })

  const work = async (query: Query): Promise<number> => {
    await kennel.register(String(query['dog']))
    return Number(query['status'])
  }

  describe.each(expresses)('$name', ({ makeApp }) => {
    let server: Listening
    beforeAll(async () => {
      const app = makeApp()
      app.use(transactions(kennel.open.datastore))
      const handler = passingErrors(async (request, response) => {
        response.status(await work(request.query)).json({})
      })
      for (const [name, behind] of Object.entries({ ...multipart, ...other }))
        app.post(pathOf(name), ...behind(handler))
      server = await startExpress(app)
    })
    afterAll(async () => {
      await server.close()
    })

    it.each(parsers)('keeps the transaction behind $name', async ({ name, isMultipart }) => {
      await expectToHold(kennel, server.url + pathOf(name), isMultipart)
    })
  })

  describe('Fastify', () => {
    let server: Listening
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
      reply.code(await work(request.query as Query)).send({})
    beforeAll(async () => {
      server = await startFastify(async (app) => {
        await app.register(fastifyAdapter.transactions, { datastore: kennel.open.datastore })
        await app.register(async (raw) => {
          raw.addContentTypeParser('multipart/form-data', (_request, _payload, done) => done(null))
          raw.post('/end', (request, reply) => {
            request.raw.on('data', () => undefined)
            request.raw.on('end', () => void handler(request, reply).catch((error) => reply.send(error)))
          })
          raw.post('/busboy', (request, reply) => {
            readByBusboy(request.raw, () => void handler(request, reply).catch((error) => reply.send(error)))
          })
        })
        await app.register(async (parsed) => {
          await parsed.register(fastifyMultipart)
          parsed.post('/file', async (request, reply) => {
            await (await request.file())?.toBuffer()
            return await handler(request, reply)
          })
          parsed.post('/files', async (request, reply) => {
            for await (const part of request.parts()) if (part.type === 'file') await part.toBuffer()
            return await handler(request, reply)
          })
          parsed.post('/saved', async (request, reply) => {
            await request.saveRequestFiles()
            return await handler(request, reply)
          })
        })
        await app.register(async (attached) => {
          await attached.register(fastifyMultipart, { attachFieldsToBody: true })
          attached.post('/attached', handler)
        })
      })
    })
    afterAll(async () => {
      await server.close()
    })

    it.each([
      { name: "request.raw.on('end')", path: '/end' },
      { name: 'busboy on request.raw', path: '/busboy' },
      { name: '@fastify/multipart, one file', path: '/file' },
      { name: '@fastify/multipart, part by part', path: '/files' },
      { name: '@fastify/multipart, files on disk', path: '/saved' },
      { name: '@fastify/multipart with attachFieldsToBody', path: '/attached' },
    ])('keeps the transaction behind $name', async ({ path }) => {
      await expectToHold(kennel, server.url + path, true)
    })
  })
})
