/** Who sends a request: the user of its token, as `request.user`. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Tokens } from './accounts.js'
import { RequestError } from './errors.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of the user who has sent it; 0 for nobody. */
    user: number
  }
}

/** Reads the header `authorization: Token …`, before the transaction begins: the database is not asked. */
export function readTokens(fastify: FastifyInstance, tokens: Tokens): void {
  fastify.decorateRequest('user', 0)
  fastify.addHook('onRequest', async (request) => {
    const [, token] = /^(?:Token|Bearer) (\S+)$/.exec(request.headers.authorization ?? '') ?? []
    if (token !== undefined) request.user = tokens.userOf(token)
  })
}

/** The hook of routes that are for users only. */
export async function signedIn(request: FastifyRequest): Promise<void> {
  if (request.user === 0) throw new RequestError(401, { token: ['is missing or invalid'] })
}
