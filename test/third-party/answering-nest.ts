/** What holds in an app of Nest, whichever version it is, where an answer does not tell of a failure: 2xx after an error, and streams of events. */
import type * as Common from '@nestjs/common'
import type * as ForExpress from '@nestjs/platform-express'
import type * as ForFastify from '@nestjs/platform-fastify'
import { catchError, concat, concatMap, from, type Observable, of } from 'rxjs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions as onExpress } from '../../adapters/express.js'
import { transactions as onFastify } from '../../adapters/fastify.js'
import { Signal } from '../http/listening.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import type { Nest } from './guarded-nest.js'

/** Describes it for one version. */
export function describeAnsweringNest(name: string, { common, core, fastify }: Nest): void {
  let open: OpenDatabase
  let app: Common.INestApplication
  let url = ''
  /** Lets the stream of events go on. */
  let goesOn: Signal

  const add = async (dog: string): Promise<{ data: string }> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
    return { data: dog }
  }
  class Dogs {
    async fail(): Promise<void> {
      await add('before')
      throw new Error('too late')
    }

    async conflict(): Promise<void> {
      await add('before')
      await add('before')
    }
  }
  class SwallowInterceptor implements Common.NestInterceptor {
    intercept(_context: unknown, next: Common.CallHandler): Observable<unknown> {
      return next.handle().pipe(catchError(() => of({ done: false })))
    }
  }
  class OkFilter implements Common.ExceptionFilter {
    catch(_error: Error, host: Common.ArgumentsHost): void {
      app.getHttpAdapter().reply(host.switchToHttp().getResponse(), { done: false }, 200)
    }
  }
  class InterceptedDogs extends Dogs {}
  class FilteredDogs extends Dogs {}
  class Events {
    async stream(): Promise<Observable<{ data: string }>> {
      return concat(of(await add('before')), from(goesOn.given).pipe(concatMap(() => add('later'))))
    }
  }
  class Root {}
  const decorate = <T extends object>(prototype: T, method: keyof T & string, decorator: MethodDecorator): unknown =>
    decorator(prototype, method, Object.getOwnPropertyDescriptor(prototype, method) ?? {})
  decorate(Dogs.prototype, 'fail', common.Post('fail'))
  decorate(Dogs.prototype, 'conflict', common.Post('conflict'))
  decorate(Events.prototype, 'stream', common.Sse())
  common.Catch(Error)(OkFilter)
  common.UseInterceptors(SwallowInterceptor)(InterceptedDogs)
  common.UseFilters(OkFilter)(FilteredDogs)
  common.Controller('intercepted')(InterceptedDogs)
  common.Controller('filtered')(FilteredDogs)
  common.Controller('events')(Events)
  common.Module({ controllers: [InterceptedDogs, FilteredDogs, Events] })(Root)

  const create = async (platform: string): Promise<Common.INestApplication> => {
    const options = { logger: false, forceCloseConnections: true } as const
    const { datastore } = open
    if (platform === 'Express') {
      const made = await core.NestFactory.create<ForExpress.NestExpressApplication>(Root, options)
      made.use(onExpress(datastore))
      return made
    }
    const adapter = new fastify.FastifyAdapter({ forceCloseConnections: true })
    const made = await core.NestFactory.create<ForFastify.NestFastifyApplication>(Root, adapter, options)
    // Two versions of Fastify's types meet here.
    await made.register(onFastify as never, { datastore } as never)
    return made
  }
  const post = async (path: string): Promise<number> => (await fetch(url + path, { method: 'POST' })).status

  const kinds = [databasesOf('postgresql')[0], databasesOf('sqlite')[0]].flatMap((kind) => kind ?? [])
  describe.each(kinds)(`${name} on $name`, (kind) => {
    beforeAll(async () => {
      open = await openDatabase(kind)
    })
    beforeEach(async () => {
      goesOn = new Signal()
      await open.clear()
    })
    afterEach(async () => await app.close())
    afterAll(async () => await open.close())

    describe.each(['Express', 'Fastify'])('and %s', (platform) => {
      beforeEach(async () => {
        app = await create(platform)
        await app.listen(0, '127.0.0.1')
        url = await app.getUrl()
      })

      it.each([
        ['/intercepted', 201],
        ['/filtered', 200],
      ])('commits what was done before a failure that is answered with success: %s', async (path, status) => {
        expect(await post(`${path}/fail`)).toBe(status)
        expect(await open.dogs()).toEqual(['before'])
        await open.clear()
        // PostgreSQL has doomed the transaction then; the others have undone the one statement.
        const isDoomed = kind.provider === 'postgresql'
        expect(await post(`${path}/conflict`)).toBe(isDoomed ? 500 : status)
        expect(await open.dogs()).toEqual(isDoomed ? [] : ['before'])
      })

      it('commits what a stream of events awaits before it begins, and tears nothing later', async () => {
        const response = await fetch(`${url}/events`)
        expect(response.status).toBe(200)
        expect(await open.dogs()).toEqual(['before'])
        goesOn.give()
        const text = await response.text()
        expect(text).toContain('data: before\n')
        expect(text).toContain('event: error\n')
        expect(await open.dogs()).toEqual(['before'])
      })
    })
  })
}
