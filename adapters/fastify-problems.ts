/** Fastify: errors answered with problem details. */
import { checkOptions } from '../src/checked-options.js'
import { type ProblemOptions, problemHeadersFor, problemOf, problemOptionTypes } from './http.js'

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
