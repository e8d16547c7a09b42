/**
 * A small but whole app in one process, which tests bundle and run on other runtimes: the same routes on Fastify, Express and Hono, each on
 * an SQLite file of its own in the folder that is named. It prints where they listen, and ends when it is written to.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import type { ProjectionRunner } from 'eventsourcing-prisma'
import * as expressAdapter from 'eventsourcing-prisma/express'
import * as fastifyAdapter from 'eventsourcing-prisma/fastify'
import * as honoAdapter from 'eventsourcing-prisma/hono'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { type Database, openDatabase } from '../../examples/db.js'
import { dogListRunner } from '../../examples/dog-list.js'
import { successes } from '../http/answers.js'

const idempotency = { scope: 'public' } as const

/** What a handler does: an event and a row; and what lets COMMIT fail, when it is asked for. */
async function register({ db, school }: Database, { name, owner }: Registration, breaksCommit: boolean): Promise<void> {
  await school.register(name)
  await db.owner.create({ data: { name: owner, dog: name } })
  // The database looks at this reference when it commits, and there is no such owner.
  if (breaksCommit) await db.$executeRaw`INSERT INTO Toy (owner) VALUES (-1)`
}

interface Registration {
  readonly name: string
  readonly owner: string
}

/** How often the route that gives each answer was asked, so that each request registers another dog. */
let asked = 0

async function saveSome(database: Database, mark: unknown): Promise<void> {
  asked += 1
  await register(database, { name: `Dog ${asked}`, owner: 'Ann' }, mark === 'yes')
}

async function startFastify(database: Database): Promise<string> {
  const { datastore, school, db } = database
  const server = Fastify({ exposeHeadRoutes: false })
  server.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  await server.register(fastifyAdapter.transactions, { datastore, idempotency })
  server.setErrorHandler(fastifyAdapter.problemDetails())
  server.post<{ Body: Registration }>('/dogs', async ({ body, headers }, reply) => {
    await register(database, body, headers['x-break'] === 'yes')
    return await reply.code(201).send(body)
  })
  server.post<{ Body: Registration }>('/failing', async ({ body }) => {
    await register(database, body, false)
    throw new Error('The dog ran away')
  })
  server.post<{ Params: { name: string }; Body: { trick: string } }>('/dogs/:name/tricks', async ({ params, body }) => {
    await school.addTrick(params.name, body.trick)
    return await school.getTricks(params.name)
  })
  server.get('/dogs', async () => await db.listedDog.findMany({ orderBy: { name: 'asc' } }))
  for (const [index, { method = 'POST', fastify: handlerOf }] of successes.entries()) {
    if (handlerOf === undefined) continue
    server.route({
      method,
      url: `/answers/${index}`,
      handler(request, reply) {
        return handlerOf(async () => await saveSome(database, request.headers['x-break'])).call(this, request, reply)
      },
    })
  }
  return await server.listen({ host: '127.0.0.1', port: 0 })
}

async function startExpress(database: Database): Promise<string> {
  const { datastore, school, db } = database
  const app = express().set('env', 'test')
  app.use(express.json(), express.urlencoded({ extended: false }))
  app.use(expressAdapter.transactions(datastore, { idempotency }))
  app.post('/dogs', async ({ body, headers }, response) => {
    await register(database, body, headers['x-break'] === 'yes')
    response.status(201).json(body)
  })
  app.post('/failing', async ({ body }) => {
    await register(database, body, false)
    throw new Error('The dog ran away')
  })
  app.post('/dogs/:name/tricks', async ({ params, body }, response) => {
    await school.addTrick(params.name, body.trick)
    response.json(await school.getTricks(params.name))
  })
  app.get('/dogs', async (_request, response) => {
    response.json(await db.listedDog.findMany({ orderBy: { name: 'asc' } }))
  })
  for (const [index, answer] of successes.entries()) {
    const handlerOf = answer.express
    if (handlerOf === undefined) continue
    app.all(`/answers/${index}`, (request, response, next) =>
      handlerOf(async () => await saveSome(database, request.headers['x-break']))(request, response, next),
    )
  }
  app.use(expressAdapter.problemDetails())
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function startHono(database: Database): Promise<string> {
  const { datastore, school, db } = database
  const app = new Hono()
  const ours = honoAdapter.transactions(datastore, { idempotency })
  app.onError(honoAdapter.problemDetails())
  app.post('/dogs', ours, async (c) => {
    const body: Registration = await c.req.json()
    await register(database, body, c.req.header('x-break') === 'yes')
    return c.json(body, 201)
  })
  app.post('/failing', ours, async (c) => {
    await register(database, await c.req.json(), false)
    throw new Error('The dog ran away')
  })
  app.post('/dogs/:name/tricks', ours, async (c) => {
    const { trick } = await c.req.json()
    await school.addTrick(c.req.param('name'), trick)
    return c.json(await school.getTricks(c.req.param('name')))
  })
  app.get('/dogs', ours, async (c) => c.json(await db.listedDog.findMany({ orderBy: { name: 'asc' } })))
  return await serveFetch(app.fetch)
}

type Fetch = (request: Request, env?: object) => Response | Promise<Response>

/** By the server that a runtime has for functions from requests to responses. */
async function serveFetch(fetch: Fetch): Promise<string> {
  // The types of Bun and of Deno are not there on Node.
  const { Bun: bun, Deno: deno } = globalThis as unknown as Partial<Runtimes>
  if (bun !== undefined) return bun.serve({ hostname: '127.0.0.1', port: 0, fetch }).url.origin
  if (deno !== undefined) {
    const options = { hostname: '127.0.0.1', port: 0, onListen: () => undefined }
    return `http://127.0.0.1:${deno.serve(options, fetch).addr.port}`
  }
  return await new Promise((resolve) => {
    serve({ fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => resolve(`http://127.0.0.1:${port}`))
  })
}

interface Runtimes {
  readonly Bun: {
    serve(options: { hostname: string; port: number; fetch: Fetch }): { readonly url: URL }
  }
  readonly Deno: {
    serve(options: object, handler: Fetch): { readonly addr: { readonly port: number } }
  }
}

const start = { fastify: startFastify, express: startExpress, hono: startHono }
const [folder = '.'] = process.argv.slice(2)
const opened: Array<{ readonly database: Database; readonly runner: ProjectionRunner }> = []
const urls: Record<string, string> = {}
for (const [name, startServer] of Object.entries(start)) {
  const database = openDatabase(`file:${folder}/${name}.db`)
  await database.db.$executeRaw`CREATE TABLE Toy (owner INTEGER REFERENCES Owner (id) DEFERRABLE INITIALLY DEFERRED)`
  const runner = dogListRunner(database)
  void runner.start()
  opened.push({ database, runner })
  urls[name] = await startServer(database)
}
process.stdout.write(`${JSON.stringify(urls)}\n`)
await once(process.stdin, 'data')
for (const { database, runner } of opened) {
  await runner.stop()
  await database.datastore.close()
}
process.exit()
