/** Read-your-writes: an answer says what it has stored, and the next request waits until projections show it. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express5, { type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as forExpress from '../../adapters/express.js'
import * as forFastify from '../../adapters/fastify.js'
import { defineProjection, on, ProgrammingError, ProjectionRunner } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'

interface Options {
  readonly onStale?: 'answer' | 'refuse'
  readonly waitMs?: number
}

interface Running {
  readonly url: string
  close(): Promise<void>
}

/** Starts a server with `POST /dogs/:name`, `POST /nothing`, `POST /failing` and `GET /dogs`, which shows the projection `owners`. */
type Start = (
  open: OpenDatabase,
  school: TrainingSchool,
  runner: ProjectionRunner,
  options: Options,
) => Promise<Running>

const onFastify: Start = async ({ datastore, db }, school, runner, { onStale, waitMs = 2_000 }) => {
  const server = Fastify({ forceCloseConnections: true })
  await server.register(forFastify.projections, { runner, start: false, health: '/health' })
  await server.register(forFastify.transactions, { datastore, cookie: true })
  server.setErrorHandler(forFastify.problemDetails())
  server.post<{ Params: { name: string } }>('/dogs/:name', async (request, reply) => {
    await school.register(request.params.name)
    return await reply.code(201).header('set-cookie', 'a=b').send({})
  })
  server.post('/nothing', async () => await db.owner.create({ data: { name: 'Ann', dog: 'Ace' } }))
  server.post('/failing', async (_request, reply) => {
    await school.register('Failing')
    await datastore.currentTransaction.flush()
    return await reply.code(422).send({})
  })
  const config = { projections: ['owners'], waitMs, ...(onStale === undefined ? {} : { onStale }) }
  server.get('/dogs', { config }, async () => await db.owner.count())
  return {
    url: await server.listen({ port: 0, host: '127.0.0.1' }),
    close: () => server.close(),
  }
}

const onExpress =
  (make: () => Express): Start =>
  async ({ datastore, db }, school, runner, { onStale, waitMs = 2_000 }) => {
    const app = make()
    app.set('env', 'test')
    app.get('/health', forExpress.projectionHealth(runner))
    app.use(forExpress.transactions(datastore, { cookie: true }))
    const answer =
      (work: (request: express5.Request, response: express5.Response) => Promise<unknown>): express5.RequestHandler =>
      async (request, response, next) => {
        try {
          await work(request, response)
        } catch (error) {
          next(error)
        }
      }
    app.post(
      '/dogs/:name',
      answer(async (request, response) => {
        await school.register(String(request.params['name']))
        response.status(201).cookie('a', 'b').json({})
      }),
    )
    app.post(
      '/nothing',
      answer(async (_request, response) => response.json(await db.owner.create({ data: { name: 'Ann', dog: 'Ace' } }))),
    )
    app.post(
      '/failing',
      answer(async (_request, response) => {
        await school.register('Failing')
        await datastore.currentTransaction.flush()
        response.status(422).json({})
      }),
    )
    const options = { waitMs, ...(onStale === undefined ? {} : { onStale }) }
    app.get(
      '/dogs',
      forExpress.upToDate(runner, ['owners'], options),
      answer(async (_request, response) => response.json(await db.owner.count())),
    )
    app.use(forExpress.problemDetails())
    const server: Server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async close() {
        server.closeAllConnections()
        server.close()
      },
    }
  }

const starts: Readonly<Record<string, Start>> = {
  'Fastify 5': onFastify,
  'Express 5': onExpress(express5),
  // Its types are those of Express 5, as far as they are used here.
  'Express 4': onExpress(express4 as unknown as () => Express),
}

describe.each(databasesOf('postgresql', 'sqlite'))('on $name', (kind) => {
  describe.each(Object.entries(starts))('%s', (_name, start) => {
    let open: OpenDatabase
    let school: TrainingSchool
    let runner: ProjectionRunner
    let server: Running | undefined
    beforeEach(async () => {
      open = await openDatabase(kind)
      const { datastore, db } = open
      school = new TrainingSchool({ datastore })
      const owners = defineProjection({
        name: 'owners',
        models: ['Owner'],
        on: [on(Dog, 'Registered', async (e) => await db.owner.create({ data: { name: 'Ann', dog: e.originatorId } }))],
      })
      runner = new ProjectionRunner({ application: school, datastore, projections: [owners] })
      await runner.createTable()
    })
    afterEach(async () => {
      await server?.close()
      await runner.stop()
      await open.close()
    })

    const serve = async (options: Options = {}): Promise<string> =>
      (server = await start(open, school, runner, options)).url
    const post = async (url: string, path: string): Promise<Response> =>
      await fetch(`${url}${path}`, { method: 'POST' })
    const get = async (url: string, headers: Record<string, string>): Promise<Response> =>
      await fetch(`${url}/dogs`, { headers })

    it('says what a request has stored, and nothing where it has stored no event', async () => {
      const url = await serve()
      const stored = await post(url, '/dogs/Fido')
      expect([stored.status, stored.headers.get('es-position')]).toEqual([201, 'TrainingSchool/1'])
      expect(stored.headers.getSetCookie()).toEqual([
        expect.stringMatching(/^a=b/),
        'es-position=TrainingSchool%2F1; Max-Age=10; Path=/; HttpOnly; SameSite=Lax',
      ])
      for (const path of ['/nothing', '/failing']) {
        const { headers } = await post(url, path)
        expect([headers.get('es-position'), headers.get('set-cookie')]).toEqual([null, null])
      }
    })

    it('waits until the projection shows it, by header or cookie, without holding a connection', async () => {
      const url = await serve({ onStale: 'refuse', waitMs: 20_000 })
      const position = (await post(url, '/dogs/Fido')).headers.get('es-position') ?? ''
      const waiting = Array.from({ length: 50 }, () => get(url, { 'es-wait-for': position }))
      const ofBrowser = get(url, { cookie: `x=1; es-position=${encodeURIComponent(position)}` })
      // More would be served by a pool of ten only if those who wait have no connection.
      expect((await post(url, '/dogs/Rex')).status).toBe(201)
      await runner.start()
      for (const response of await Promise.all([...waiting, ofBrowser])) {
        expect(response.status).toBe(200)
        expect(Number(await response.text())).toBeGreaterThanOrEqual(1)
      }
    })

    it('never shows less than what was stored before', async () => {
      const url = await serve({ onStale: 'refuse', waitMs: 20_000 })
      await runner.start()
      for (let count = 1; count <= 20; count += 1) {
        const { headers } = await post(url, `/dogs/dog-${count}`)
        const response = await get(url, { 'es-wait-for': headers.get('es-position') ?? '' })
        expect([response.status, await response.text()]).toEqual([200, String(count)])
      }
    })

    it('answers with what there is, and how far that is, or refuses', async () => {
      let url = await serve({ waitMs: 20 })
      await school.register('Fido')
      await runner.runOnce()
      await school.register('Rex')
      const stale = await get(url, { 'es-wait-for': 'TrainingSchool/2' })
      expect([stale.status, stale.headers.get('es-position'), await stale.text()]).toEqual([
        200,
        'TrainingSchool/1',
        '1',
      ])
      await server?.close()
      url = await serve({ waitMs: 60_000, onStale: 'refuse' })
      const refused = await get(url, { 'es-wait-for': 'Other/9, TrainingSchool/2', prefer: 'respond-async, wait=0' })
      expect([refused.status, refused.headers.has('retry-after')]).toEqual([503, true])
      expect(await refused.json()).toMatchObject({ code: 'ES_PROJECTION_STALE' })
    })

    it('refuses positions that are none, or that the log does not have, and passes over those of other logs', async () => {
      const url = await serve({ waitMs: 60_000 })
      await school.register('Fido')
      for (const hostile of [
        '',
        'x',
        'TrainingSchool',
        'TrainingSchool/-1',
        'TrainingSchool/1e3',
        'TrainingSchool/99',
        'TrainingSchool/9223372036854775808',
        'TrainingSchool/2, ',
        `TrainingSchool/${'9'.repeat(40)}`,
        '%E0/1',
        "TrainingSchool/1' OR 1=1",
      ]) {
        const response = await get(url, { 'es-wait-for': hostile })
        expect([hostile, response.status, await response.json()]).toMatchObject([hostile, 400, { code: 'ES_POSITION' }])
      }
      expect((await get(url, { 'es-wait-for': 'Other/99' })).status).toBe(200)
      // A browser may have it from before a restore.
      expect((await get(url, { cookie: 'es-position=TrainingSchool%2F99' })).status).toBe(200)
      expect((await get(url, { cookie: 'es-position=%' })).status).toBe(200)
    })

    it('tells the health of the projections', async () => {
      const url = await serve()
      const response = await fetch(`${url}/health`)
      expect([response.status, await response.json()]).toMatchObject([
        200,
        { healthy: true, projections: { owners: { version: 1 } } },
      ])
    })

    it('refuses projections that the runner does not have, when the route is made', async () => {
      expect(() => forExpress.upToDate(runner, ['other'])).toThrow(ProgrammingError)
      const fastify = Fastify()
      await fastify.register(forFastify.projections, { runner, start: false })
      expect(() => fastify.get('/', { config: { projections: ['other'] } }, async () => 1)).toThrow(
        /the runner has owners/,
      )
      await fastify.close()
    })
  })
})
