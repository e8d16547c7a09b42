/**
 * NestJS: decorators that inject a datastore, make methods transactional and give routes options; and what its routes are: functions that run
 * guards, interceptors, pipes and the handler, so that a key has to be claimed inside of them, by an interceptor.
 */

import { Inject, SetMetadata } from '@nestjs/common'
import { checkOptions, text } from '../src/checked-options.js'
import { ProgrammingError, type TransactionOptions, type TransactionRunner, transactional } from '../src/index.js'
import { checkRouteOptions, type RouteTransactionOptions, type ServedRequest } from './http.js'
import type { MissingClaim } from './idempotency.js'
import { hasKey } from './request-transaction.js'

/**
 * The token of a datastore: it is injected by it, and a test overrides it.
 *
 * @param name - as the module has it; default: that of the module without one
 *
 * @example
 * Test.createTestingModule({ imports: [AppModule] }).overrideProvider(getDatastoreToken()).useValue(datastore)
 */
export function getDatastoreToken(name?: string): string {
  return tokenOf('datastore', name)
}

/** The token of all options of the module, for a test that overrides them; the factory of `forRootAsync` is not called then. */
export function getTransactionsOptionsToken(name?: string): string {
  return tokenOf('transactions', name)
}

function tokenOf(what: string, name: string | undefined): string {
  return name === undefined ? `eventsourcing-prisma ${what}` : `eventsourcing-prisma ${what} ${name}`
}

/**
 * Injects a datastore into a parameter of a constructor, or into a property.
 *
 * @param name - as the module has it
 */
export function InjectDatastore(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getDatastoreToken(name))
}

/** Options of `@Transactional`. */
export interface TransactionalOptions extends TransactionOptions {
  /** The name of the datastore, where it has one. */
  readonly datastore?: string
}

/** What `Transactional` makes: a decorator of asynchronous methods, as Nest compiles decorators. */
export type TransactionalMethodDecorator = <Parameters extends readonly unknown[], Result>(
  target: object,
  key: string | symbol,
  descriptor: TypedPropertyDescriptor<(...args: Parameters) => Promise<Result>>,
) => TypedPropertyDescriptor<(...args: Parameters) => Promise<Result>>

/**
 * Makes the calls of a method of a provider or a controller transactions: in a request they join its transaction, elsewhere (a job, a
 * message, a command) each opens one; `propagation` says otherwise. Nest injects the datastore into the object.
 *
 * @throws `TypeError` for anything but a method; `ProgrammingError` for options that there are not, and at a call where Nest has not
 * made the object
 *
 * @example
 * @Injectable()
 * class OwnersService {
 *   @Transactional() async register(name: string): Promise<void> {}
 * }
 */
export function Transactional({
  datastore: name,
  ...options
}: TransactionalOptions = {}): TransactionalMethodDecorator {
  if (name !== undefined) checkOptions('make @Transactional', { datastore: name }, { datastore: text })
  const injected = Symbol.for(getDatastoreToken(name))
  const datastoreOf = (owner: object): TransactionRunner => {
    // Nobody else has the key.
    const datastore = Reflect.get(owner, injected) as TransactionRunner | undefined
    if (datastore !== undefined) return datastore
    throw new ProgrammingError(
      `Could not begin the transaction of a method of ${owner.constructor.name}: Nest has not made this object, so it has no datastore. ` +
        'Make it a provider, also in a test: Test.createTestingModule({ providers: [' +
        `${owner.constructor.name}, { provide: getDatastoreToken(${name === undefined ? '' : `'${name}'`}), useValue: datastore }] }).`,
    )
  }
  const decorate = transactional(datastoreOf, options)
  return (target, key, descriptor) => {
    if (typeof key === 'object') {
      throw new ProgrammingError(
        'Could not make a method transactional by a standard decorator: Nest injects by legacy ones. Compile with ' +
          '`experimentalDecorators`, or use `transactional` of eventsourcing-prisma.',
      )
    }
    const original = descriptor.value
    const made = decorate(target, key, descriptor)
    if (original !== undefined && made.value !== undefined) copyMetadata(original, made.value)
    Inject(getDatastoreToken(name))(target, injected)
    return made
  }
}

/** The options of a route of Nest. `retries` are left out: the framework below Nest does not see what a handler throws. */
export type NestRouteOptions<Request = unknown> = Omit<RouteTransactionOptions<Request>, 'retries'>

/**
 * The options of the transaction of a handler, or of all handlers of a controller, over those of the module; `false` for no transaction.
 * They count from the first interceptor on: guards are asked before, by the options of the module.
 *
 * @param datastore - the name of the datastore, where it has one
 * @throws `ProgrammingError` for options that there are not; at a request, where a guard has used the database already
 *
 * @example
 * @RouteTransaction({ readOnly: true }) @Get() list() {}
 */
export function RouteTransaction<Request = unknown>(
  options: false | NestRouteOptions<Request>,
  datastore?: string,
): MethodDecorator & ClassDecorator {
  if (options !== false) {
    refuseRetries(options)
    checkRouteOptions('@RouteTransaction', options)
  }
  return SetMetadata(routeKey(datastore), options)
}

/** Where the options of a route are kept. */
export function routeKey(name: string | undefined): string {
  return tokenOf('route', name)
}

/** @throws `ProgrammingError`: an error of a handler is answered by Nest, before anybody could run it again */
export function refuseRetries(options: RouteTransactionOptions<never>): void {
  if ((options.retries ?? 0) === 0) return
  throw new ProgrammingError(
    'Could not give requests retries in Nest: it answers what a handler throws by itself. Let the route have no transaction ' +
      '(`@RouteTransaction(false)`), and make a method of a service transactional: @Transactional({ retries: 3 }).',
  )
}

interface Metadata {
  readonly getMetadataKeys?: (target: object) => readonly unknown[]
}

/**
 * Whether a function of a route is one of Nest's. They have the metadata of the controller's method; Nest's adapter for Fastify
 * puts another function around those of paths with parameters, which is known by its text.
 */
export function isHandlerOfNest(handler: (...args: never[]) => unknown): boolean {
  if (around.has(handler)) return true
  // Of the package reflect-metadata, which Nest loads.
  const { getMetadataKeys } = Reflect as Metadata
  if (getMetadataKeys === undefined) return false
  const keys = getMetadataKeys(handler)
  if (keys.includes('path') && keys.includes('method')) return true
  const text = String(handler)
  return text.includes('callNotFound()') && text.includes('.call(this')
}

/** Functions of ours around one of Nest's. */
const around = new WeakSet<object>()

/** Lets a function count as one of Nest's if the one is that it calls. */
export function sameAs<Handler extends (...args: never[]) => unknown>(wrapper: Handler, handler: Handler): Handler {
  if (isHandlerOfNest(handler)) around.add(wrapper)
  return wrapper
}

/** What is said where nothing has claimed the key of a request in Nest. */
export const missingInterceptor: MissingClaim = {
  isAfterHandler: true,
  why:
    'Could not serve the request once: it has an idempotency key, and in Nest that is looked up after the guards, by an interceptor. ' +
    'Use TransactionsModule, or add app.useGlobalInterceptors(new IdempotencyInterceptor()) before the other interceptors.',
}

interface MetadataOf extends Metadata {
  readonly getOwnMetadata: (key: unknown, target: object) => unknown
  readonly defineMetadata: (key: unknown, value: unknown, target: object) => void
}

/** Gives a function what decorators have put on the one that it calls: its route, its guards. */
function copyMetadata(from: object, to: object): void {
  // Of the package reflect-metadata, which Nest loads.
  const { getMetadataKeys, getOwnMetadata, defineMetadata } = Reflect as Partial<MetadataOf> as MetadataOf
  for (const key of getMetadataKeys?.(from) ?? []) defineMetadata(key, getOwnMetadata(key, from), to)
}

/** What an interceptor knows of its request; `ExecutionContext` of Nest is one. */
export interface InterceptedContext {
  /** `http` for requests. */
  getType(): string
  /** The request and the response of the framework below Nest. */
  switchToHttp(): {
    /** The request. */
    getRequest(): unknown
    /** The response, or the reply. */
    getResponse(): unknown
  }
}

/** What comes after an interceptor; `CallHandler` of Nest is one. */
export interface InterceptedHandler<Result> {
  /** Runs the handler when somebody subscribes to what it gives. */
  handle(): Result
}

/** As `claimAll`, for an interceptor. */
export async function intercept<Request, Result>(
  served: ReadonlyArray<ServedRequest<Request>>,
  next: InterceptedHandler<Result>,
): Promise<Result> {
  return await claimAll(served, () => next.handle())
}

/**
 * Claims the keys of a request, and goes on with it where it has not been served before.
 *
 * @returns never settles where the request has been answered as it was before: nothing is left to send, and Nest would send
 * whatever an interceptor gives
 */
export async function claimAll<Request, Result>(
  served: ReadonlyArray<ServedRequest<Request>>,
  goOn: () => Result,
): Promise<Result> {
  for (const transaction of served.filter(hasKey)) {
    if (!(await transaction.claim())) return await new Promise<never>(() => {})
  }
  return goOn()
}
