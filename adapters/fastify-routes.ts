/** Fastify: runs projections as long as the server runs, lets routes wait for them, serves the log, and answers errors. */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { anything, checkOptions, flag, having, type OptionTypesOf, text } from '../src/checked-options.js'
import { type Application, ProgrammingError, type ProjectionRunner } from '../src/index.js'
import { withStatus } from './error-status.js'
import { type ProblemOptions, problemHeadersFor, problemOf, problemOptionTypes } from './http.js'
import {
  answerSection,
  applicationType,
  type NotificationLogOptions,
  notificationLogOptionTypes,
  Waits,
} from './notification-log.js'
import {
  assertProjections,
  positionHeader,
  projectionHealth,
  type UpToDateOptions,
  upToDateOptionTypes,
  waitUntilUpToDate,
} from './up-to-date.js'

/** Options of the plugin. */
export interface ProjectionsOptions extends UpToDateOptions {
  /** Which projections there are. */
  readonly runner: ProjectionRunner
  /** Whether this process runs them, from `ready` to `close`; default true. With false its routes wait for other processes. */
  readonly start?: boolean
  /** The path of a route that answers 200 while every projection goes on, else 503; default: none. */
  readonly health?: string
}

/** With those that Fastify itself takes when a plugin is registered. */
const optionTypes: OptionTypesOf<ProjectionsOptions & Record<'prefix' | 'logLevel' | 'logSerializers', unknown>> = {
  ...upToDateOptionTypes,
  runner: having('start', 'a ProjectionRunner'),
  start: flag,
  health: text,
  prefix: anything,
  logLevel: anything,
  logSerializers: anything,
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The projections that the route shows: a request that says `es-wait-for` waits for them. */
    projections?: readonly string[]
    /** How long a request of the route waits at the most, in milliseconds. */
    waitMs?: number
    /** What a request of the route gets whose projections are not there in time. */
    onStale?: 'answer' | 'refuse'
  }
}

/**
 * Runs projections as long as the server does, and lets requests wait for them on the routes that name some. A request waits
 * before its transaction has begun, and holds no connection.
 *
 * @example
 * await fastify.register(projections, { runner })
 * fastify.get('/dogs', { config: { projections: ['counts'] } }, async () => await db.trickCount.findMany())
 */
export const projections: FastifyPluginCallback<ProjectionsOptions> = fastifyPlugin(registerProjections, {
  name: 'eventsourcing-prisma-projections',
  fastify: '5.x',
})

// What a plugin throws at once ends the process, whoever awaits the server; what it gives to `done` does not.
function registerProjections(
  fastify: FastifyInstance,
  options: ProjectionsOptions,
  done: (error?: Error) => void,
): void {
  try {
    checkOptions('register the plugin `projections`', options, optionTypes)
  } catch (error) {
    return done(error as Error)
  }
  const { runner, start = true, health, ...defaults } = options
  fastify.addHook('onRoute', ({ config }) => {
    if (config?.projections !== undefined) assertProjections(runner, config.projections)
  })
  fastify.addHook('preHandler', async (request, reply) => await waitFor({ runner, ...defaults }, request, reply))
  if (health !== undefined) {
    fastify.get(health, { config: { transaction: false } }, async (_request, reply) => {
      const { status, body } = projectionHealth(runner)
      return await reply.code(status).type('application/json').send(body)
    })
  }
  if (start) {
    fastify.addHook('onReady', async () => await runner.start())
    fastify.addHook('onClose', async () => await runner.stop())
  }
  done()
}

/** Waits for the projections of a route, and says up to which position it has waited. */
async function waitFor(
  { runner, ...defaults }: Pick<ProjectionsOptions, 'runner' | 'waitMs' | 'onStale'>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { projections: names, waitMs = defaults.waitMs, onStale = defaults.onStale } = request.routeOptions.config
  if (names === undefined) return
  const limits = {
    ...(waitMs === undefined ? {} : { waitMs }),
    ...(onStale === undefined ? {} : { onStale }),
  }
  const { headers, signal } = request
  try {
    const position = await waitUntilUpToDate({ ...limits, runner, names, headers, signal })
    if (position !== undefined) reply.header(positionHeader, position)
  } catch (error) {
    throw withStatus(error)
  }
}

/** Options of the plugin. */
export interface NotificationLogPluginOptions extends NotificationLogOptions {
  /** Whose log it is. */
  readonly application: Application
  /** The path before the section, such as `/log` for `/log/1,10`; default `/notifications`. */
  readonly path?: string
}

/** With those that Fastify itself takes when a plugin is registered. */
const logOptionTypes: OptionTypesOf<
  NotificationLogPluginOptions & Record<'prefix' | 'logLevel' | 'logSerializers', unknown>
> = {
  ...notificationLogOptionTypes,
  application: applicationType,
  path: text,
  prefix: anything,
  logLevel: anything,
  logSerializers: anything,
}

/**
 * Serves the log of an application in sections, `GET /notifications/1,10`, for a `RemoteNotificationLog` of another process. It shows every event of the
 * application as it is stored: register it where hooks of your own admit who may read that. Its requests have no transaction, and hold no connection while they wait;
 * they are answered at once when the server closes.
 *
 * @example
 * await fastify.register(async (scope) => {
 *   scope.addHook('onRequest', authenticate)
 *   await scope.register(notificationLog, { application: school, path: '/log' })
 * })
 */
export const notificationLog: FastifyPluginCallback<NotificationLogPluginOptions> = (fastify, options, done) => {
  const { application, path = '/notifications', maxWaitMs, cache } = options
  try {
    checkOptions('register the plugin `notificationLog`', options, logOptionTypes)
    if (application === undefined) {
      throw new ProgrammingError(
        'Could not register the plugin `notificationLog` without an application: fastify.register(notificationLog, { application }).',
      )
    }
  } catch (error) {
    return done(error as Error)
  }
  const limits = { ...(maxWaitMs === undefined ? {} : { maxWaitMs }), ...(cache === undefined ? {} : { cache }) }
  const waits = new Waits()
  fastify.addHook('preClose', (next) => {
    waits.end()
    next()
  })
  fastify.get<{ Params: { section: string } }>(
    `${path.replace(/\/$/, '')}/:section`,
    { config: { transaction: false } },
    async (request, reply) => {
      const { section: sectionId } = request.params
      const { headers, signal } = request
      try {
        const answer = await answerSection({ ...limits, application, sectionId, headers, signal, waits })
        return await reply.code(answer.status).headers(answer.headers).send(answer.body)
      } catch (error) {
        throw withStatus(error)
      }
    },
  )
  done()
}

/** What an error handler needs of a request, whatever the server and its type provider are. */
interface FailedRequest {
  readonly log: { error(error: unknown): void }
}

/** What an error handler needs of a reply. */
interface ErrorReply {
  code(status: number): ErrorReply
  headers(values: Readonly<Record<string, string>>): ErrorReply
  send(body: string): unknown
}

/**
 * An error handler that answers with problem details (RFC 9457): 404 for an aggregate that is not there, 409 for a conflict,
 * 412 for another version than If-Match has, of Prisma's errors 409 for P2002 and 404 for P2025, 503 with Retry-After for what may pass; the status that an error says itself;
 * else 500.
 *
 * @param options - `describe` says what errors of your own mean
 *
 * @example
 * fastify.setErrorHandler(problemDetails({ describe: (error) => (error instanceof EventDataError ? { status: 422 } : undefined) }))
 */
export function problemDetails(
  options: ProblemOptions = {},
): (error: unknown, request: FailedRequest, reply: ErrorReply) => unknown {
  checkOptions('make `problemDetails`', options, problemOptionTypes)
  return (error, request, reply) => {
    const problem = problemOf(error, options)
    if (problem.status >= 500) request.log.error(error)
    return reply
      .code(problem.status)
      .headers(problemHeadersFor(error, problem, options))
      .send(JSON.stringify(problem))
  }
}
