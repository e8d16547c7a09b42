/** Read-your-writes where the runner is another process: no answer shows less than what its client has stored. */
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PrismaDatastore, ProjectionRunner } from '../../src/index.js'
import { TrainingSchool } from '../application/dogs.js'
import type { TestClient } from '../prisma/open-database.js'
import { ownersOf } from '../projection/owners.js'
import { type ProjectionProcess, startProcess } from '../projection/processes.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { type Running, starts } from './up-to-date-servers.js'

/** How often a client stores something and reads it; more by hand. */
const rounds = Number(process.env['READ_YOUR_WRITES'] ?? 20)
const waiters = 200

// A pool with a limit of our own: that of MariaDB has the same code below it, and is shown by hand.
const kinds = databasesOf('postgresql', ...(rounds > 100 ? (['mysql'] as const) : []))

describe.each(kinds)('on $name, with a pool of two', (kind) => {
  describe.each(Object.entries(starts).filter(([name]) => name !== 'Express 4'))('%s', (_name, start) => {
    let database: TestDatabase
    let datastore: PrismaDatastore<TestClient>
    let runner: ProjectionRunner
    let other: ProjectionProcess
    let server: Running
    beforeEach(async () => {
      database = await kind.createDatabase()
      datastore = new PrismaDatastore({
        adapter:
          kind.provider === 'mysql'
            ? new PrismaMariaDb(`${database.url}?connectionLimit=2`)
            : new PrismaPg({ connectionString: database.url, max: 2 }),
        client: (adapter) => database.newClient(adapter) as TestClient,
      })
      const application = new TrainingSchool({ datastore })
      const db = datastore.client
      runner = new ProjectionRunner({ application, datastore, projections: [ownersOf(() => db, 1)] })
      await runner.createTable()
      other = await startProcess(kind.provider, database.url)
      server = await start({ datastore, db }, application, runner, { onStale: 'refuse', waitMs: 20_000 })
    }, 60_000)
    afterEach(async () => {
      other.kill()
      await server.close()
      await datastore.close()
      await database.drop()
    })

    const post = async (name: string): Promise<string> => {
      const { status, headers } = await fetch(`${server.url}/dogs/${name}`, { method: 'POST' })
      expect(status).toBe(201)
      return headers.get('es-position') ?? ''
    }
    const get = async (headers: Record<string, string>): Promise<readonly [number, string]> => {
      const response = await fetch(`${server.url}/dogs`, { headers })
      return [response.status, await response.text()]
    }

    it(
      'shows what was stored before, each time',
      async () => {
        let stale = 0
        for (let count = 1; count <= rounds; count += 1) {
          const [status, body] = await get({ 'es-wait-for': await post(`dog-${count}`) })
          expect(status).toBe(200)
          if (Number(body) < count) stale += 1
        }
        expect(stale).toBe(0)
      },
      30_000 + rounds * 1_000,
    )

    it('holds no connection for those who wait', async () => {
      await runner.pause('owners')
      // It looks whether it is to rest when there is something to do.
      let count = 0
      await expect
        .poll(async () => [await post(`dog-${(count += 1)}`), other.said.at(-1)][1], { timeout: 20_000 })
        .toBe('paused')
      const position = await post('awaited')
      const waiting = Array.from({ length: waiters }, async () => await get({ 'es-wait-for': position }))
      // Two connections would not do for this one, if one of those had any.
      expect(await post('meanwhile')).toBe(`TrainingSchool/${count + 2}`)
      await runner.resume('owners')
      const answers = await Promise.all(waiting)
      expect(answers.filter(([status, body]) => status !== 200 || Number(body) <= count)).toEqual([])
    }, 60_000)

    it('brings the position of a form with the page that it leads to, by the cookie', async () => {
      for (let count = 1; count <= 3; count += 1) {
        const form = await fetch(`${server.url}/forms/dog-${count}`, { method: 'POST', redirect: 'manual' })
        expect([form.status, form.headers.get('location')]).toEqual([303, '/dogs'])
        const [cookie = ''] = form.headers.getSetCookie().map((text) => text.split(';')[0] ?? '')
        expect(await get({ cookie })).toEqual([200, String(count)])
      }
    }, 60_000)
  })
})
