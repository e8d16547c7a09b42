/** What is written when the answer has been sent: who listened before the middleware writes by itself, who came after it is told. */
import { setTimeout as delay } from 'node:timers/promises'
import type { RequestHandler } from 'express'
import type { FastifyInstance } from 'fastify'
import morgan from 'morgan'
import { pinoHttp } from 'pino-http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../../adapters/express.js'
import * as fastifyAdapter from '../../../adapters/fastify.js'
import { TransactionClosedError } from '../../../src/index.js'
import type { Listening } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { oneOfEach } from '../../support/databases.js'
import { expresses, Kennel, startExpress, startFastify } from './apps.js'

const routes = ['/created', '/refused', '/throws', '/untouched'] as const
const statuses = { '/created': 201, '/refused': 422, '/throws': 500, '/untouched': 200 } as const
type Path = (typeof routes)[number]

describe.each(oneOfEach)('on $name', (kind) => {
  let kennel: Kennel
  const failures: unknown[] = []
  const note = (reason: unknown): void => void failures.push(reason)
  beforeAll(async () => {
    kennel = await Kennel.open(kind)
    process.on('unhandledRejection', note)
  })
  afterAll(async () => {
    process.off('unhandledRejection', note)
    await kennel.close()
  })
  beforeEach(async () => {
    await kennel.clear()
    failures.length = 0
  })

  /** Writes a line into the database, and waits until that is there or has failed. */
  const log = async (line: string): Promise<void> => {
    try {
      await kennel.open.db.toy.create({ data: { name: line, owner: { create: { name: 'log', dog: line } } } })
    } catch (error) {
      failures.push(error)
    }
    settled += 1
  }
  let settled = 0
  const requestAndWait = async (url: string, lines: number): Promise<number> => {
    settled = 0
    const response = await fetch(url, { method: 'POST' })
    await response.text()
    await expect.poll(() => settled).toBe(lines)
    return response.status
  }
  const rowsOf = (path: Path, ...lines: string[]): string[] => [...lines, ...(path === '/created' ? [path] : [])].sort()

  describe.each(expresses)('$name', ({ makeApp }) => {
    let server: Listening
    const start = async (before: RequestHandler[], after: RequestHandler[] = []): Promise<void> => {
      const app = makeApp()
      for (const middleware of before) app.use(middleware)
      app.use(transactions(kennel.open.datastore))
      for (const middleware of after) app.use(middleware)
      for (const path of routes) {
        app.post(
          path,
          passingErrors(async (_request, response) => {
            if (path !== '/untouched') await kennel.register(path)
            if (path === '/throws') throw new Error('thrown')
            response.status(statuses[path]).json({})
          }),
        )
      }
      server = await startExpress(app)
    }
    afterEach(async () => {
      await server.close()
    })

    const logging: RequestHandler = (_request, response, next) => {
      response.on('finish', () => void log('finish'))
      response.once('close', () => void log('close'))
      next()
    }

    it.each(routes)('lets a log on finish and close that was there before write by itself: %s', async (path) => {
      await start([logging])
      expect(await requestAndWait(server.url + path, 2)).toBe(statuses[path])
      expect(failures).toEqual([])
      expect(await kennel.open.dogs()).toEqual(rowsOf(path, 'close', 'finish'))
    })

    it.each(routes)('tells a log on finish that came after it what to do: %s', async (path) => {
      await start([], [logging])
      expect(await requestAndWait(server.url + path, 2)).toBe(statuses[path])
      expect(failures).toHaveLength(2)
      for (const error of failures) {
        expect(error).toBeInstanceOf(TransactionClosedError)
        expect(String(error)).toMatch(/before .*transactions/)
      }
      expect(await kennel.open.dogs()).toEqual(rowsOf(path))
    })

    it('tells who listens inside that the client has gone', async () => {
      let called = (): void => undefined
      const isCalled = new Promise<void>((resolve) => (called = resolve))
      await start(
        [],
        [
          (request, response) => {
            response.on('close', () => void log('close'))
            if (request.path === '/never') called()
          },
        ],
      )
      settled = 0
      const controller = new AbortController()
      const sent = fetch(`${server.url}/never`, { method: 'POST', signal: controller.signal }).catch(() => undefined)
      await isCalled
      controller.abort()
      await sent
      await expect.poll(() => settled).toBe(1)
      expect(failures).toHaveLength(1)
      expect(await kennel.open.dogs()).toEqual([])
    })

    it.each([
      {
        name: 'morgan',
        logger: (write: (line: string) => void) => morgan(':method :url :status', { stream: { write } }),
      },
      { name: 'pino-http', logger: (write: (line: string) => void) => pinoHttp({}, { write }) as RequestHandler },
    ])('lets $name write its lines to the database', async ({ logger }) => {
      const write = (line: string): void => void log(line.slice(0, 100).trim())
      await start([logger(write)])
      expect(await requestAndWait(`${server.url}/created`, 1)).toBe(201)
      expect(failures).toEqual([])
      expect(await kennel.open.dogs()).toHaveLength(2)
    })
  })

  describe('Fastify', () => {
    let server: Listening
    const start = async (before: (app: FastifyInstance) => void, after: typeof before = () => undefined) => {
      server = await startFastify(async (app) => {
        before(app)
        await app.register(fastifyAdapter.transactions, { datastore: kennel.open.datastore })
        after(app)
        for (const path of routes) {
          app.post(path, async (_request, reply) => {
            if (path !== '/untouched') await kennel.register(path)
            if (path === '/throws') throw new Error('thrown')
            return reply.code(statuses[path]).send({})
          })
        }
      })
    }
    afterEach(async () => {
      await server.close()
    })

    const logging = (app: FastifyInstance): void => {
      app.addHook('onResponse', async () => await log('onResponse'))
      app.addHook('onRequest', async (_request, reply) => {
        reply.raw.on('finish', () => void log('finish'))
        reply.raw.on('close', () => void log('close'))
      })
    }

    it.each(routes)('lets onResponse hooks and listeners of onRequest hooks write by themselves: %s', async (path) => {
      for (const [before, after] of [[logging], [() => undefined, logging]] as const) {
        await kennel.clear()
        await start(before, after)
        expect(await requestAndWait(server.url + path, 3)).toBe(statuses[path])
        expect(failures).toEqual([])
        expect(await kennel.open.dogs()).toEqual(rowsOf(path, 'close', 'finish', 'onResponse'))
        await server.close()
      }
    })

    it('tells a listener of a handler what to do', async () => {
      await start(
        () => undefined,
        (app) => {
          app.addHook('preHandler', async (_request, reply) => {
            reply.raw.on('finish', () => void log('finish'))
          })
        },
      )
      expect(await requestAndWait(`${server.url}/untouched`, 1)).toBe(200)
      await delay(10)
      expect(failures).toHaveLength(1)
      expect(failures[0]).toBeInstanceOf(TransactionClosedError)
    })
  })
})
