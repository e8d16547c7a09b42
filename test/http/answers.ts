/** Every way to answer a request, in Express and in Fastify: what the tests of answers.test.ts go through. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { RequestHandler } from 'express'
import type { FastifyReply, RouteHandlerMethod } from 'fastify'

/** What a handler does before it answers: stores a row and an event. */
export type Save = () => Promise<void>

/** A request, the handlers for it, and what comes of it. */
export interface Answer {
  /** A statement: docs/http.md refers to it. */
  readonly name: string
  readonly method?: 'GET' | 'HEAD' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly payload?: string
  readonly express?: (save: Save) => RequestHandler
  readonly fastify?: (save: Save) => RouteHandlerMethod
  readonly status: number
  /** The whole body; default: none. */
  readonly body?: string
}

const large = 'x'.repeat(200_000)
const parts = [Buffer.from('first, '), Buffer.from(large)]
const whole = parts.join('')
const html = '<p>found</p>'

async function* slowParts(): AsyncGenerator<Buffer> {
  for (const part of parts) {
    yield part
    await delay(2)
  }
}

const json = { 'content-type': 'application/json' }

/** Answers that commit what was stored before them. */
export const successes: readonly Answer[] = [
  {
    name: 'an object as JSON',
    status: 200,
    body: '{"made":true}',
    express: (save) => async (_request, response) => {
      await save()
      response.json({ made: true })
    },
    fastify: (save) => async () => {
      await save()
      return { made: true }
    },
  },
  {
    name: 'a text',
    status: 201,
    body: 'made',
    express: (save) => async (_request, response) => {
      await save()
      response.status(201).send('made')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.code(201).send('made')
    },
  },
  {
    name: 'bytes',
    status: 200,
    body: whole,
    express: (save) => async (_request, response) => {
      await save()
      response.send(Buffer.concat(parts))
    },
    fastify: (save) => async () => {
      await save()
      return Buffer.concat(parts)
    },
  },
  {
    name: 'from a handler that is no async function',
    status: 201,
    body: 'made',
    express: (save) => (_request, response, next) => {
      save().then(() => response.status(201).send('made'), next)
    },
    fastify: (save) => (_request, reply) => {
      save().then(
        () => reply.code(201).send('made'),
        (error: unknown) => reply.send(error),
      )
    },
  },
  {
    name: 'a reply that its handler does not return',
    status: 201,
    body: 'made',
    fastify: (save) => async (_request, reply) => {
      await save()
      void reply.code(201).send('made')
    },
  },
  {
    name: 'nothing, with 204',
    status: 204,
    express: (save) => async (_request, response) => {
      await save()
      response.status(204).end()
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.code(204).send()
    },
  },
  {
    name: '304 to a conditional GET',
    method: 'GET',
    headers: { 'if-none-match': '"1"' },
    status: 304,
    express: (save) => async (_request, response) => {
      await save()
      response.set('etag', '"1"').send('not to be sent')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.header('etag', '"1"').code(304).send()
    },
  },
  {
    name: 'HEAD with the length of what GET would send',
    method: 'HEAD',
    status: 200,
    express: (save) => async (_request, response) => {
      await save()
      response.send('made')
    },
    fastify: (save) => async () => {
      await save()
      return 'made'
    },
  },
  {
    name: 'a redirect',
    status: 303,
    body: html,
    express: (save) => async (_request, response) => {
      await save()
      response.location('/elsewhere').status(303).send(html)
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.header('location', '/elsewhere').code(303).send(html)
    },
  },
  {
    name: 'a stream of Node',
    status: 200,
    body: whole,
    express: (save) => async (_request, response) => {
      await save()
      Readable.from(parts).pipe(response)
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.send(Readable.from(parts))
    },
  },
  {
    name: 'an async generator',
    status: 200,
    body: whole,
    express: (save) => async (_request, response) => {
      await save()
      await pipeline(slowParts, response)
    },
    fastify: (save) => async () => {
      await save()
      return Readable.from(slowParts())
    },
  },
  {
    name: 'a stream of the web',
    status: 200,
    body: whole,
    express: (save) => async (_request, response) => {
      await save()
      for await (const part of Readable.toWeb(Readable.from(parts))) response.write(part)
      response.end()
    },
    fastify: (save) => async () => {
      await save()
      return Readable.toWeb(Readable.from(parts))
    },
  },
  {
    name: 'a Response',
    status: 202,
    body: whole,
    fastify: (save) => async () => {
      await save()
      return new Response(whole, { status: 202 })
    },
  },
  {
    name: 'a file',
    status: 200,
    body: 'made\n',
    express: (save) => async (_request, response) => {
      await save()
      response.sendFile(fileURLToPath(new URL('answers.txt', import.meta.url)))
    },
  },
  {
    name: 'a head that is flushed, and a body later',
    status: 200,
    body: 'late',
    express: (save) => async (_request, response) => {
      await save()
      response.type('text').flushHeaders()
      await delay(5)
      response.end('late')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      const response = hijacked(reply)
      response.flushHeaders()
      await delay(5)
      response.end('late')
    },
  },
  {
    name: 'a head that is flushed, and a body at once',
    status: 200,
    body: 'at once',
    express: (save) => async (_request, response) => {
      await save()
      response.type('text').flushHeaders()
      response.end('at once')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      const response = hijacked(reply)
      response.flushHeaders()
      response.end('at once')
    },
  },
  {
    name: 'parts that are written one by one',
    status: 200,
    body: 'early, late',
    express: (save) => async (_request, response) => {
      await save()
      response.write('early, ')
      await delay(5)
      response.end('late')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      const response = hijacked(reply)
      response.writeHead(200).write('early, ')
      await delay(5)
      response.end('late')
    },
  },
  {
    name: 'a body of the request that was parsed',
    headers: json,
    payload: '{"name":"Fido"}',
    status: 200,
    body: 'Fido',
    express: (save) => async (request, response) => {
      await save()
      response.send(request.body.name)
    },
    fastify: (save) => async (request) => {
      await save()
      return (request.body as { name: string }).name
    },
  },
  {
    name: 'a form that was parsed',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: 'name=Fido',
    status: 200,
    body: 'Fido',
    express: (save) => async (request, response) => {
      await save()
      response.send(request.body.name)
    },
  },
  {
    name: 'server-sent events',
    status: 200,
    body: 'data: 1\n\ndata: 2\n\n',
    express: (save) => async (_request, response) => {
      await save()
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      await delay(5)
      response.end('data: 2\n\n')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.header('content-type', 'text/event-stream').send(Readable.from(['data: 1\n\n', 'data: 2\n\n']))
    },
  },
  {
    name: 'a request that waits for 100 Continue',
    headers: { ...json, expect: '100-continue' },
    payload: '{"name":"Fido"}',
    status: 200,
    body: 'Fido',
    express: (save) => async (request, response) => {
      await save()
      response.send(request.body.name)
    },
    fastify: (save) => async (request) => {
      await save()
      return (request.body as { name: string }).name
    },
  },
]

const circular: { self?: unknown } = {}
circular.self = circular

const failing = (): Readable =>
  new Readable({
    read() {
      this.destroy(new Error('the stream is broken'))
    },
  })

/** Requests that fail: nothing is stored of them. Errors are answered by an error handler, as text. */
export const failures: readonly Answer[] = [
  {
    name: 'an error that an async handler throws',
    status: 500,
    express: (save) => async () => {
      await save()
      throw new Error('secret')
    },
    fastify: (save) => async () => {
      await save()
      throw new Error('secret')
    },
  },
  {
    name: 'an error that a handler throws at once, with work under way',
    status: 500,
    express: (save) => () => {
      save().catch(() => undefined)
      throw new Error('secret')
    },
    fastify: (save) => () => {
      save().catch(() => undefined)
      throw new Error('secret')
    },
  },
  {
    name: 'an error that is passed on',
    status: 500,
    express: (save) => async (_request, _response, next) => {
      await save()
      next(new Error('secret'))
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.send(new Error('secret'))
    },
  },
  {
    name: 'an error that has a status of its own',
    status: 418,
    express: (save) => async () => {
      await save()
      throw Object.assign(new Error('a teapot'), { statusCode: 418 })
    },
    fastify: (save) => async () => {
      await save()
      throw Object.assign(new Error('a teapot'), { statusCode: 418 })
    },
  },
  {
    name: 'a thrown value that is no error',
    status: 500,
    express: (save) => async () => {
      await save()
      // What careless code does.
      throw 'secret' as unknown as Error
    },
    fastify: (save) => async () => {
      await save()
      throw 'secret' as unknown as Error
    },
  },
  {
    name: 'a status of 400 or more',
    status: 422,
    body: '{"no":true}',
    express: (save) => async (_request, response) => {
      await save()
      response.status(422).json({ no: true })
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.code(422).send({ no: true })
    },
  },
  {
    name: 'a status of 400 or more, with a stream',
    status: 503,
    body: whole,
    express: (save) => async (_request, response) => {
      await save()
      Readable.from(parts).pipe(response.status(503))
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.code(503).send(Readable.from(parts))
    },
  },
  {
    name: 'a body that cannot be serialised',
    status: 500,
    express: (save) => async (_request, response) => {
      await save()
      response.json(circular)
    },
    fastify: (save) => async () => {
      await save()
      return circular
    },
  },
  {
    name: 'a stream that fails before its first byte',
    status: 500,
    express: (save) => async (_request, response, next) => {
      await save()
      failing().on('error', next).pipe(response)
    },
    fastify: (save) => async () => {
      await save()
      return failing()
    },
  },
  {
    name: 'a header that Node refuses',
    status: 500,
    express: (save) => async (_request, response) => {
      await save()
      response.set('x-name', 'a\nb').send('made')
    },
    fastify: (save) => async (_request, reply) => {
      await save()
      return await reply.header('x-name', 'a\nb').send('made')
    },
  },
  {
    name: 'a request body that is no JSON',
    headers: json,
    payload: '{"name":',
    status: 400,
    express: (save) => async (_request, response) => {
      await save()
      response.end()
    },
    fastify: (save) => async () => await save(),
  },
  {
    name: 'a request body that is too large',
    headers: json,
    payload: `{"name":"${'x'.repeat(1_100_000)}"}`,
    status: 413,
    express: (save) => async (_request, response) => {
      await save()
      response.end()
    },
    fastify: (save) => async () => await save(),
  },
]

function hijacked(reply: FastifyReply): FastifyReply['raw'] {
  reply.hijack()
  return reply.raw
}
