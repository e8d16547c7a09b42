/** Express: errors that roll back, and are answered with problem details. */
import type { ErrorRequestHandler, Request, Response } from 'express'
import { servedBy } from './express-served.js'
import { type Problem, type ProblemOptions, problemHeadersFor, problemOf } from './http.js'

/** Passes errors on after it has rolled back: for apps whose error handlers answer with a status below 400. */
export function rollbackOnError(): ErrorRequestHandler {
  return async (error, _request, response, next) => {
    await rollBack(response)
    next(error)
  }
}

/**
 * An error handler that answers with problem details (RFC 9457): 404 for an aggregate that is not there, 409 for a conflict,
 * 412 for another version than If-Match has, 503 with Retry-After for what may pass; the status that an error says itself; else 500. Errors from 500 on are written to
 * standard error, as Express does it, except where the app's setting `env` is `test`.
 *
 * @param options - `describe` says what errors of your own mean
 *
 * @example
 * app.use(problemDetails({ describe: (error) => (error instanceof EventDataError ? { status: 422 } : undefined) }))
 */
export function problemDetails(options?: ProblemOptions): ErrorRequestHandler {
  return async (error, request, response, next) => {
    await rollBack(response)
    let problem: Problem
    let body: string
    try {
      problem = problemOf(error, options)
      body = JSON.stringify(problem)
    } catch (failure) {
      // What `describe` did. Express 4 does not catch it.
      next(failure)
      return
    }
    if (problem.status >= 500) log(request, error)
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

function log(request: Request, error: unknown): void {
  if (request.app.get('env') === 'test') return
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
}
