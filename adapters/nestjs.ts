/** NestJS: a module that gives requests their transactions, on Express and on Fastify, and methods of services theirs. */
import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type DynamicModule,
  type ExecutionContext,
  type FactoryProvider,
  HttpException,
  Inject,
  type InjectionToken,
  Logger,
  Module,
  type ModuleMetadata,
  type NestInterceptor,
  type NestModule,
  type OnApplicationShutdown,
  type Provider,
} from '@nestjs/common'
import { APP_INTERCEPTOR, BaseExceptionFilter, HttpAdapterHost, ModulesContainer, Reflector } from '@nestjs/core'
import type { Response as ExpressResponse } from 'express'
import type { FastifyRequest } from 'fastify'
import { anything, callable, checkOptions, flag } from '../src/checked-options.js'
import { CapturedContext, EventSourcingError, ProgrammingError, type TransactionRunner } from '../src/index.js'
import { servedBy } from './express-exchange.js'
import { servedOf } from './fastify-exchange.js'
import {
  assertDatastore,
  mergeOptions,
  type ProblemOptions,
  problemHeadersFor,
  problemOf,
  problemOptionTypes,
  type RouteTransactionOptions,
  routeOptionTypes,
  type ServedRequest,
  type TransactionalDatastore,
} from './http.js'
import { getDatastoreToken, getTransactionsOptionsToken, refuseRetries, routeKey } from './nest-decorators.js'
import { claimAll } from './nest-routes.js'
import { serve } from './request-transaction.js'

export type { RetryAfterSeconds } from './error-status.js'
export type { Problem, ProblemOptions, RouteTransactionOptions, TransactionalDatastore } from './http.js'
export type { IdempotencyOptions, IdempotencyScope } from './idempotency.js'
export {
  getDatastoreToken,
  getTransactionsOptionsToken,
  InjectDatastore,
  type NestRouteOptions,
  RouteTransaction,
  Transactional,
  type TransactionalMethodDecorator,
  type TransactionalOptions,
} from './nest-decorators.js'
export type { Answer } from './response-parts.js'

/** What the module needs of a datastore; a `PrismaDatastore` is one. */
export interface NestDatastore extends TransactionalDatastore, TransactionRunner {
  /** Ends it, after the last request. */
  close?(): Promise<void>
}

/** Options of the module: those of the transactions of requests, with their datastore. */
export interface TransactionsModuleOptions<Request = unknown> extends RouteTransactionOptions<Request> {
  /** Whose transactions they are. */
  readonly datastore: NestDatastore
  /** Requests that get no transaction; default: none. It is given the request of Express or of Fastify. */
  readonly skip?: (request: Request) => boolean
  /** Whether the datastore is closed when the app is, after the last request has been answered; default true. */
  readonly closeOnShutdown?: boolean
}

/** What is fixed when the module is made, whatever its options come from. */
export interface TransactionsModulePlace {
  /** Where there are several datastores: what this one is called in `getDatastoreToken` and its like; default: it has no name. */
  readonly name?: string
  /** Whether all modules of the app may inject the datastore; default true. */
  readonly global?: boolean
}

/** Options that come from what Nest injects. */
export interface TransactionsModuleAsyncOptions<Injected extends readonly unknown[], Request = unknown>
  extends Pick<ModuleMetadata, 'imports'>,
    TransactionsModulePlace {
  /** The tokens of what the factory is given. */
  readonly inject?: FactoryProvider['inject']
  /** Gives the options. */
  readonly useFactory: (
    ...injected: Injected
  ) => TransactionsModuleOptions<Request> | Promise<TransactionsModuleOptions<Request>>
}

/** What one module does for its datastore. */
class Wiring {
  readonly datastore: NestDatastore
  readonly name: string | undefined
  readonly options: TransactionsModuleOptions
  readonly #host: HttpAdapterHost

  constructor(
    name: string | undefined,
    options: TransactionsModuleOptions,
    datastore: NestDatastore,
    host: HttpAdapterHost,
  ) {
    assertDatastore(datastore)
    refuseRetries(options)
    checkOptions('set up TransactionsModule', options, moduleOptionTypes)
    this.name = name
    this.options = options
    this.datastore = datastore
    this.#host = host
  }

  get isOnFastify(): boolean {
    return this.#host.httpAdapter.getType() === 'fastify'
  }

  /** Adds the transactions after body parsers, and before the middlewares of modules, guards and routes. */
  async mount(): Promise<void> {
    const { httpAdapter } = this.#host
    const { datastore: _, closeOnShutdown: __, ...options } = this.options
    const type = httpAdapter.getType()
    if (type === 'express') {
      const { transactions } = await import('./express.js')
      httpAdapter.use(transactions(this.datastore, options))
    } else if (type === 'fastify') {
      const { transactions } = await import('./fastify.js')
      const fastify: Registering = httpAdapter.getInstance()
      await fastify.register(transactions, { datastore: this.datastore, ...options })
    } else {
      throw new ProgrammingError(
        `Could not set up TransactionsModule on the platform '${type}': it knows express and fastify.`,
      )
    }
  }

  /** The transaction of a request, if it has one. */
  servedIn(context: ExecutionContext): ServedRequest<unknown> | undefined {
    const http = context.switchToHttp()
    // Its options are given the request of its own framework.
    const all = (this.isOnFastify
      ? servedOf(http.getRequest<FastifyRequest>())
      : servedBy(http.getResponse<ExpressResponse>())) as readonly unknown[] as ReadonlyArray<ServedRequest<unknown>>
    return all.find(({ datastore, hasGivenWay }) => datastore === this.datastore && !hasGivenWay)
  }
}

/** What the module needs of Fastify. */
interface Registering {
  register(plugin: unknown, options: object): PromiseLike<unknown>
}

const moduleOptionTypes = { ...routeOptionTypes, datastore: anything, skip: callable, closeOnShutdown: flag }

/** Gives a route its own options, and claims the key of a request: after the guards, before pipes and the handler. */
class TransactionsInterceptor implements NestInterceptor {
  readonly #wiring: Wiring
  readonly #reflector = new Reflector()

  constructor(wiring: Wiring) {
    this.#wiring = wiring
  }

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Results> {
    const served = context.getType() === 'http' ? this.#wiring.servedIn(context) : undefined
    if (served === undefined) return next.handle()
    const own = this.#reflector.getAllAndOverride<false | RouteTransactionOptions | undefined>(
      routeKey(this.#wiring.name),
      [context.getHandler(), context.getClass()],
    )
    if (own === undefined) return await claimAll([served], () => next.handle())
    await served.giveWay()
    return await served.outside(async () => {
      if (own === false) return subscribedHere(next.handle())
      const { datastore, exchange, options } = served
      const replacing = serve(datastore, mergeOptions(options, own), exchange)
      return await claimAll([replacing], () => replacing.run(() => subscribedHere(next.handle())))
    })
  }
}

/** Lets what Nest subscribes to later, such as a stream of events, run in the context that there is now. */
function subscribedHere(results: Results): Results {
  const context = new CapturedContext()
  const subscribe = results.subscribe.bind(results) as (...observer: unknown[]) => unknown
  return Object.assign(results, { subscribe: (...observer: unknown[]) => context.run(() => subscribe(...observer)) })
}

type Results = ReturnType<CallHandler['handle']>

const wiringToken = Symbol('eventsourcing-prisma wiring')

/** The names that the modules of each app have taken. */
const takenNames = new WeakMap<ModulesContainer, Set<string>>()

/** @throws `ProgrammingError` for a second module with one name: what is injected would be by chance that of one of them */
function takeName(modules: ModulesContainer, name = ''): void {
  const taken = takenNames.get(modules) ?? new Set()
  if (taken.has(name)) {
    throw new ProgrammingError(
      `Could not set up TransactionsModule twice ${name === '' ? 'without a name' : `by the name '${name}'`}: import it once, in the root ` +
        'module, or give each datastore a name: TransactionsModule.forRoot({ name, datastore }).',
    )
  }
  takenNames.set(modules, taken.add(name))
}

/**
 * Gives each request of a Nest app a transaction, on Express and on Fastify: it commits before the answer leaves, when the status is
 * below 400, and rolls back in every other case. When the commit fails, the answer is dropped and the error goes to the exception filters
 * of the app. It is imported once for each datastore, by the root module.
 *
 * @example
 * @Module({ imports: [TransactionsModule.forRoot({ datastore })] }) class AppModule {}
 */
export class TransactionsModule implements NestModule, OnApplicationShutdown {
  readonly #wiring: Wiring

  /** @internal Nest calls it. */
  constructor(wiring: Wiring) {
    this.#wiring = wiring
  }

  /** With options that are known. */
  static forRoot<Request = unknown>({
    name,
    global,
    ...options
  }: TransactionsModuleOptions<Request> & TransactionsModulePlace): DynamicModule {
    return define(place(name, global), { provide: getTransactionsOptionsToken(name), useValue: options })
  }

  /**
   * With options that a factory gives, from what Nest injects.
   *
   * @example
   * TransactionsModule.forRootAsync({ inject: [ConfigService], useFactory: (config: ConfigService) => ({ datastore: datastoreOf(config) }) })
   */
  static forRootAsync<Injected extends readonly unknown[], Request = unknown>({
    name,
    global,
    imports = [],
    inject = [],
    useFactory,
  }: TransactionsModuleAsyncOptions<Injected, Request>): DynamicModule {
    const options = { provide: getTransactionsOptionsToken(name), inject, useFactory } as FactoryProvider
    return { ...define(place(name, global), options), imports }
  }

  /** Called by Nest when it sets up the middlewares of an app that has requests. */
  async configure(): Promise<void> {
    await this.#wiring.mount()
  }

  /** Called by Nest when the server is closed. */
  async onApplicationShutdown(): Promise<void> {
    const { datastore, options } = this.#wiring
    if (options.closeOnShutdown !== false) await datastore.close?.()
  }
}

Module({})(TransactionsModule)
Inject(wiringToken)(TransactionsModule, undefined, 0)

function place(
  name: string | undefined,
  global = true,
): { readonly name: string | undefined; readonly global: boolean } {
  return { name, global }
}

function define(
  { name, global }: { readonly name: string | undefined; readonly global: boolean },
  options: Provider,
): DynamicModule {
  const optionsToken = getTransactionsOptionsToken(name)
  const datastoreToken = getDatastoreToken(name)
  const inject: InjectionToken[] = [optionsToken, datastoreToken, HttpAdapterHost, ModulesContainer]
  const wire = (
    given: TransactionsModuleOptions,
    datastore: NestDatastore,
    host: HttpAdapterHost,
    modules: ModulesContainer,
  ): Wiring => {
    takeName(modules, name)
    return new Wiring(name, given, datastore, host)
  }
  return {
    module: TransactionsModule,
    global,
    providers: [
      options,
      {
        provide: datastoreToken,
        inject: [optionsToken],
        useFactory: ({ datastore }: TransactionsModuleOptions) => datastore,
      },
      { provide: wiringToken, inject, useFactory: wire },
      {
        provide: APP_INTERCEPTOR,
        inject: [wiringToken],
        useFactory: (wiring: Wiring) => new TransactionsInterceptor(wiring),
      },
    ],
    exports: [datastoreToken, optionsToken],
  }
}

/**
 * Answers the errors of this package with the status that they have (404, 409, 412, 503 with Retry-After and so on), as problem details
 * (RFC 9457). Without it Nest answers 500. A subclass catches more, such as the errors of Prisma.
 *
 * @example
 * @Catch(EventSourcingError, Prisma.PrismaClientKnownRequestError)
 * class ProblemsFilter extends ProblemDetailsFilter {}
 */
export class ProblemDetailsFilter extends BaseExceptionFilter {
  readonly #options: ProblemOptions
  readonly #logger = new Logger('eventsourcing-prisma')

  /** @param options - what errors mean beside what they say */
  constructor(options: ProblemOptions = {}) {
    super()
    checkOptions('make a ProblemDetailsFilter', options, problemOptionTypes)
    this.#options = options
  }

  /**
   * Called by Nest with what was thrown.
   *
   * @throws what is not of a request, such as that of a message
   */
  override catch(error: unknown, host: ArgumentsHost): void {
    if (host.getType() !== 'http') throw error
    const problem = problemOf(error, this.#options)
    if (problem.status >= 500) this.#logger.error(error)
    const response = host.switchToHttp().getResponse<{ header(name: string, value: string): unknown }>()
    for (const [name, value] of Object.entries(problemHeadersFor(error, problem, this.#options))) {
      response.header(name, value)
    }
    // oxlint-disable-next-line promise/valid-params, promise/no-promise-in-callback -- it is the method of a filter
    super.catch(new HttpException(problem, problem.status, { cause: error }), host)
  }
}

Catch(EventSourcingError)(ProblemDetailsFilter)
