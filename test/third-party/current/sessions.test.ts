/** Sessions that are stored in the database of the request's transaction, in either order with the middleware. */
import { callbackify } from 'node:util'
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { PrismaSessionStore } from '@quixo3/prisma-session-store'
import connectPgSimple from 'connect-pg-simple'
import cookieSession from 'cookie-session'
import type { ErrorRequestHandler, RequestHandler } from 'express'
import session from 'express-session'
import passport from 'passport'
import { Strategy } from 'passport-local'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../../adapters/express.js'
import * as fastifyAdapter from '../../../adapters/fastify.js'
import type { Listening } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { oneOf } from '../../support/databases.js'
import { expresses, Kennel, startExpress, startFastify } from './apps.js'

declare module 'express-session' {
  interface SessionData {
    user: string
  }
}
declare module 'fastify' {
  interface Session {
    user?: string
  }
}

const secret = 'x'.repeat(40)

/** Logs in, and tells who the server says it is after that. */
async function login(url: string, query: string): Promise<{ status: number; me: unknown }> {
  const response = await fetch(`${url}/login?${query}`, { method: 'POST', redirect: 'manual' })
  await response.arrayBuffer()
  const cookie = response.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ')
  const me = await fetch(`${url}/me`, { headers: { cookie } })
  return { status: response.status, me: ((await me.json()) as { user: unknown }).user }
}

describe.each(oneOf('postgresql', 'sqlite'))('on $name', (kind) => {
  let kennel: Kennel
  let pool: pg.Pool | undefined
  let server: Listening | undefined
  beforeAll(async () => {
    // What is stored outside without being meant fails.
    kennel = await Kennel.open(kind, { outside: 'refuse' })
    if (kind.provider === 'postgresql') {
      pool = new pg.Pool({ connectionString: kennel.open.database.url })
      await kennel.open.database.query(
        'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)',
      )
    }
  })
  beforeEach(async () => {
    await kennel.clear()
  })
  afterEach(async () => {
    await server?.close()
    server = undefined
  })
  afterAll(async () => {
    await pool?.end()
    await kennel.close()
  })

  const prismaStore = () =>
    // The store knows the shape of the client by the name of the model.
    new PrismaSessionStore(kennel.open.db as never, { dbRecordIdIsSessionId: true, logger: false })
  const stores = [
    { name: 'a Prisma store', make: prismaStore },
    ...(kind.provider === 'postgresql'
      ? [
          {
            name: 'connect-pg-simple',
            make: () =>
              new (connectPgSimple(session))({ ...(pool === undefined ? {} : { pool }), pruneSessionInterval: false }),
          },
        ]
      : []),
  ]
  const isStored = async (dog: string): Promise<boolean> => (await kennel.stored(dog)).rows === 1

  describe.each(expresses)('$name', ({ makeApp }) => {
    const start = async (
      before: RequestHandler[] = [],
      after: RequestHandler[] = [],
      onError: (error: unknown) => void = () => undefined,
    ): Promise<string> => {
      const app = makeApp()
      for (const middleware of before) app.use(middleware)
      app.use(transactions(kennel.open.datastore))
      for (const middleware of after) app.use(middleware)
      app.post(
        '/login',
        passingErrors(async (request, response) => {
          const { dog = '', status } = request.query as Record<string, string>
          request.session.user = dog
          if (status !== '204') await kennel.register(dog)
          if (status === '302') response.redirect('/me')
          else if (status === '500') throw new Error('thrown')
          else response.status(Number(status)).json({})
        }),
      )
      app.get('/me', (request, response) => void response.json({ user: request.session.user ?? null }))
      const handleError: ErrorRequestHandler = (error, _request, response, next) => {
        onError(error)
        if (response.headersSent) next()
        else next(error)
      }
      app.use(handleError)
      server = await startExpress(app)
      return server.url
    }
    const sessions = (store: session.Store) => session({ secret, resave: false, saveUninitialized: false, store })

    it.each(stores)('saves a session in $name that is used before it, whatever the answer', async ({ make }) => {
      const url = await start([sessions(make())])
      for (const status of [201, 204, 302, 409, 500]) {
        expect(await login(url, `dog=d${status}&status=${status}`)).toEqual({ status, me: `d${status}` })
        expect(await isStored(`d${status}`)).toBe(status < 400 && status !== 204)
      }
    })

    it('saves sessions in signed cookies, before and after it', async () => {
      const cookies = cookieSession({ keys: [secret] })
      for (const [before, after] of [
        [[cookies], []],
        [[], [cookies]],
      ]) {
        await kennel.clear()
        const url = await start(before, after)
        expect(await login(url, 'dog=a&status=201')).toEqual({ status: 201, me: 'a' })
        expect(await isStored('a')).toBe(true)
        expect((await login(url, 'dog=b&status=409')).status).toBe(409)
        expect(await isStored('b')).toBe(false)
        await server?.close()
      }
    })

    it('tells a session that is used after it, and is saved when the answer leaves, to come before', async () => {
      const errors: unknown[] = []
      const url = await start([], [sessions(prismaStore())], (error) => errors.push(error))
      expect((await login(url, 'dog=a&status=201')).status).toBe(201)
      await expect.poll(() => errors).toHaveLength(1)
      expect(String(errors[0])).toMatch(/a session or an access log, comes before that of the transactions/)
    })

    it('lets passport log in and read its user from the database, in the transaction of the request', async () => {
      const own = new passport.Passport()
      const find = async (dog: string) => await kennel.open.db.owner.findUnique({ where: { dog } })
      own.use(new Strategy((dog, _password, done) => callbackify(find)(dog, done as never)))
      own.serializeUser((user, done) => done(null, (user as { dog: string }).dog))
      own.deserializeUser((dog: string, done) => callbackify(find)(dog, done as never))
      const app = makeApp()
      app.use(sessions(prismaStore()))
      app.use(transactions(kennel.open.datastore))
      app.use(own.session())
      app.post('/login', own.authenticate('local'), (request, response) => void response.json(request.user))
      app.post(
        '/dogs',
        passingErrors(async (request, response) => {
          await kennel.register(`${(request.user as { dog: string }).dog} II`)
          response.status(201).json({})
        }),
      )
      server = await startExpress(app)
      const { url } = server
      await kennel.open.datastore.transaction(async () => await kennel.register('Fido'))
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(`${url}/login?username=Fido&password=x`, { method: 'POST', headers })
      expect(answer.status).toBe(200)
      const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? ''
      expect((await fetch(`${url}/dogs`, { method: 'POST', headers: { cookie } })).status).toBe(201)
      expect(await isStored('Fido II')).toBe(true)
    })
  })

  describe('Fastify', () => {
    /** As `PrismaSessionStore`, by the interface of `@fastify/session`. */
    const store = {
      set: callbackify(async (sid: string, value: object): Promise<void> => {
        const row = { data: JSON.stringify(value), expiresAt: new Date(Date.now() + 60_000) }
        await kennel.open.db.session.upsert({ where: { sid }, create: { id: sid, sid, ...row }, update: row })
      }),
      get: callbackify(async (sid: string): Promise<never> => {
        const row = await kennel.open.db.session.findUnique({ where: { sid } })
        return (row === null ? null : JSON.parse(row.data)) as never
      }),
      destroy: callbackify(async (sid: string): Promise<void> => {
        await kennel.open.db.session.deleteMany({ where: { sid } })
      }),
    }
    const start = async (order: 'before' | 'after'): Promise<string> => {
      server = await startFastify(async (app) => {
        const sessions = async (): Promise<void> => {
          await app.register(fastifyCookie)
          await app.register(fastifySession, { secret, cookie: { secure: false }, saveUninitialized: false, store })
        }
        if (order === 'before') await sessions()
        await app.register(fastifyAdapter.transactions, { datastore: kennel.open.datastore })
        if (order === 'after') await sessions()
        app.post('/login', async (request, reply) => {
          const { dog = '', status } = request.query as Record<string, string>
          request.session.user = dog
          await kennel.register(dog)
          if (status === '500') throw new Error('thrown')
          return reply.code(Number(status)).send({})
        })
        app.get('/me', async (request) => ({ user: request.session.user ?? null }))
      })
      return server.url
    }

    it.each(['before', 'after'] as const)(
      'saves a session with the work of the request, registered %s it',
      async (order) => {
        const url = await start(order)
        expect(await login(url, 'dog=d201&status=201')).toEqual({ status: 201, me: 'd201' })
        // What a refused request has changed in its session is undone with the rest.
        for (const status of [409, 500]) {
          expect(await login(url, `dog=d${status}&status=${status}`)).toEqual({ status, me: null })
        }
        expect(await kennel.open.dogs()).toEqual(['d201'])
      },
    )
  })
})
