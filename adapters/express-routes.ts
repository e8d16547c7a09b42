/** Express: what routes are given: idempotency keys, answers to errors, waiting for projections and their health, the log. */
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express'
import { abortSignal, callable, checkOptions } from '../src/checked-options.js'
import { type Application, CapturedContext, ProgrammingError, type ProjectionRunner } from '../src/index.js'
import { withStatus } from './error-status.js'
import { servedBy } from './express-exchange.js'
import { type Problem, type ProblemOptions, problemHeadersFor, problemOf, problemOptionTypes } from './http.js'
import type { ClaimPlace, MissingClaim } from './idempotency.js'
import { isHandlerOfNest, missingInterceptor } from './nest-routes.js'
import { answerSection, type NotificationLogOptions, notificationLogOptionTypes, Waits } from './notification-log.js'
import { hasKey, type KeyedTransaction, type RequestTransaction } from './request-transaction.js'
import {
  assertProjections,
  projectionHealth as healthOf,
  positionHeader,
  type UpToDateOptions,
  upToDateOptionTypes,
  waitUntilUpToDate,
} from './up-to-date.js'

/** A function in a route, as the routers of Express 4 and 5 keep it. */
interface Layer {
  handle: RequestHandler
  /** Undefined where it is for all methods. */
  readonly method?: string
}

interface Route {
  readonly path: unknown
  readonly stack: readonly Layer[]
  readonly methods: Readonly<Record<string, boolean>>
}

/** Middlewares of ours: where one of them is the last of a route, it claims the key before the handler that it was given. */
const ours = new WeakSet<RequestHandler>()

/** The layers that claim. */
const prepared = new WeakSet<Layer>()

/** How many routes a request has come to. */
const counts = new WeakMap<Response, number>()

const noRoute: MissingClaim = {
  isAfterHandler: false,
  why:
    'Could not serve the request once: it has an idempotency key, and no route has taken it, so nothing says where its guards end ' +
    'and its handler begins. Make the handler a route, or give it to the middleware: app.use(path, transactions(datastore, options, handler)).',
}

const notLast: MissingClaim = {
  isAfterHandler: false,
  why:
    'Could not serve the request once: it has an idempotency key, which is claimed before the last function of a route, and another ' +
    'function of the route has done the work and answered. Let the handler be the last one, or give it to the middleware: ' +
    'app.post(path, transactions(datastore, options, handler)).',
}

/** Notes that a middleware claims keys by itself. */
export function claimsByItself(middleware: RequestHandler): RequestHandler {
  ours.add(middleware)
  return middleware
}

/** Lets the key of a request be claimed by the last function of its route, whichever route that will be. */
export function claimInRoute(request: Request, transaction: KeyedTransaction<Request>): void {
  // Typed as always there and of any type.
  let current = request.route as Route | undefined
  transaction.idempotent.unclaimed = current === undefined ? noRoute : notLast
  if (current !== undefined) prepare(current, request.method)
  Object.defineProperty(request, 'route', {
    get: () => current,
    set(route: Route | undefined) {
      if (route !== undefined && route !== current) {
        transaction.idempotent.unclaimed = notLast
        prepare(route, request.method)
      }
      current = route
    },
    configurable: true,
    enumerable: true,
  })
}

/** The last function of a route that is run for a method, as long as no error is passed on. */
function lastLayer({ stack, methods }: Route, method: string): Layer | undefined {
  const lowerCase = method.toLowerCase()
  const name = lowerCase === 'head' && methods['head'] !== true ? 'get' : lowerCase
  return stack.findLast((layer) => (layer.method === undefined || layer.method === name) && layer.handle.length <= 3)
}

function prepare(route: Route, method: string): void {
  const layer = lastLayer(route, method)
  if (layer === undefined || prepared.has(layer) || ours.has(layer.handle)) return
  const handler = layer.handle
  prepared.add(layer)
  // Typed as a promise or nothing; Express takes what it gets.
  layer.handle = (request, response, next) => {
    const keyed = servedBy(response).filter(hasKey)
    const isLast = lastLayer(request.route as Route, request.method) === layer
    if (keyed.length === 0 || !isLast) return handler(request, response, next)
    if (isHandlerOfNest(handler)) {
      for (const transaction of keyed) transaction.idempotent.unclaimed = missingInterceptor
      return handler(request, response, next)
    }
    return afterClaim(keyed, placeOf(request, response, handler), (error, isToBeServed) => {
      if (error !== undefined) return next(error)
      if (!isToBeServed) return undefined
      try {
        return handler(request, response, next)
      } catch (thrown) {
        // Express 4 does not look at promises.
        return next(thrown)
      }
    })
  }
}

/** A function that takes no `next` cannot pass the request on to another route. */
function placeOf(request: Request, response: Response, handler: RequestHandler): ClaimPlace {
  const count = (counts.get(response) ?? 0) + 1
  counts.set(response, count)
  const { path } = request.route as Route
  return { name: `${request.method} ${request.baseUrl}${String(path)} ${count}`, isHandler: handler.length < 3 }
}

async function afterClaim(
  keyed: ReadonlyArray<RequestTransaction<Request>>,
  place: ClaimPlace,
  goOn: (error: unknown, isToBeServed: boolean) => unknown,
): Promise<void> {
  let isToBeServed = true
  try {
    for (const transaction of keyed) isToBeServed &&= await transaction.claim(place)
  } catch (error) {
    goOn(error, false)
    return
  }
  await goOn(undefined, isToBeServed)
}

/** How errors become problems in Express. */
export interface ExpressProblemOptions extends ProblemOptions {
  /**
   * Is given each error that is answered with a status from 500 on; default: writes it to standard error, except where the
   * app's setting `env` is `test`. What it throws goes to the next error handler.
   */
  readonly log?: (error: unknown, request: Request) => void
}

/** Passes errors on after it has rolled back: for apps whose error handlers answer with a status below 400. */
export function rollbackOnError(): ErrorRequestHandler {
  return async (error, _request, response, next) => {
    await rollBack(response)
    next(error)
  }
}

/**
 * An error handler that answers with problem details (RFC 9457): 404 for an aggregate that is not there, 409 for a conflict,
 * 412 for another version than If-Match has, of Prisma's errors 409 for P2002 and 404 for P2025, 503 with Retry-After for what may pass; the status that an error says itself; else 500. Errors from 500 on are written to
 * standard error, as Express does it, except where the app's setting `env` is `test`, or given to `log`; and they are `response.err`,
 * where loggers of requests such as pino-http look for the cause.
 *
 * @param options - `describe` says what errors of your own mean
 *
 * @example
 * app.use(problemDetails({ describe: (error) => (error instanceof EventDataError ? { status: 422 } : undefined) }))
 */
export function problemDetails(options: ExpressProblemOptions = {}): ErrorRequestHandler {
  checkOptions('make `problemDetails`', options, { ...problemOptionTypes, log: callable })
  return async (error, request, response, next) => {
    await rollBack(response)
    let problem: Problem
    let body: string
    try {
      problem = problemOf(error, options)
      body = JSON.stringify(problem)
      if (problem.status >= 500) {
        // Where loggers of requests look for it, such as pino-http.
        Object.assign(response, { err: error })
        const { log = logToStandardError } = options
        log(error, request)
      }
    } catch (failure) {
      // What `describe` or `log` did. Express 4 does not catch it.
      next(failure)
      return
    }
    // A handler that went on after its request had been answered: at the deadline, say.
    if (isAnswered(response)) return
    // Half a response cannot become another one: Express closes the connection.
    if (response.headersSent) return next(error)
    response.status(problem.status).statusMessage = ''
    for (const [name, value] of Object.entries(problemHeadersFor(error, problem, options)))
      response.setHeader(name, value)
    response.end(body)
  }
}

async function rollBack(response: Response): Promise<void> {
  for (const transaction of servedBy(response)) await transaction.rollBack()
}

function isAnswered(response: Response): boolean {
  return servedBy(response).some((transaction) => transaction.isAnswered)
}

function logToStandardError(error: unknown, request: Request): void {
  if (request.app.get('env') === 'test') return
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
}

/**
 * Lets a request that says `es-wait-for: TrainingSchool/4711`, or has the cookie of an earlier answer, wait until projections
 * show what that position holds. It waits before the transaction of the request has begun, and holds no connection.
 *
 * @param names - of the projections that the route shows
 * @throws `ProgrammingError` for projections that the runner does not have
 *
 * @example
 * app.get('/dogs', upToDate(runner, ['counts']), async (request, response) => response.json(await db.trickCount.findMany()))
 */
export function upToDate(
  runner: ProjectionRunner,
  names: readonly string[],
  options: UpToDateOptions = {},
): RequestHandler {
  checkOptions('make the middleware `upToDate`', options, upToDateOptionTypes)
  assertProjections(runner, names)
  const wait = async (request: Request, response: Response): Promise<void> => {
    const gone = new AbortController()
    const leave = (): void => gone.abort()
    response.once('close', leave)
    try {
      const position = await waitUntilUpToDate({
        ...options,
        runner,
        names,
        headers: request.headers,
        signal: gone.signal,
      })
      if (position !== undefined) response.setHeader(positionHeader, position)
    } finally {
      response.off('close', leave)
    }
  }
  // Express 4 does not wait for promises.
  return async (request, response, next) => {
    try {
      await wait(request, response)
    } catch (error) {
      next(withStatus(error))
      return
    }
    next()
  }
}

/**
 * Answers 200 while every projection of a runner goes on, else 503; the body says how far each has come.
 *
 * @example
 * app.get('/health/projections', projectionHealth(runner))
 */
export function projectionHealth(runner: ProjectionRunner): RequestHandler {
  return (_request, response) => {
    const { status, body } = healthOf(runner)
    response.status(status).type('json').send(body)
  }
}

/** How a log is served in Express. */
export interface NotificationLogRouteOptions extends NotificationLogOptions {
  /** Ends the waits of requests, which are answered at once then: for the end of the process. */
  readonly signal?: AbortSignal
}

/**
 * Serves the log of an application in sections, `GET /notifications/1,10`, for a `RemoteNotificationLog` of another process. It shows every event of the
 * application as it is stored: put what admits who may read that before it. Its requests read outside of the transaction of the request, and hold no connection
 * while they wait.
 *
 * @throws `ProgrammingError` without an application
 *
 * @example
 * app.get('/notifications/:section', authenticate, notificationLogRoute(school))
 */
export function notificationLogRoute(
  application: Application,
  options: NotificationLogRouteOptions = {},
): RequestHandler {
  checkOptions('make the route `notificationLogRoute`', options, { ...notificationLogOptionTypes, signal: abortSignal })
  if (typeof application?.subscribe !== 'function') {
    throw new ProgrammingError(
      'Could not make the route `notificationLogRoute`: its first argument is the application whose log it serves.',
    )
  }
  const { signal: ending, ...limits } = options
  const waits = new Waits()
  ending?.addEventListener('abort', () => waits.end(), { once: true })
  if (ending?.aborted === true) waits.end()
  // Routes are made outside of any transaction: what they read has nothing to do with that of a request.
  const outside = new CapturedContext()
  const answer = async (request: Request, response: Response, sectionId: string): Promise<void> => {
    const gone = new AbortController()
    const leave = (): void => gone.abort()
    response.once('close', leave)
    try {
      const asked = { ...limits, application, sectionId, headers: request.headers, signal: gone.signal, waits }
      const { status, headers, body } = await outside.run(async () => await answerSection(asked))
      response.status(status).set(headers).end(body)
    } finally {
      response.off('close', leave)
    }
  }
  // Express 4 does not wait for promises.
  return async (request, response, next) => {
    // Below `app.use` it is what is left of the path.
    const { section = request.path.slice(1).replace(/%2c/i, ',') } = request.params
    if (!['GET', 'HEAD'].includes(request.method) || section === '' || Array.isArray(section)) return next()
    try {
      await answer(request, response, section)
    } catch (error) {
      next(withStatus(error))
    }
  }
}
