/** The examples do what they show, on Fastify and on Express. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Express } from 'express'
import { afterEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../examples/db.js'
import { dogListRunner } from '../../examples/dog-list.js'
import { expressServer } from '../../examples/express.js'
import { fastifyServer } from '../../examples/fastify.js'
import { listPage } from '../../examples/list-page.js'
import { migrate } from '../../src/cli/migrations.js'

interface Server {
  readonly url: string
  close(): Promise<void>
}

const servers: Readonly<Record<string, (database: Database) => Promise<Server>>> = {
  async Fastify(database) {
    const server = await fastifyServer(database)
    return { url: await server.listen({ host: '127.0.0.1', port: 0 }), close: async () => await server.close() }
  },
  Express: async (database) => await listening(expressServer(database)),
}

async function listening(app: Express): Promise<Server> {
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A database with the tables of the examples. */
async function migrated(): Promise<{ readonly database: Database; readonly remove: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'es-example-'))
  const url = `file:${join(folder, 'test.db')}`
  await migrate({ url, migrations: fileURLToPath(new URL('../../examples/prisma/migrations', import.meta.url)) })
  const database = openDatabase(url)
  return {
    database,
    remove: async () => {
      await database.datastore.close()
      rmSync(folder, { recursive: true })
    },
  }
}

describe.each(Object.entries(servers))('the %s example', (_name, start) => {
  let cleanUp: () => Promise<void> = async () => {}
  afterEach(async () => await cleanUp())

  it('changes rows and aggregates together, and neither when the handler fails', async () => {
    const { database, remove } = await migrated()
    const server = await start(database)
    cleanUp = async () => {
      await server.close()
      await remove()
    }
    const send = async (method: string, path: string, body?: object): Promise<[number, unknown]> => {
      const init =
        body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
      const response = await fetch(`${server.url}${path}`, { method, ...init })
      return [response.status, await response.json()]
    }
    expect(await send('POST', '/dogs', { name: 'Fido', owner: 'Ann' })).toEqual([201, { name: 'Fido', owner: 'Ann' }])
    expect(await send('POST', '/dogs/Fido/tricks', { trick: 'sit' })).toEqual([200, { tricks: ['sit'] }])
    expect(await send('GET', '/dogs/Fido')).toMatchObject([200, { tricks: ['sit'], owner: { name: 'Ann', treats: 1 } }])
    expect((await send('POST', '/failing', { name: 'Rex', owner: 'Bea' }))[0]).toBe(500)
    expect((await send('GET', '/dogs/Rex'))[0]).toBe(404)
    expect(await database.db.owner.count()).toBe(1)
    expect(await database.db.trainingSchoolEvent.count()).toBe(2)
  })
})

it('the page of the list shows what a browser has just stored', async () => {
  const { database, remove } = await migrated()
  const runner = dogListRunner(database)
  await runner.start()
  const server = await listening(listPage(database, runner))
  try {
    /** Posts a form, and follows the redirect as a browser does. */
    const post = async (path: string, fields: Record<string, string>): Promise<string> => {
      const init = { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' } as const
      const { status, headers } = await fetch(`${server.url}${path}`, init)
      expect(status).toBe(303)
      const cookie = headers.getSetCookie().map((text) => text.split(';')[0])
      const page = await fetch(new URL(headers.get('location') ?? '', server.url), {
        headers: { cookie: cookie.join('; ') },
      })
      return await page.text()
    }
    expect(await post('/dogs', { name: 'Fido & <Co>' })).toContain('<li>Fido &#38; &#60;Co&#62; (0)')
    expect(await post('/tricks', { name: 'Fido & <Co>', trick: 'sit' })).toContain('(1)')
    expect((await fetch(`${server.url}/health/projections`)).status).toBe(200)
  } finally {
    await server.close()
    await runner.stop()
    await remove()
  }
})
