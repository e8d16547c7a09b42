/** Read-your-writes: an answer says what it has stored, and the next request waits until projections show it. */
import Fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as forExpress from '../../adapters/express.js'
import * as forFastify from '../../adapters/fastify.js'
import { defineProjection, on, ProgrammingError, ProjectionRunner } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOf } from '../support/databases.js'
import { type Options, type Running, starts } from './up-to-date-servers.js'

describe.each(oneOf('postgresql', 'sqlite'))('on $name', (kind) => {
  describe.each(casesOn(kind, Object.entries(starts)))('%s', (_name, start) => {
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
        'TrainingSchool/1, TrainingSchool/1',
        'TrainingSchool/\u00b9',
        `TrainingSchool/1, ${Array.from({ length: 1_000 }, (_, id) => `${id}/1`).join(',')}`,
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
