/** The module for NestJS 12 does what it says, on Express and on Fastify. */
import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  type DynamicModule,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  type INestApplication,
  Injectable,
  Module,
  Post,
  type Provider,
  Redirect,
  type Type,
  UseGuards,
} from '@nestjs/common'
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { Test } from '@nestjs/testing'
import { catchError, type Observable, of } from 'rxjs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  getDatastoreToken,
  getTransactionsOptionsToken,
  InjectDatastore,
  ProblemDetailsFilter,
  RouteTransaction,
  Transactional,
  TransactionsModule,
  type TransactionsModuleOptions,
  type TransactionsModulePlace,
} from '../../adapters/nestjs.js'
import { NAMESPACE_URL, PrismaApplicationRecorder, type PrismaDatastore, uuid5 } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

/** Applies decorators as Nest's compilers do: the last one first. */
function decorate(target: Type, method: string, ...decorators: readonly MethodDecorator[]): void {
  let descriptor = Object.getOwnPropertyDescriptor(target.prototype, method) ?? {}
  for (const decorator of decorators.toReversed()) {
    descriptor = decorator(target.prototype as object, method, descriptor) ?? descriptor
  }
  Object.defineProperty(target.prototype, method, descriptor)
}

type Datastore = PrismaDatastore<TestClient>

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let app: INestApplication | undefined
  let url = ''
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  beforeEach(async () => await open.clear())
  afterEach(async () => {
    await app?.close()
    app = undefined
  })
  afterAll(async () => await open.close())

  class Dogs {
    readonly datastore: Datastore
    constructor(datastore: Datastore) {
      this.datastore = datastore
    }

    async add(dog: string): Promise<string> {
      await this.datastore.client.owner.create({ data: { name: 'Ann', dog } })
      return dog
    }

    async addTwo(dogs: readonly [string, string]): Promise<string> {
      await this.add(dogs[0])
      return await this.add(dogs[1])
    }
  }
  Injectable()(Dogs)
  InjectDatastore()(Dogs, undefined, 0)
  decorate(Dogs, 'addTwo', Transactional({ isolationLevel: 'Serializable' }) as MethodDecorator)

  class Kennel {
    readonly dogs: Dogs
    constructor(dogs: Dogs) {
      this.dogs = dogs
    }
    async create(): Promise<string> {
      return await this.dogs.add('Fido')
    }
    async fail(): Promise<string> {
      await this.dogs.add('Fido')
      throw new Error('secret')
    }
    async joins(): Promise<string> {
      await this.dogs.addTwo(['Rex', 'Fido'])
      throw new Error('secret')
    }
    async read(): Promise<string> {
      return await this.dogs.add('Fido')
    }
    async without(): Promise<boolean> {
      await this.dogs.datastore.outside(async () => await this.dogs.add('Fido'))
      return this.dogs.datastore.tryCurrentTransaction === undefined
    }
    async alone(): Promise<string> {
      return await this.dogs.add('Fido')
    }
    redirect(): Promise<string> {
      return this.dogs.add('Fido')
    }
  }
  Controller('dogs')(Kennel)
  Reflect.defineMetadata('design:paramtypes', [Dogs], Kennel)
  decorate(Kennel, 'create', Post())
  decorate(Kennel, 'fail', Post('fail'))
  decorate(Kennel, 'joins', Post('joins'))
  decorate(Kennel, 'read', RouteTransaction({ readOnly: true }), Post('read/:name'))
  decorate(Kennel, 'without', RouteTransaction(false), Get('without'))
  // What it puts on a method it puts on the one around it.
  decorate(Kennel, 'alone', Transactional({ propagation: 'never' }) as MethodDecorator, Post('alone'))
  decorate(Kennel, 'redirect', Redirect('/elsewhere'), Post('redirect'))

  const imports = (options: Partial<TransactionsModuleOptions & TransactionsModulePlace> = {}): DynamicModule =>
    TransactionsModule.forRoot({ datastore: open.datastore, closeOnShutdown: false, ...options })
  const rootOf = (modules: readonly DynamicModule[], providers: readonly Provider[] = []): Type => {
    class Root {}
    Module({ imports: [...modules], controllers: [Kennel], providers: [Dogs, ...providers] })(Root)
    return Root
  }

  describe.each([
    ['Express', () => new ExpressAdapter()],
    ['Fastify', () => new FastifyAdapter()],
  ] as const)('with %s', (platform, adapter) => {
    const start = async (root: Type): Promise<void> => {
      app = await NestFactory.create(root, adapter(), { logger: false, abortOnError: false })
      await app.listen(0, '127.0.0.1')
      url = await app.getUrl()
    }
    const post = async (path: string, headers: Record<string, string> = {}): Promise<Response> =>
      await fetch(`${url}/dogs${path}`, { method: 'POST', headers, redirect: 'manual' })
    const problems: Provider = { provide: APP_FILTER, useClass: ProblemDetailsFilter }

    it('commits before the answer, and rolls back what a handler throws after', async () => {
      await start(rootOf([imports()]))
      const created = await post('')
      expect([created.status, await created.text(), await open.dogs()]).toEqual([201, 'Fido', ['Fido']])
      await open.clear()
      expect((await post('/redirect')).status).toBe(302)
      expect(await open.dogs()).toEqual(['Fido'])
      await open.clear()
      expect((await post('/fail')).status).toBe(500)
      expect(await open.dogs()).toEqual([])
    })

    it('lets a method of a service join the transaction of the request, or open one', async () => {
      await start(rootOf([imports()]))
      expect((await post('/joins')).status).toBe(500)
      expect(await open.dogs()).toEqual([])
      const dogs = app?.get(Dogs)
      await expect(dogs?.addTwo(['Rex', 'Rex'])).rejects.toThrow()
      expect(await open.dogs()).toEqual([])
      expect(await dogs?.addTwo(['Rex', 'Fido'])).toBe('Fido')
      expect(await open.dogs()).toEqual(['Fido', 'Rex'])
    })

    it('obeys the propagation of a method that is a handler as well', async () => {
      await start(rootOf([imports()]))
      expect((await post('/alone')).status).toBe(500)
      expect(await open.dogs()).toEqual([])
    })

    it('gives the filters of the app the error of a commit, and its own filter answers with a problem', async () => {
      const recorder = new PrismaApplicationRecorder(open.datastore)
      await recorder.appendEvents([storedEvent(uuid5(NAMESPACE_URL, '/dogs/fido'), 1)])
      class Pending {
        async add(): Promise<string> {
          await recorder.appendEvents([storedEvent(uuid5(NAMESPACE_URL, '/dogs/fido'), 1)])
          return 'answered'
        }
      }
      Controller('pending')(Pending)
      decorate(Pending, 'add', Post())
      const withPending = (...providers: readonly Provider[]): Type => {
        class Root {}
        Module({ imports: [imports()], controllers: [Pending], providers: [...providers] })(Root)
        return Root
      }
      await start(withPending(problems))
      const conflict = await fetch(`${url}/pending`, { method: 'POST' })
      expect([conflict.status, conflict.headers.get('content-type')]).toEqual([
        409,
        expect.stringContaining('application/problem+json'),
      ])
      expect(await conflict.json()).toMatchObject({ status: 409, code: 'ES_CONCURRENCY' })
      await app?.close()
      const seen: unknown[] = []
      class Seeing implements ExceptionFilter {
        catch(error: Error, host: ArgumentsHost): void {
          seen.push(error.name)
          app?.getHttpAdapter().reply(host.switchToHttp().getResponse(), 'seen', 418)
        }
      }
      Catch()(Seeing)
      await start(withPending(problems, { provide: APP_FILTER, useClass: Seeing }))
      const other = await fetch(`${url}/pending`, { method: 'POST' })
      expect([other.status, await other.text(), seen]).toEqual([418, 'seen', ['ConcurrencyError']])
    })

    it('obeys the options of a route, also behind guards and parameters', async () => {
      class Guard implements CanActivate {
        canActivate(): boolean {
          return true
        }
      }
      await start(rootOf([imports()], [{ provide: APP_GUARD, useClass: Guard }]))
      expect((await post('/read/Fido')).status).toBe(500)
      expect(await open.dogs()).toEqual([])
      expect(await (await fetch(`${url}/dogs/without`)).text()).toBe('true')
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('refuses options of a route after a guard has used the database', async () => {
      class Guard implements CanActivate {
        async canActivate(): Promise<boolean> {
          await open.db.owner.create({ data: { name: 'guard', dog: 'Guard' } })
          return true
        }
      }
      await start(rootOf([imports()], [{ provide: APP_GUARD, useClass: Guard }, problems]))
      const answer = await post('/read/Fido')
      expect([answer.status, (await open.dogs()).length]).toEqual([500, 0])
      expect(await answer.json()).toMatchObject({ code: 'ES_PROGRAMMING' })
    })

    it('skips requests', async () => {
      const skip = ({ url: path }: { readonly url: string }): boolean => path.endsWith('/fail')
      await start(rootOf([TransactionsModule.forRoot({ datastore: open.datastore, closeOnShutdown: false, skip })]))
      expect((await post('/fail')).status).toBe(500)
      expect(await open.dogs()).toEqual(['Fido'])
      await open.clear()
      expect((await post('/joins')).status).toBe(500)
      expect(await open.dogs()).toEqual([])
    })

    it('serves a request with an idempotency key once, behind the guards', async () => {
      const scope = (request: unknown): string =>
        (request as { headers: Record<string, string | undefined> }).headers['x-user'] ?? ''
      class Guard implements CanActivate {
        canActivate(context: ExecutionContext): boolean {
          return scope(context.switchToHttp().getRequest()) !== ''
        }
      }
      UseGuards(Guard)(Kennel)
      try {
        await start(rootOf([imports({ idempotency: { scope } })], [Guard]))
        const key = { 'idempotency-key': `"${platform}-${Math.random()}"` }
        const outcome = async (headers: Record<string, string>): Promise<unknown[]> => {
          const response = await post('', headers)
          return [response.status, response.headers.get('idempotency-replayed')]
        }
        expect(await outcome(key)).toEqual([403, null])
        expect(await outcome({ ...key, 'x-user': 'ann' })).toEqual([201, null])
        expect(await outcome({ ...key, 'x-user': 'ann' })).toEqual([201, 'true'])
        expect(await outcome(key)).toEqual([403, null])
        expect(await open.dogs()).toEqual(['Fido'])
      } finally {
        Reflect.deleteMetadata('__guards__', Kennel)
      }
    })

    it('makes the datastore from what is injected, and lets a test override it', async () => {
      let made = 0
      const asynchronous = TransactionsModule.forRootAsync({
        imports: [
          {
            module: class Configured {},
            providers: [{ provide: 'configured', useFactory: () => open }],
            exports: ['configured'],
          },
        ],
        inject: ['configured'],
        useFactory: ({ datastore }: OpenDatabase) => {
          made += 1
          return { datastore, closeOnShutdown: false }
        },
      })
      await start(rootOf([asynchronous]))
      expect([(await post('')).status, await open.dogs(), made]).toEqual([201, ['Fido'], 1])
      await app?.close()
      await open.clear()

      const other = await openDatabase(kind)
      const builders = [
        () =>
          Test.createTestingModule({ imports: [rootOf([asynchronous])] })
            .overrideProvider(getDatastoreToken())
            .useValue(other.datastore),
        () =>
          Test.createTestingModule({ imports: [rootOf([asynchronous])] })
            .overrideProvider(getTransactionsOptionsToken())
            .useValue({ datastore: other.datastore, closeOnShutdown: false }),
      ]
      for (const builder of builders) {
        app = (await builder().compile()).createNestApplication(adapter(), { logger: false })
        await app.listen(0, '127.0.0.1')
        url = await app.getUrl()
        expect((await post('')).status).toBe(201)
        expect((await post('/fail')).status).toBe(500)
        expect([await open.dogs(), await other.dogs()]).toEqual([[], ['Fido']])
        await other.clear()
        await app.close()
      }
      expect(made).toBe(2)
      await other.close()
    })

    it('has several datastores by their names, and refuses two of one name', async () => {
      const other = await openDatabase(kind)
      class Both {
        async add(): Promise<string> {
          await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
          await other.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
          throw new Error('secret')
        }
      }
      Controller('both')(Both)
      decorate(Both, 'add', Post())
      class Root {}
      const audit = imports({ name: 'audit', datastore: other.datastore })
      Module({ imports: [imports(), audit], controllers: [Both] })(Root)
      await start(Root)
      expect(app?.get(getDatastoreToken('audit'))).toBe(other.datastore)
      expect((await fetch(`${url}/both`, { method: 'POST' })).status).toBe(500)
      expect([await open.dogs(), await other.dogs()]).toEqual([[], []])
      await app?.close()
      app = undefined
      await expect(start(rootOf([imports(), imports({ datastore: other.datastore })]))).rejects.toThrow(
        'Could not set up TransactionsModule twice without a name',
      )
      await other.close()
    })

    it('closes the datastore after the last answer', async () => {
      const other = await openDatabase(kind)
      await start(rootOf([imports({ datastore: other.datastore, closeOnShutdown: true })]))
      expect((await post('')).status).toBe(201)
      await app?.close()
      await expect(other.datastore.transaction(async () => await other.db.owner.count())).rejects.toMatchObject({
        code: 'ES_DATASTORE_CLOSED',
      })
      await other.database.drop()
    })

    it('lets an interceptor of the app answer in place of a failure, which rolls back where it says so', async () => {
      const swallow = {
        intercept: (_context: unknown, next: CallHandler): Observable<unknown> =>
          next.handle().pipe(
            catchError(() => {
              open.datastore.currentTransaction.rollbackOnly({ answer: 'keep' })
              return of('swallowed')
            }),
          ),
      }
      await start(rootOf([imports()], [{ provide: APP_INTERCEPTOR, useValue: swallow }]))
      const answer = await post('/fail')
      expect([answer.status, await answer.text(), await open.dogs()]).toEqual([201, 'swallowed', []])
    })
  })

  it('says what to do where Nest has not made the object, and where options are wrong', async () => {
    const dogs = new Dogs(open.datastore)
    await expect((async () => await dogs.addTwo(['Rex', 'Fido']))()).rejects.toThrow('Nest has not made this object')
    expect(() => Transactional({ retry: 1 } as object)).toThrow('retry')
    expect(() => RouteTransaction({ retries: 2 } as object)).toThrow('@Transactional({ retries: 3 })')
    expect(() => RouteTransaction({ readonly: true } as object)).toThrow('readonly')
    const start = async (module: DynamicModule): Promise<unknown> =>
      await NestFactory.createApplicationContext(rootOf([module]), { logger: false, abortOnError: false })
    await expect(start(imports({ retries: 2 }))).rejects.toThrow('retries in Nest')
    await expect(start(imports({ datastore: undefined as never }))).rejects.toThrow('no datastore was given')
  })
})
