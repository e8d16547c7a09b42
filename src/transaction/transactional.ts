/** `@transactional`: a method whose body is a transaction. */
import { types } from 'node:util'
import { checkOptions } from '../checked-options.js'
import { type TransactionOptions, transactionOptionTypes } from './options.js'

/** What the method's transactions are begun on; a `PrismaDatastore` is one. */
export interface TransactionRunner {
  /** Runs work in a transaction. */
  transaction<T>(work: () => Promise<T>, options?: TransactionOptions): Promise<T>
}

/** The decorator that `transactional` makes: standard, or legacy (`experimentalDecorators`). */
export interface TransactionalDecorator {
  /** A method, by a standard decorator. */
  <This, Parameters extends readonly unknown[], Result>(
    method: (this: This, ...args: Parameters) => Promise<Result>,
    context: ClassMethodDecoratorContext<This, (this: This, ...args: Parameters) => Promise<Result>>,
  ): (this: This, ...args: Parameters) => Promise<Result>
  /** A method, by a legacy decorator. */
  <Parameters extends readonly unknown[], Result>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<(...args: Parameters) => Promise<Result>>,
  ): TypedPropertyDescriptor<(...args: Parameters) => Promise<Result>>
}

type AsyncMethod = (...args: unknown[]) => Promise<unknown>

/**
 * Makes the calls of an asynchronous method transactions: what is stored in one is stored when it resolves, and not when it rejects.
 * Inside another transaction of the datastore it joins that, or does what `propagation` says. Its `label` is the name of the method.
 *
 * @param datastore - whose transactions they are; a function where it is made later, called at each call of the method with the
 * object that the method was called on: `@transactional((kennel: Kennel) => kennel.datastore)` where it is injected
 * @param options - as for `datastore.transaction`
 * @throws `TypeError`, when the class is defined, for anything but a method; `ProgrammingError` for options that there are not
 *
 * @example
 * class Kennel {
 *   @transactional(datastore, { retries: 3 }) async register(name: string) {
 *     await school.register(name)
 *     await db.owner.create({ data: { name: 'Ann', dog: name } })
 *   }
 * }
 */
export function transactional<Owner = unknown>(
  datastore: TransactionRunner | ((owner: Owner) => TransactionRunner),
  options?: TransactionOptions,
): TransactionalDecorator {
  if (options !== undefined) checkOptions('make @transactional', options, transactionOptionTypes)
  const wrapped = (method: unknown, member: string): AsyncMethod => {
    if (typeof method !== 'function') throw new TypeError(`@transactional cannot be on ${member}: it is no method`)
    if (types.isGeneratorFunction(method))
      throw new TypeError(`@transactional cannot be on ${member}: it is a generator, whose body runs after the call`)
    function transactionalMethod(this: unknown, ...args: unknown[]): Promise<unknown> {
      const runner = typeof datastore === 'function' ? datastore(this as Owner) : datastore // which the caller has named
      // A method that is typed as asynchronous.
      const work = async (): Promise<unknown> => await Reflect.apply(method as AsyncMethod, this, args)
      return runner.transaction(work, { label: () => nameOf(this, member), ...options })
    }
    Object.defineProperty(transactionalMethod, 'name', { value: method.name || member, configurable: true })
    Object.defineProperty(transactionalMethod, 'length', { value: method.length, configurable: true })
    return transactionalMethod
  }
  const decorate = (target: unknown, place: unknown, descriptor?: PropertyDescriptor): unknown => {
    if (typeof place !== 'object' || place === null)
      return { ...descriptor, value: wrapped(descriptor?.value, String(place)) }
    const { kind, name } = place as ClassMethodDecoratorContext // what a standard decorator is given
    if (kind !== 'method') throw new TypeError(`@transactional cannot be on ${String(name)}: it is a ${String(kind)}`)
    return wrapped(target, String(name))
  }
  return decorate as TransactionalDecorator // its overloads say which arguments come together
}

/** `Kennel.register`, for messages. */
function nameOf(owner: unknown, member: string): string {
  const ofClass: unknown = typeof owner === 'function' ? owner : Object(owner).constructor
  return typeof ofClass === 'function' ? `${ofClass.name}.${member}` : member
}
