/** A call on a PrismaClient that is carried out by the guest client when it is awaited. */
import { ProgrammingError } from '../errors.js'
import { closedError } from '../transaction/closed.js'
import type { Operation } from '../transaction/operations.js'
import type { Scope } from '../transaction/scope.js'
import { type AnyMethod, ClientCall, type Step } from './client-call.js'
import type { DriverConnection } from './connections.js'
import type { GuestVisit } from './guests.js'

/** Where operations are carried out. */
export interface GuestPlace {
  readonly scope: Scope<DriverConnection>
  /** The guest in its transaction, which comes at its first use. */
  guest(): GuestVisit
}

interface Made {
  readonly place: GuestPlace
  readonly call: ClientCall
  readonly operation: Operation
}

/** Where an operation tells what it is: a `WeakMap` would keep its transaction until the next full garbage collection. */
const madeKey = Symbol('made operation')

/**
 * Makes an operation that behaves as Prisma's do: it starts when it is awaited, runs once however often it is awaited,
 * can go on to a relation, and can be an element of `$transaction([…])`.
 *
 * @param method - which was called for it: what called that is where the operation was made
 */
export function guestOperation(place: GuestPlace, steps: readonly Step[], method: AnyMethod): object {
  const { scope } = place
  const call = new ClientCall(steps, scope.session.options.escapes.areLocated ? method : undefined)
  const made: Made = { place, call, operation: scope.operations.make(call) }
  // Made here, where the code that is late is on the stack.
  const late = scope.ended
    ? (scope.session.stopped ?? closedError(`${String(call)} was called`, scope.title))
    : undefined
  let result: Promise<unknown> | undefined
  const run = (): Promise<unknown> => (result ??= late === undefined ? carryOut(made) : Promise.reject(late))
  return new Proxy(Object.create(null) as object, {
    get(_target, property) {
      switch (property) {
        case 'then':
          return (...handlers: Parameters<Promise<unknown>['then']>) => run().then(...handlers)
        case 'catch':
          return (...handlers: Parameters<Promise<unknown>['catch']>) => run().catch(...handlers)
        case 'finally':
          return (...handlers: Parameters<Promise<unknown>['finally']>) => run().finally(...handlers)
        case Symbol.toStringTag:
          return 'PrismaPromise'
        case 'requestTransaction':
          return refuse
        case madeKey:
          return made
        default:
          return typeof property === 'symbol' ? undefined : nextStep(made, property)
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

/** Carries out an operation that was made in a transaction in a part of that; awaits any other. */
export async function carryOutIn(place: GuestPlace, operation: unknown): Promise<unknown> {
  const made = madeOf(operation)
  if (made === undefined) return await operation
  const { call } = made
  return await carryOut({ place, call, operation: place.scope.operations.make(call) })
}

function carryOut({ place, call, operation }: Made): Promise<unknown> {
  return place.scope.operation(operation, async () => {
    const guest = place.guest()
    try {
      return await call.on(await guest.client)
    } catch (error) {
      guest.spoil()
      throw error
    }
  })
}

function nextStep({ place, call, operation }: Made, property: string): AnyMethod {
  const method = (...args: unknown[]): object => {
    place.scope.operations.forget(operation)
    return guestOperation(place, [...call.steps, { property, args }], method)
  }
  return method
}

function madeOf(operation: unknown): Made | undefined {
  // Nobody else has the key.
  return typeof operation === 'object' && operation !== null
    ? (Reflect.get(operation, madeKey) as Made | undefined)
    : undefined
}

function refuse(): never {
  throw new ProgrammingError(
    'An operation that was made inside a transaction was given to the $transaction of a client that is not in it. Use datastore.client (or tx.client) for both.',
  )
}
