/** What holds of idempotency keys in an app of Nest, whichever version it is: guards are asked before a stored answer is given. */
import type * as Common from '@nestjs/common'
import type * as Core from '@nestjs/core'
import type * as ForExpress from '@nestjs/platform-express'
import type * as ForFastify from '@nestjs/platform-fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as expressAdapter from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'

/** The packages of one version. */
export interface Nest {
  readonly common: typeof Common
  readonly core: typeof Core
  readonly fastify: typeof ForFastify
}

interface GuardedRequest {
  readonly headers: Record<string, string | undefined>
  user?: string
}

const alice = { authorization: 'alice' }

/** Describes it for one version. */
export function describeGuardedNest(name: string, { common, core, fastify }: Nest): void {
  const [kind] = databases
  if (kind === undefined) throw new Error('there is a database')
  let open: OpenDatabase
  let app: Common.INestApplication
  let url = ''
  let runs = 0

  class Guard implements Common.CanActivate {
    canActivate(context: Common.ExecutionContext): boolean {
      const request = context.switchToHttp().getRequest<GuardedRequest>()
      const { authorization } = request.headers
      if (authorization !== undefined) request.user = authorization
      return authorization !== undefined
    }
  }

  class Tokens {
    async issue(): Promise<{ secret: string }> {
      runs += 1
      await open.db.owner.create({ data: { name: 'Ann', dog: `dog ${runs}` } })
      return { secret: 'of Alice' }
    }

    remove(): Promise<{ secret: string }> {
      return this.issue()
    }
  }
  const decorate = (method: 'issue' | 'remove', decorators: readonly MethodDecorator[]): void => {
    const descriptor = Object.getOwnPropertyDescriptor(Tokens.prototype, method) ?? {}
    for (const decorator of decorators) decorator(Tokens.prototype, method, descriptor)
  }
  decorate('issue', [common.Post('tokens'), common.UseGuards(Guard)])
  decorate('remove', [common.Post('tokens/:id/removals'), common.HttpCode(204), common.UseGuards(Guard)])
  common.Controller()(Tokens)
  class Root {}
  common.Module({ controllers: [Tokens] })(Root)

  const scope = (request: unknown): string => (request as GuardedRequest).user ?? ''
  const start = async (platform: string, hasInterceptor: boolean): Promise<void> => {
    const { datastore } = open
    if (platform === 'Express') {
      const made = await core.NestFactory.create<ForExpress.NestExpressApplication>(Root, {
        bodyParser: false,
        logger: false,
      })
      made.useBodyParser('json')
      made.use(expressAdapter.transactions(datastore, { idempotency: { scope } }))
      if (hasInterceptor) made.useGlobalInterceptors(new expressAdapter.IdempotencyInterceptor())
      app = made
    } else {
      const made = await core.NestFactory.create<ForFastify.NestFastifyApplication>(
        Root,
        new fastify.FastifyAdapter(),
        { logger: false },
      )
      // Two versions of Fastify's types meet here.
      await made.register(fastifyAdapter.transactions as never, { datastore, idempotency: { scope } } as never)
      if (hasInterceptor) made.useGlobalInterceptors(new fastifyAdapter.IdempotencyInterceptor())
      app = made
    }
    await app.listen(0, '127.0.0.1')
    url = await app.getUrl()
  }
  const post = async (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `"${path}"`, ...headers },
      body: '{}',
    })
  const outcomeOf = ({ status, headers }: Response): unknown[] => [status, headers.get('idempotency-replayed')]
  const keys = async (): Promise<number> =>
    (await open.database.query(`SELECT status FROM ${open.quoted('idempotency_keys')}`)).length

  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  beforeEach(async () => {
    runs = 0
    await open.clear()
    await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
  })
  afterEach(async () => await app.close())
  afterAll(async () => await open.close())

  describe.each(['Express', 'Fastify'])(`${name} on %s`, (platform) => {
    it.each([
      ['/tokens', 201],
      ['/tokens/7/removals', 204],
    ])('asks the guards before it gives a stored answer: %s', async (path, status) => {
      await start(platform, true)
      expect(outcomeOf(await post(path))).toEqual([403, null])
      expect([await keys(), runs]).toEqual([0, 0])
      for (const replayed of [null, 'true', 'true'])
        expect(outcomeOf(await post(path, alice))).toEqual([status, replayed])
      const stranger = await post(path)
      expect([...outcomeOf(stranger), (await stranger.text()).includes('Alice')]).toEqual([403, null, false])
      expect(outcomeOf(await post(path, { authorization: 'bob' }))).toEqual([status, null])
      expect(runs).toBe(2)
    })

    it.each(['/tokens', '/tokens/7/removals'])(
      'refuses a success where the interceptor is missing: %s',
      async (path) => {
        await start(platform, false)
        expect((await post(path)).status).toBe(403)
        expect((await post(path, alice)).status).toBe(500)
        expect([await open.dogs(), await keys()]).toEqual([[], 0])
        expect((await fetch(url + path, { method: 'POST', headers: alice })).status).toBeLessThan(300)
      },
    )
  })
}
