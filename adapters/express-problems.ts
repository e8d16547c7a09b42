/** Express: errors that roll back, and are answered with problem details. */
import type { ErrorRequestHandler, Request, Response } from 'express'
import { callable, checkOptions } from '../src/checked-options.js'
import { servedBy } from './express-served.js'
import { type Problem, type ProblemOptions, problemHeadersFor, problemOf, problemOptionTypes } from './http.js'

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
