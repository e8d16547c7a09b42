/** What errors of Prisma's calls mean to a client, where `problemDetails` answers them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import { frameworks, type RunningServer } from './servers.js'

describe.each(databasesOf('sqlite').slice(0, 1))('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
    await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
  })
  afterAll(async () => await open.close())

  describe.each(frameworks)('$name', (framework) => {
    let server: RunningServer
    beforeAll(async () => {
      const route = (path: string, work: () => Promise<unknown>) => ({
        method: 'POST' as const,
        path,
        handle: async ({ send }: { send: (status: number) => void }) => {
          await work()
          send(201)
        },
      })
      server = await framework.start(open.datastore, [
        route('/taken', async () => await open.db.owner.create({ data: { name: 'Bob', dog: 'Fido' } })),
        route('/missing', async () => await open.db.owner.delete({ where: { dog: 'Rex' } })),
        route('/conflict', async () => {
          const name = 'PrismaClientKnownRequestError'
          throw Object.assign(new Error('Transaction failed due to a write conflict'), { name, code: 'P2034' })
        }),
      ])
    })
    afterAll(async () => await server.close())

    it.each([
      ['taken', 409, null],
      ['missing', 404, null],
      ['conflict', 503, expect.any(String)],
    ])('%s is %d', async (path, status, retryAfter) => {
      const response = await fetch(`${server.url}/${path}`, { method: 'POST' })
      const problem: unknown = await response.json()
      expect(response.status).toBe(status)
      expect(response.headers.get('retry-after')).toEqual(retryAfter)
      expect(problem).toMatchObject({ status })
      // What Prisma says tells of the database.
      expect(problem).not.toHaveProperty('detail')
    })
  })
})
