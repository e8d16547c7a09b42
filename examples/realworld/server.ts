/** The server: each request is one transaction of rows and events, and is answered after it is stored. */
import { projections, requestMetadata, transactions } from 'eventsourcing-prisma/fastify'
import Fastify, { type FastifyInstance } from 'fastify'
import { closeWithServer } from '../shutdown-fastify.js'
import { Tokens } from './accounts.js'
import { articleRoutes } from './article-routes.js'
import type { Database } from './db.js'
import { answerError, notFound } from './errors.js'
import { readTokens } from './sessions.js'
import { userRoutes } from './user-routes.js'

/** Makes the server; it does not listen yet, and closes the database when it is closed. */
export async function conduitServer(database: Database, secret: string): Promise<FastifyInstance> {
  const { datastore, runner } = database
  const tokens = new Tokens(secret)
  const fastify = Fastify({ logger: { level: 'warn' }, ajv: { customOptions: { allErrors: true } } })
  closeWithServer(fastify, datastore)
  fastify.setErrorHandler(answerError)
  fastify.setNotFoundHandler(() => {
    throw notFound('route')
  })
  admitBrowsers(fastify)
  allowEmptyBodies(fastify)
  readTokens(fastify, tokens)
  await fastify.register(transactions, {
    datastore,
    retries: 3,
    // With each event: who has sent the request, and its ids.
    metadata: (request) => ({ ...requestMetadata(request), user: request.user }),
    // A POST with the header Idempotency-Key is served once for its user, and may be sent again until it is answered.
    idempotency: { scope: (request) => request.user },
  })
  await fastify.register(projections, { runner, health: '/health/projections' })
  await fastify.register(
    async (api) => {
      userRoutes(api, database, tokens)
      articleRoutes(api, database)
    },
    { prefix: '/api' },
  )
  return fastify
}

/** Front ends of this API are served from elsewhere. */
function admitBrowsers(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', async (_request, reply) => {
    reply.headers({
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'etag, es-position, idempotency-replayed',
    })
  })
  fastify.options('/api/*', { config: { transaction: false } }, async (_request, reply) => {
    const headers = 'authorization, content-type, es-wait-for, idempotency-key, if-match'
    reply.headers({ 'access-control-allow-headers': headers, 'access-control-allow-methods': 'GET, POST, PUT, DELETE' })
    return await reply.code(204).send()
  })
}

/** Clients of this API say that they send JSON also where they send nothing, which Fastify refuses. */
function allowEmptyBodies(fastify: FastifyInstance): void {
  const parse = fastify.getDefaultJsonParser('error', 'error')
  fastify.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parse(request, body, done)
  })
}
