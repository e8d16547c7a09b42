/** Users, profiles and who follows whom: rows and nothing else, in the transaction of the request. */
import type { FastifyInstance } from 'fastify'
import { hashed, isPassword, type Tokens } from './accounts.js'
import type { Database } from './db.js'
import { notFound, RequestError } from './errors.js'
import type { User } from './generated/sqlite/client.js'
import { account, login, registration } from './requests.js'
import { signedIn } from './sessions.js'
import { profileOf, shownProfile } from './views.js'

interface Credentials {
  readonly email: string
  readonly password: string
}

export function userRoutes(fastify: FastifyInstance, { db }: Database, tokens: Tokens): void {
  const answer = ({ id, email, username, bio, image }: User): object => ({
    user: { email, token: tokens.issue(id), username, bio, image },
  })
  // Their answers have a token in them, which is not to be kept in a table: no idempotency keys.
  const withoutKeys = { transaction: { idempotency: false } } as const

  fastify.post<{ Body: { user: Credentials & { username: string } } }>(
    '/users',
    { schema: registration, config: withoutKeys },
    async (request, reply) => {
      const { username, email, password } = request.body.user
      const data = { username, email, password: await hashed(password) }
      return await reply.code(201).send(answer(await db.user.create({ data })))
    },
  )

  fastify.post<{ Body: { user: Credentials } }>(
    '/users/login',
    { schema: login, config: withoutKeys },
    async (request) => {
      const { email, password } = request.body.user
      const user = await db.user.findUnique({ where: { email } })
      const isRight = await isPassword(password, user?.password)
      if (user === null || !isRight) throw new RequestError(401, { 'email or password': ['is invalid'] })
      return answer(user)
    },
  )

  fastify.get('/user', { onRequest: signedIn }, async (request) => {
    return answer(await db.user.findUniqueOrThrow({ where: { id: request.user } }))
  })

  fastify.put<{ Body: { user: Partial<Pick<User, 'username' | 'email' | 'password' | 'bio' | 'image'>> } }>(
    '/user',
    { onRequest: signedIn, schema: account },
    async (request) => {
      const { password, ...others } = request.body.user
      const data = password === undefined ? others : { ...others, password: await hashed(password) }
      return answer(await db.user.update({ where: { id: request.user }, data }))
    },
  )

  /** The profile as it is after what was done. */
  async function profile(username: string, viewer: number): Promise<object> {
    const user = await db.user.findUnique({ where: { username }, ...profileOf(viewer) })
    if (user === null) throw notFound('profile')
    return { profile: shownProfile(user) }
  }

  async function idOf(username: string): Promise<number> {
    const user = await db.user.findUnique({ where: { username }, select: { id: true } })
    if (user === null) throw notFound('profile')
    return user.id
  }

  fastify.get<{ Params: { username: string } }>('/profiles/:username', async (request) => {
    return await profile(request.params.username, request.user)
  })

  fastify.post<{ Params: { username: string } }>(
    '/profiles/:username/follow',
    { onRequest: signedIn },
    async (request) => {
      const follow = { followerId: request.user, followedId: await idOf(request.params.username) }
      await db.follow.upsert({ where: { followerId_followedId: follow }, create: follow, update: {} })
      return await profile(request.params.username, request.user)
    },
  )

  fastify.delete<{ Params: { username: string } }>(
    '/profiles/:username/follow',
    { onRequest: signedIn },
    async (request) => {
      const followedId = await idOf(request.params.username)
      await db.follow.deleteMany({ where: { followerId: request.user, followedId } })
      return await profile(request.params.username, request.user)
    },
  )
}
