/** Errors in the format of the API, `{ "errors": { "title": ["can't be empty"] } }`, whatever has thrown them. */
import { AggregateEndedError } from 'eventsourcing-prisma'
import { problemHeaders, problemOf } from 'eventsourcing-prisma/fastify'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { TitleTakenError } from './articles.js'

/** What is wrong, by the name of a field. */
type Errors = Readonly<Record<string, readonly string[]>>

/** A request that cannot be served, by the fault of the client. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
  readonly statusCode: number
  readonly errors: Errors

  constructor(statusCode: number, errors: Errors) {
    super(
      Object.entries(errors)
        .flatMap(([field, texts]) => texts.map((text) => `${field} ${text}`))
        .join(', '),
    )
    this.statusCode = statusCode
    this.errors = errors
  }
}

export function notFound(what: string): RequestError {
  return new RequestError(404, { [what]: ['not found'] })
}

/**
 * Answers with what the error means. The transaction of the request is rolled back by then: the plugin `transactions` knows of the
 * error before this handler does.
 */
export async function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const known = knownErrors(error)
  // What the errors of the library, of Prisma and of Fastify mean as a status, and what of their texts is for clients.
  const problem = problemOf(error)
  const { status, errors } = known ?? {
    status: problem.status,
    errors: { body: [problem.detail ?? problem.title] },
  }
  if (status >= 500) request.log.error(error)
  const { 'retry-after': retryAfter } = problemHeaders({ ...problem, status })
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  await reply.code(status).send({ errors })
}

function knownErrors(error: FastifyError): { readonly status: number; readonly errors: Errors } | undefined {
  if (error instanceof RequestError) return { status: error.statusCode, errors: error.errors }
  if (error instanceof TitleTakenError) return { status: 422, errors: { title: ['has already been taken'] } }
  if (error.validation !== undefined) return { status: 422, errors: invalidFields(error.validation) }
  // Deleted by another request since this one has found it.
  if (error instanceof AggregateEndedError) return { status: 404, errors: { article: ['not found'] } }
  // A unique index of users: Prisma says which one, by its columns or by its name, as the database does.
  if (error.code === 'P2002') {
    const field = /users[._]username/.test(JSON.stringify(error)) ? 'username' : 'email'
    return { status: 422, errors: { [field]: ['has already been taken'] } }
  }
  return undefined
}

function invalidFields(issues: NonNullable<FastifyError['validation']>): Errors {
  const errors: Record<string, string[]> = {}
  for (const { instancePath, keyword, message = 'is invalid', params } of issues) {
    const field = keyword === 'required' ? String(params['missingProperty']) : instancePath.split('/').at(-1)
    const isEmpty = keyword === 'required' || keyword === 'minLength' || keyword === 'pattern'
    const texts = (errors[field || 'body'] ??= [])
    texts.push(isEmpty ? "can't be empty" : message)
  }
  return errors
}
