/** The examples do what they show, on Fastify and on Express. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../examples/db.js'
import { expressServer } from '../../examples/express.js'
import { fastifyServer } from '../../examples/fastify.js'
import { migrate } from '../../src/cli/migrate.js'

interface Server {
  readonly url: string
  close(): Promise<void>
}

const servers: Readonly<Record<string, (database: Database) => Promise<Server>>> = {
  async Fastify(database) {
    const server = await fastifyServer(database)
    return { url: await server.listen({ host: '127.0.0.1', port: 0 }), close: async () => await server.close() }
  },
  async Express(database) {
    const server = expressServer(database).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return {
      url: `http://127.0.0.1:${port}`,
      async close() {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
}

describe.each(Object.entries(servers))('the %s example', (_name, start) => {
  let cleanUp: () => Promise<void> = async () => {}
  afterEach(async () => await cleanUp())

  it('changes rows and aggregates together, and neither when the handler fails', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'es-example-'))
    const url = `file:${join(folder, 'test.db')}`
    await migrateExamples(url)
    const database = openDatabase(url)
    const server = await start(database)
    cleanUp = async () => {
      await server.close()
      await database.datastore.close()
      rmSync(folder, { recursive: true })
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

async function migrateExamples(url: string): Promise<void> {
  const migrations = fileURLToPath(new URL('../../examples/prisma/migrations', import.meta.url))
  await migrate({ url, migrations })
}
