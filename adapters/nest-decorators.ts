/** NestJS: decorators that inject a datastore, make methods transactional, and give routes options of their own. */
import { Inject, SetMetadata } from '@nestjs/common'
import { checkOptions, text } from '../src/checked-options.js'
import { ProgrammingError, type TransactionOptions, type TransactionRunner, transactional } from '../src/index.js'
import { checkRouteOptions, type RouteTransactionOptions } from './http.js'
import { copyMetadata } from './nest-routes.js'

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
