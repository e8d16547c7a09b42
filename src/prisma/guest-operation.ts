/**
 * A call on a PrismaClient that Prisma carries out in one of our transactions when it is awaited.
 *
 * Prisma makes the operation where the call is, so that its errors tell that line; where it is carried out is said when it starts.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ProgrammingError } from '../errors.js'
import { type AnyMethod, type AttendedCalls, ClientCall, type Operation } from '../transaction/calls.js'
import type { Escapes } from '../transaction/escapes.js'
import { closedError } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import { isPrismaOperation, type PrismaOperation } from './driver.js'
import type { ClientTransaction } from './driver-transaction.js'
import type { Guest } from './guest.js'

/** The operations of models that only read, and lock nothing. */
export const modelReads: ReadonlySet<string> = new Set([
  'findUnique',
  'findUniqueOrThrow',
  'findFirst',
  'findFirstOrThrow',
  'findMany',
  'aggregate',
  'count',
  'groupBy',
])

/** Where operations are carried out. */
export interface GuestPlace {
  readonly scope: Scope<DriverConnection>
  /** The `$transaction` that the scope belongs to, undefined for one that the library has begun. */
  readonly owner: ClientTransaction | undefined
  /** The guest in the library's transaction, which comes at its first use, for an operation that starts here. */
  guest(): Guest
  /** Whether the code that runs now is in the same transaction. */
  isHere(): boolean
  /** Whether what the client sends outside of transactions is known to come by the datastore, and nothing runs inside of its operations. */
  isPlain(): boolean
}

interface Made {
  readonly place: GuestPlace
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
 * @param operation - made by the operations of the place's scope
 */
export function guestOperation(place: GuestPlace, prismas: PrismaOperation, operation: Operation): object {
  const { scope } = place
  const made: Made = { place, prismas, operation }
  // Made here, where the code that is late is on the stack.
  const late =
    scope.isDone && place.owner === undefined
      ? (scope.session.life.stopped ?? closedError(`${String(operation.call)} was called`, scope.title))
      : undefined
  let result: Promise<unknown> | undefined
  const work: Work = (transaction) => prismas.requestTransaction(transaction)
  const run = (): Promise<unknown> => {
    if (late !== undefined) return (result ??= Promise.reject(late))
    return (result ??= carryOut(place, operation, work, operation.isRead ? prismas : undefined))
  }
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

interface Attending {
  readonly calls: AttendedCalls
  readonly escapes: Escapes
}

/** Makes an operation outside of any transaction that behaves as Prisma's do, and is known to the work that is to wait for it. */
export function attendedOperation({ calls, escapes }: Attending, prismas: PrismaOperation, call: ClientCall): object {
  let result: Promise<unknown> | undefined
  const send = (): Promise<unknown> => {
    calls.forget(call)
    return (result ??= calls.run(call, escapes, async () => await prismas))
  }
  calls.make(call, escapes)
  return new Proxy(prismas, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof property !== 'string' || typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (property === 'then' || property === 'catch' || property === 'finally') {
          const sent = send()
          return Reflect.apply(Reflect.get(sent, property) as AnyMethod, sent, args)
        }
        // A $transaction carries it out, or it goes on to a relation.
        calls.forget(call)
        return Reflect.apply(value, target, args) as unknown
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
  const call = made?.operation.call ?? new ClientCall('an operation of $transaction', undefined)
  const prismas = made?.prismas ?? operation
  const own = place.scope.operations.make(call, made?.operation.isRead === true)
  return carryOut(place, own, (transaction) => prismas.requestTransaction(transaction))
}

/** Carries out an operation of Prisma in the given transaction. @param call - such as of `owner.findMany`; that of a raw query has no model */
export async function carryOutWork(place: GuestPlace, call: ClientCall, work: Work): Promise<unknown> {
  const [, operation] = call.name.split('.')
  const isRead = operation !== undefined && modelReads.has(operation)
  return await carryOut(place, place.scope.operations.make(call, isRead), work)
}

type Work = (transaction: object) => unknown

/** @param reading - the operation by itself, where it only reads */
function carryOut(place: GuestPlace, operation: Operation, work: Work, reading?: PrismaOperation): Promise<unknown> {
  const { scope, owner } = place
  const carriedOut = { place, operation, work }
  if (owner !== undefined) return carryOutOwned(carriedOut, owner)
  return scope.operation(operation, () =>
    reading !== undefined && canReadAlone(place, operation)
      ? readAlone(carriedOut, reading)
      : carryOutByGuest(carriedOut),
  )
}

/** What is carried out, and where. */
interface CarriedOut {
  readonly place: GuestPlace
  readonly operation: Operation
  readonly work: Work
}

/** In a `$transaction` of the user's it is as in any of Prisma's: what was written before a failure stays in it. */
async function carryOutOwned({ place, operation, work }: CarriedOut, owner: ClientTransaction): Promise<unknown> {
  let prismasError: unknown
  try {
    return await place.scope.operation(operation, async () => {
      const transaction = await owner.transaction
      try {
        return await work(transaction)
      } catch (error) {
        prismasError = error
        owner.fail()
        throw error
      }
    })
  } catch (error) {
    throw await owner.errorOf(error, prismasError, work)
  }
}

async function carryOutByGuest({ place, operation, work }: CarriedOut): Promise<unknown> {
  const { scope } = place
  const guest = place.guest()
  const transaction = await guest.transaction
  try {
    const result = await work(transaction)
    if (result !== undefined || !(await hasFailedBeside(guest))) return result
    // Which of them has written what is not known.
    const error = notCarriedOut(operation)
    scope.failHalfWay(error)
    throw error
  } catch (error) {
    guest.fail()
    if (operation.hasWritten && isOfPrisma(error)) scope.failHalfWay(error)
    throw error
  }
}

/** Where nothing was done yet, a read shows the same without a transaction: as long as it lasts nothing else is done, so none is begun. */
function canReadAlone(place: GuestPlace, { outer, call }: Operation): boolean {
  // By unique fields: Prisma sends those of one tick together, whoever asks, in the context of the first.
  if (call.name.includes('.findUnique')) return false
  const { scope } = place
  const isByItself = scope.parent === undefined && scope.innermost === scope
  // What was asked for before it, and may write, it is to see.
  const isFree = outer === undefined && scope.operations.areReading
  return isByItself && isFree && scope.session.readsAlone && place.isPlain()
}

/** A transaction has begun meanwhile. */
const notRead = Symbol('not read')

/** Prisma sends it as outside of any transaction, which costs it less than a guest does; by a guest where it needs one after all. */
function readAlone(carriedOut: CarriedOut, reading: PrismaOperation): Promise<unknown> {
  const { place, operation } = carriedOut
  const read = (runner: object): Promise<unknown> => {
    operation.runner = runner
    // What Prisma's `then` gives is a promise of JavaScript's.
    return reading.then(itself) as Promise<unknown>
  }
  const result = place.scope.runInTurn<unknown>(async () => notRead, read, true)
  return result.then((value) => (value === notRead ? carryOutByGuest(carriedOut) : value))
}

function itself<T>(value: T): T {
  return value
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

function nextStep({ place, operation, prismas }: Made, property: string, step: unknown): AnyMethod {
  // With a receiver that is a proxy, which Prisma looks for when it tells where a call was made.
  function method(this: unknown, ...args: unknown[]): unknown {
    // It was a function when it was read.
    const next: unknown = Reflect.apply(step as AnyMethod, prismas, args)
    if (!isPrismaOperation(next)) return next
    const { session, operations } = place.scope
    operations.forget(operation)
    const site = session.options.escapes.areLocated ? method : undefined
    const call = new ClientCall(`${operation.call.name}.${property}`, site)
    return guestOperation(place, next, operations.make(call, operation.isRead))
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
