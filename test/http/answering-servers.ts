/** Every way to answer, as routes of servers on each framework. */
import fastifyCompress from '@fastify/compress'
import compression from 'compression'
import express5, { type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import type { RouteTransactionOptions } from '../../adapters/http.js'
import type { OpenDatabase } from '../prisma/open-database.js'
import { type Answer, failures, type Save, successes } from './answers.js'
import { type Listening, listen } from './listening.js'
import { passingErrors } from './servers.js'

const answers: readonly Answer[] = [...successes, ...failures]
/** The path of the route that answers so. */
export const pathOf = (answer: Answer): string => `/${answers.indexOf(answer)}`

/** Where a middleware that compresses stands: before ours, or after it. */
export type Compression = 'before' | 'after' | undefined

/** What is beside the routes. */
export interface AnsweringOptions extends RouteTransactionOptions {
  readonly place?: Compression
}

/** One of the frameworks, with all answers. */
export interface AnsweringFramework {
  readonly name: string
  readonly has: (answer: Answer) => boolean
  readonly start: (
    open: OpenDatabase,
    saveOf: (answer: Answer) => Save,
    options?: AnsweringOptions,
  ) => Promise<Listening>
}

const fastify: AnsweringFramework = {
  name: 'Fastify 5',
  has: (answer) => answer.fastify !== undefined,
  async start({ datastore }, saveOf, { place, ...options } = {}) {
    const server = Fastify({ forceCloseConnections: true, exposeHeadRoutes: false })
    const compress = { threshold: 0, encodings: ['gzip' as const] }
    if (place === 'before') await server.register(fastifyCompress, compress)
    await server.register(fastifyAdapter.transactions, { datastore, ...options })
    if (place === 'after') await server.register(fastifyCompress, compress)
    server.setErrorHandler(fastifyAdapter.problemDetails())
    for (const answer of answers) {
      const handler = answer.fastify?.(saveOf(answer))
      if (handler !== undefined) server.route({ method: answer.method ?? 'POST', url: pathOf(answer), handler })
    }
    const url = await server.listen({ host: '127.0.0.1', port: 0 })
    return { url, port: Number(new URL(url).port), close: async () => await server.close() }
  },
}

/** The parsers of bodies that come with Express. */
type Parsers = Pick<typeof express5, 'json' | 'urlencoded'>

function express(name: string, makeApp: () => Express, parsers: Parsers): AnsweringFramework {
  return {
    name,
    has: (answer) => answer.express !== undefined,
    async start({ datastore }, saveOf, { place, ...options } = {}) {
      const app = makeApp().set('env', 'test')
      if (place === 'before') app.use(compression({ threshold: 0 }))
      app.use(
        parsers.json({ limit: '1mb' }),
        parsers.urlencoded({ extended: false }),
        expressAdapter.transactions(datastore, options),
      )
      if (place === 'after') app.use(compression({ threshold: 0 }))
      for (const answer of answers) {
        const handler = answer.express?.(saveOf(answer))
        if (handler !== undefined)
          app.all(
            pathOf(answer),
            passingErrors(async (...args) => await handler(...args)),
          )
      }
      app.use(expressAdapter.problemDetails())
      return await listen(app)
    },
  }
}

/** All that are supported. */
export const answeringFrameworks: readonly AnsweringFramework[] = [
  fastify,
  express('Express 5', () => express5(), express5),
  express('Express 4', () => express4(), express4),
]
