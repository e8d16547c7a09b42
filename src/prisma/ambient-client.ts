/** The user's PrismaClient as `db` and `tx.client`: the same calls and types, whose operations join the transaction that is open around them. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ProgrammingError } from '../errors.js'
import type { Operation } from '../transaction/calls.js'
import { closedError } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import { type AnyMethod, ClientCall } from './client-call.js'
import type { DriverConnection } from './connections.js'
import type { ClientTransaction } from './driver-transaction.js'
import type { Guest } from './guest.js'
import {
  isPrismaClient,
  isPrismaOperation,
  isUnextended,
  originalOf,
  type PrismaClientLike,
  type PrismaOperation,
} from './prisma-client.js'

/** What an ambient client needs of its datastore. */
export interface AmbientHost {
  /** Where to carry out operations in the transaction around this code, undefined when there is none. */
  guest(base: PrismaClientLike): GuestPlace | undefined
  /** Calls `$transaction` of a client, so that its work joins the transaction that this begins. */
  transaction(base: PrismaClientLike, ambient: object, args: readonly unknown[]): unknown
  /**
   * The client whose calls are made in place of this one's, undefined outside of such work.
   *
   * @throws `NotSupportedError` for a client that has none
   */
  instead(base: PrismaClientLike): object | undefined
  /** Runs a function of an extension: what the clients that it knows do in it joins, too. */
  extension<R>(fn: () => R): R
}

/** These act on the connection or make clients: a client inside of a transaction has none of them. */
const ofWholeClients = new Set(['$connect', '$disconnect', '$on', '$use', '$extends'])

const rawQueries = new Set([
  '$queryRaw',
  '$executeRaw',
  '$queryRawUnsafe',
  '$executeRawUnsafe',
  '$queryRawTyped',
  '$runCommandRaw',
])

/** The operations of models that only read, and lock nothing. */
const modelReads: ReadonlySet<string> = new Set([
  'findUnique',
  'findUniqueOrThrow',
  'findFirst',
  'findFirstOrThrow',
  'findMany',
  'aggregate',
  'count',
  'groupBy',
])

/** What Prisma generates for every model. @see https://www.prisma.io/docs/orm/reference/prisma-client-reference#model-queries */
const modelOperations = new Set([
  ...modelReads,
  'create',
  'createMany',
  'createManyAndReturn',
  'update',
  'updateMany',
  'updateManyAndReturn',
  'upsert',
  'delete',
  'deleteMany',
])

/**
 * Makes the ambient view of a client.
 *
 * @param isTransaction - whether it is a client inside of a transaction
 */
export function ambientClient<Client extends object>(
  base: Client & PrismaClientLike,
  host: AmbientHost,
  isTransaction: boolean = false,
): Client {
  const models = new Map<string | symbol, object>()
  const isExtended = !isUnextended(base)
  let parent: object | undefined
  const isHidden = (property: string | symbol): boolean =>
    isTransaction && typeof property === 'string' && ofWholeClients.has(property)
  const own = (target: object, property: string | symbol): unknown => {
    if (isHidden(property)) return undefined
    const value: unknown = Reflect.get(target, property)
    if (typeof property === 'symbol' || property.startsWith('_')) return value
    if (property === '$transaction') return (...args: unknown[]) => host.transaction(base, proxy, args)
    if (property === '$parent' && isPrismaClient(value)) return (parent ??= ambientClient(value, host, isTransaction))
    if (isMethod(value)) {
      if (ofWholeClients.has(property)) return wholeClientMethod(value, property, { base, proxy, host })
      const isPrismas = !isExtended || Reflect.get(originalOf(base), property) === value
      if (!isPrismas) return extensionMethod(host, value)
      return rawQueries.has(property)
        ? operationMethod(host, { name: property, base, owner: base, method: value })
        : value
    }
    if (!isModel(value)) return value
    const of = { name: property, base, isExtended, parent: () => Reflect.get(proxy, '$parent') as unknown }
    models.set(property, ambientModel(value, of, host))
    return models.get(property)
  }
  const proxy: Client = new Proxy<Client>(base, {
    get(target, property) {
      const other = isOfCalls(property) ? host.instead(base) : undefined
      if (other !== undefined) return Reflect.get(other, property) as unknown
      return models.get(property) ?? own(target, property)
    },
    has: (target, property) => !isHidden(property) && Reflect.has(target, property),
    ownKeys: (target) => Reflect.ownKeys(target).filter((property) => !isHidden(property)),
  })
  return proxy
}

/** Which model of which client a model is. */
interface ModelPlace {
  readonly name: string
  readonly base: PrismaClientLike
  readonly isExtended: boolean
  readonly parent: () => unknown
}

/** Methods of the user's own extensions run as they are: called on the ambient client or model, they join through it. */
function ambientModel(model: object, { name, base, isExtended, parent }: ModelPlace, host: AmbientHost): object {
  return new Proxy(model, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (property === '$parent') return parent()
      if (typeof property === 'symbol' || !isMethod(value)) return value
      const other = host.instead(base)
      if (other !== undefined) return Reflect.get(Reflect.get(other, name) as object, property) as unknown
      // Prisma makes its own methods anew for everyone who asks; those of extensions are what the user has given.
      const isPrismas = !isExtended || Reflect.get(target, property) !== value
      if (!isPrismas) return extensionMethod(host, value)
      return modelOperations.has(property)
        ? operationMethod(host, { name: `${name}.${property}`, base, owner: target, method: value })
        : value
    },
  })
}

/** A method of Prisma's that makes an operation. */
interface OperationMethod {
  readonly name: string
  readonly base: PrismaClientLike
  readonly owner: object
  readonly method: AnyMethod
}

function operationMethod(host: AmbientHost, { name, base, owner, method: ofBase }: OperationMethod): AnyMethod {
  // With a receiver that is a proxy: Prisma tells where a call was made by the first function on the stack that has none.
  function method(this: unknown, ...args: unknown[]): unknown {
    const made: unknown = Reflect.apply(ofBase, owner, args)
    const place = host.guest(base)
    return place === undefined || !isPrismaOperation(made) ? made : guestOperation(place, made, name, method)
  }
  return method
}

/** A function that the user has put on the client or a model. */
function extensionMethod(host: AmbientHost, method: AnyMethod): AnyMethod {
  return new Proxy(method, {
    apply: (target, self: unknown, args) => host.extension((): unknown => Reflect.apply(target, self, args)),
  })
}

/** The client that a method is called on. */
interface Whole {
  readonly base: PrismaClientLike
  readonly proxy: object
  readonly host: AmbientHost
}

function wholeClientMethod(value: AnyMethod, property: string, { base, proxy, host }: Whole): AnyMethod {
  if (property !== '$extends') {
    return (...args) => {
      const result = Reflect.apply(value, base, args)
      // `$on` gives the client itself.
      return isPrismaClient(result) ? proxy : result
    }
  }
  return (extension) => {
    // An extension that is a function makes the client itself: from the ambient one, so that what it does by that joins.
    if (isMethod(extension)) return extension(proxy)
    return ambientClient(Reflect.apply(value, base, [extension]) as PrismaClientLike, host)
  }
}

function isOfCalls(property: string | symbol): boolean {
  return typeof property === 'string' && !ofWholeClients.has(property)
}

function isModel(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'findMany' in value && typeof value.findMany === 'function'
}

function isMethod(value: unknown): value is AnyMethod {
  return typeof value === 'function'
}

/*
 * A call on a PrismaClient that Prisma carries out in one of our transactions when it is awaited.
 *
 * Prisma makes the operation where the call is, so that its errors tell that line; where it is carried out is said when it starts.
 */

/** Where operations are carried out. */
export interface GuestPlace {
  readonly scope: Scope<DriverConnection>
  /** The `$transaction` that the scope belongs to, undefined for one that the library has begun. */
  readonly owner: ClientTransaction | undefined
  /** The guest in the library's transaction, which comes at its first use. */
  guest(): Guest
  /** Whether the code that runs now is in the same transaction. */
  isHere(): boolean
}

/** @param name - such as `owner.findMany`; that of a raw query has no model */
function isModelRead(name: string): boolean {
  const [, operation] = name.split('.')
  return operation !== undefined && modelReads.has(operation)
}

interface Made {
  readonly place: GuestPlace
  readonly call: ClientCall
  readonly operation: Operation
  /** What Prisma has made of the call. */
  readonly prismas: PrismaOperation
}

/** Where an operation tells what it is: a `WeakMap` would keep its transaction until the next full garbage collection. */
const madeKey = Symbol('made operation')

/**
 * Makes an operation that behaves as Prisma's do: it starts when it is awaited, runs once however often it is awaited,
 * can go on to a relation, and can be an element of `$transaction([…])`.
 *
 * @param name - of the call, for messages
 * @param method - which was called for it: what called that is where the operation was made
 */
function guestOperation(place: GuestPlace, prismas: PrismaOperation, name: string, method: AnyMethod): object {
  const { scope } = place
  const call = new ClientCall(name, scope.session.options.escapes.areLocated ? method : undefined)
  const made: Made = { place, call, prismas, operation: scope.operations.make(call, isModelRead(name)) }
  // Made here, where the code that is late is on the stack.
  const late =
    scope.ended && place.owner === undefined
      ? (scope.session.life.stopped ?? closedError(`${String(call)} was called`, scope.title))
      : undefined
  let result: Promise<unknown> | undefined
  const run = (): Promise<unknown> => (result ??= late === undefined ? carryOut(made) : Promise.reject(late))
  return new Proxy(prismas, {
    get(target, property) {
      switch (property) {
        case 'then':
          return (...handlers: Parameters<Promise<unknown>['then']>) => run().then(...handlers)
        case 'catch':
          return (...handlers: Parameters<Promise<unknown>['catch']>) => run().catch(...handlers)
        case 'finally':
          return (...handlers: Parameters<Promise<unknown>['finally']>) => run().finally(...handlers)
        case 'requestTransaction':
          return (transaction: object) => requestFrom(made, transaction)
        case madeKey:
          return made
        default: {
          const value: unknown = Reflect.get(target, property)
          return typeof property === 'string' && typeof value === 'function' ? nextStep(made, property, value) : value
        }
      }
    },
  })
}

/** Says of operations that something else carries them out, as soon as they are given to it. */
export function takeOver(operations: readonly unknown[]): void {
  for (const operation of operations) {
    const made = madeOf(operation)
    made?.place.scope.operations.forget(made.operation)
  }
}

/** Carries out any operation of Prisma's in a place, wherever it was made. */
export function carryOutIn(place: GuestPlace, operation: PrismaOperation): Promise<unknown> {
  const made = madeOf(operation)
  const call = made?.call ?? new ClientCall('an operation of $transaction', undefined)
  const prismas = made?.prismas ?? operation
  return carryOut({
    place,
    call,
    prismas,
    operation: place.scope.operations.make(call, made?.operation.isRead === true),
  })
}

async function carryOut({ place, prismas, operation }: Made): Promise<unknown> {
  return await inScope(place, operation, (transaction) => prismas.requestTransaction(transaction))
}

/** Carries out what Prisma does in a transaction that it is told. */
export async function carryOutWork(place: GuestPlace, call: ClientCall, work: Work): Promise<unknown> {
  return await inScope(place, place.scope.operations.make(call, isModelRead(call.name)), work)
}

type Work = (transaction: object) => unknown

async function inScope(place: GuestPlace, operation: Operation, work: Work): Promise<unknown> {
  const { scope, owner } = place
  let prismasError: unknown
  try {
    return await scope.operation(operation, async () => {
      const guest = owner ?? guestIn(place)
      const transaction = await guest.transaction
      try {
        const result = await work(transaction)
        if (result !== undefined || owner !== undefined || !(await hasFailedBeside(guest))) return result
        // Which of them has written what is not known.
        const error = notCarriedOut(operation)
        scope.failHalfWay(error)
        throw error
      } catch (error) {
        prismasError = error
        guest.fail()
        // In a $transaction of the user's it is as in any of Prisma's: what was written before stays in it.
        if (owner === undefined && operation.hasWritten && isOfPrisma(error)) scope.failHalfWay(error)
        throw error
      }
    })
  } catch (error) {
    throw owner === undefined ? error : await owner.errorOf(error, prismasError, work)
  }
}

function guestIn(place: GuestPlace): Guest {
  const guest = place.guest()
  guest.operation()
  return guest
}

/** Whether an operation of the same guest has failed, as far as that is known when all of one tick are answered. */
async function hasFailedBeside(guest: { readonly hasFailed: boolean }): Promise<boolean> {
  await nextTurn()
  return guest.hasFailed
}

/** Prisma 7 carries out what is asked for in one tick together; when one fails it leaves the others out, and answers them with nothing. */
function notCarriedOut({ call }: Operation): ProgrammingError {
  return new ProgrammingError(
    `${String(call)} was not carried out: Prisma sends what is asked for at the same time in a transaction together, and another ` +
      'operation of those failed. Await one that may fail before the next one is made, or run it in a nested transaction.',
  )
}

/** What a query extension throws itself comes after an operation that is whole. */
function isOfPrisma(error: unknown): boolean {
  return error instanceof Error && /^(PrismaClient|DriverAdapterError)/.test(error.name)
}

function nextStep({ place, call, operation, prismas }: Made, property: string, step: unknown): AnyMethod {
  // With a receiver that is a proxy, which Prisma looks for when it tells where a call was made.
  function method(this: unknown, ...args: unknown[]): unknown {
    // It was a function when it was read.
    const next: unknown = Reflect.apply(step as AnyMethod, prismas, args)
    if (!isPrismaOperation(next)) return next
    place.scope.operations.forget(operation)
    return guestOperation(place, next, `${call.name}.${property}`, method)
  }
  return method
}

/** Another client's `$transaction` asks for it. */
function requestFrom({ place, operation, prismas }: Made, transaction: object): Promise<unknown> {
  if (!place.isHere()) {
    throw new ProgrammingError(
      'An operation that was made inside a transaction was given to the $transaction of a client that is not in it. Use datastore.client (or tx.client) for both.',
    )
  }
  place.scope.operations.forget(operation)
  return prismas.requestTransaction(transaction)
}

function madeOf(operation: unknown): Made | undefined {
  // Nobody else has the key.
  return typeof operation === 'object' && operation !== null
    ? (Reflect.get(operation, madeKey) as Made | undefined)
    : undefined
}
