/** Loggers of requests beside problem details in Express: they get the cause of an answer from 500 on. */
import { Writable } from 'node:stream'
import express5, { type Express } from 'express'
import express4 from 'express4'
import { pinoHttp } from 'pino-http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../../adapters/express.js'
import { listen } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { type OpenDatabase, openDatabase } from '../../prisma/open-database.js'
import { databases } from '../../support/databases.js'

const [kind] = databases
if (kind === undefined) throw new Error('there is a database')

let open: OpenDatabase
beforeAll(async () => {
  open = await openDatabase(kind)
})
afterAll(async () => await open.close())

interface Line {
  readonly level: number
  readonly err?: { readonly message: string }
}

describe.each([
  ['Express 5', () => express5()],
  ['Express 4', () => express4() as unknown as Express],
] as const)('on %s', (_name, makeApp) => {
  it('pino-http logs the cause, and the option log is given it', async () => {
    const lines: Line[] = []
    const logged: unknown[] = []
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(JSON.parse(String(chunk)) as Line)
        done()
      },
    })
    const app = makeApp()
    app.use(pinoHttp({}, stream))
    app.use(transactions(open.datastore))
    const cause = new Error('no such luck')
    app.post(
      '/fails',
      passingErrors(async () => {
        await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        throw cause
      }),
    )
    app.post('/refuses', (_request, _response, next) => next(Object.assign(new Error('pay first'), { status: 402 })))
    app.use(problemDetails({ log: (error, request) => logged.push([error, request.url]) }))
    const server = await listen(app)
    try {
      const post = async (path: string): Promise<number> => (await fetch(server.url + path, { method: 'POST' })).status
      expect([await post('/fails'), await post('/refuses')]).toEqual([500, 402])
    } finally {
      await server.close()
    }
    await expect.poll(() => lines.length).toBe(2)
    expect(lines.map(({ err }) => err?.message)).toEqual(['no such luck', undefined])
    expect(logged).toEqual([[cause, '/fails']])
    expect(await open.dogs()).toEqual([])
  })
})
