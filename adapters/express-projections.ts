/** Express: routes that wait for projections, and their health. */
import type { Request, RequestHandler, Response } from 'express'
import { checkOptions } from '../src/checked-options.js'
import type { ProjectionRunner } from '../src/index.js'
import { withStatus } from './error-status.js'
import { positionHeader } from './positions.js'
import {
  assertProjections,
  projectionHealth as healthOf,
  type UpToDateOptions,
  upToDateOptionTypes,
  waitUntilUpToDate,
} from './up-to-date.js'

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
