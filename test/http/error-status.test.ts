/** What errors of this package say of their status to error handlers that know nothing of it. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express5, { type ErrorRequestHandler, type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { AggregateNotFoundError, OperationalError, OverloadedError, ProgrammingError } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import { passingErrors } from './servers.js'

const deadlineMs = 200
const thrown = {
  overloaded: new OverloadedError('no connection'),
  missing: new AggregateNotFoundError('no dog'),
  passing: new OperationalError('a deadlock', { retryable: true }),
  wrong: new ProgrammingError('a fault'),
}

describe('an error of this package', () => {
  it('says its status and Retry-After, not to logs, and lets others set them', () => {
    const said = Object.values(thrown).map((error) => [Reflect.get(error, 'status'), Reflect.get(error, 'statusCode')])
    expect(said).toEqual([
      [503, 503],
      [404, 404],
      [503, 503],
      [undefined, undefined],
    ])
    expect(Reflect.get(thrown.overloaded, 'headers')).toEqual({ 'retry-after': expect.stringMatching(/^[1-3]$/) })
    expect(Object.keys(thrown.overloaded)).not.toContain('status')
    const own = Object.assign(new OverloadedError('no connection'), { status: 429 })
    expect(Reflect.get(own, 'status')).toBe(429)
  })

  it('has the Retry-After that is asked for', () => {
    const problem = expressAdapter.problemOf(thrown.overloaded)
    expect(problem.status).toBe(503)
    const valueOf = (retryAfterSeconds: expressAdapter.RetryAfterSeconds): string | undefined =>
      expressAdapter.problemHeaders(problem, { retryAfterSeconds })['retry-after']
    expect(valueOf(7)).toBe('7')
    const taken = new Set(Array.from({ length: 200 }, () => valueOf([5, 7])))
    expect(taken).toEqual(new Set(['5', '6', '7']))
  })
})

describe.each(databasesOf('sqlite').slice(0, 1))('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())

  const late = async (): Promise<void> => {
    await open.db.owner.count()
    await new Promise((resolve) => setTimeout(resolve, 10 * deadlineMs))
  }
  const options = { deadlineMs, retryAfterSeconds: 9 }

  /** Starts an app of Express whose error handler is not ours. */
  async function withExpress(
    makeApp: () => Express,
    handler: ErrorRequestHandler,
    work: (url: string) => Promise<void>,
  ): Promise<void> {
    const app = makeApp()
    app.use(expressAdapter.transactions(open.datastore, options))
    app.get('/late', passingErrors(late))
    app.get('/thrown', () => {
      throw thrown.overloaded
    })
    app.use(handler)
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      // It listens on a port.
      await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }

  describe.each([
    { name: 'Express 5', makeApp: (): Express => express5() },
    { name: 'Express 4', makeApp: (): Express => express4() },
  ])('$name', ({ makeApp }) => {
    it('answers a passed deadline with 503 by a handler that sets no status', async () => {
      const handler: ErrorRequestHandler = (_error, _request, response, _next) => void response.json({})
      await withExpress(makeApp, handler, async (url) => {
        const response = await fetch(`${url}/late`)
        expect([response.status, response.headers.get('retry-after')]).toEqual([503, '9'])
      })
    })

    it('lets a handler read the status of the error', async () => {
      const handler: ErrorRequestHandler = (error: { status?: number }, _request, response, _next) =>
        void response.status(error.status ?? 500).json({})
      await withExpress(makeApp, handler, async (url) => {
        for (const path of ['/late', '/thrown']) expect((await fetch(url + path)).status).toBe(503)
      })
    })
  })

  it('Fastify answers a passed deadline with 503 by a handler that sets no status', async () => {
    const server = Fastify({ forceCloseConnections: true })
    await server.register(fastifyAdapter.transactions, { datastore: open.datastore, ...options })
    server.setErrorHandler(async (_error, _request, reply) => await reply.send({ own: true }))
    server.get('/late', late)
    const url = await server.listen({ host: '127.0.0.1', port: 0 })
    try {
      const response = await fetch(`${url}/late`)
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '9'])
      expect(await response.json()).toEqual({ own: true })
    } finally {
      await server.close()
    }
  })
})
