/**
 * What the library puts on the user's PrismaClient, so that extensions join the transaction also by the client that they know, which
 * is not the ambient one: the client that all extended ones are made from.
 */
import { closedError } from '../transaction/options.js'
import { type AnyMethod, ClientCall } from './client-call.js'
import { type ClientTransactions, isWork, optionsOf } from './client-transactions.js'
import { carryOutIn, carryOutWork, type GuestPlace, takeOver } from './guest-operation.js'
import { isPrismaOperation, type PrismaClientLike, type PrismaOperation, prismaTransaction } from './prisma-client.js'

/** What the hooks need of their datastore. */
export interface HooksHost {
  readonly clientTransactions: ClientTransactions
  /** Where operations are carried out in the transaction around this code. */
  place(base: object): GuestPlace | undefined
  /** Whether this code is that of an extension, called by an operation or method that has joined. */
  isInExtension(): boolean
}

/** Puts the hooks on a client. */
export function hookClient(original: object, host: HooksHost): void {
  const request: unknown = Reflect.get(original, '_request')
  if (typeof request === 'function') define(original, '_request', requestHook(original, request as AnyMethod, host))
  const transaction = prismaTransaction(original)
  // What a subclass has put before it gets to Prisma's by itself.
  if (Reflect.get(original, '$transaction') === transaction) {
    define(original, '$transaction', transactionHook(original, transaction as AnyMethod, host))
  }
}

/** Every operation of Prisma's comes by here when it starts, with the transaction that it is to be carried out in. */
function requestHook(original: object, request: AnyMethod, host: HooksHost): AnyMethod {
  return function joiningRequest(this: object, ...args: unknown[]): unknown {
    const [params] = args
    const place = host.isInExtension() ? host.place(original) : undefined
    if (place === undefined || !isAlone(params)) return Reflect.apply(request, this, args)
    const call = new ClientCall(params.clientMethod, undefined, ' of an extension')
    return carryOutWork(place, call, (transaction) => Reflect.apply(request, this, [{ ...params, transaction }]))
  }
}

function transactionHook(original: object, transaction: AnyMethod, host: HooksHost): AnyMethod {
  return function $transaction(this: PrismaClientLike, ...args: unknown[]): unknown {
    const { clientTransactions } = host
    const [given, options] = args
    const begin = (...all: unknown[]): unknown => Reflect.apply(transaction, this, all)
    if (isWork(given)) {
      if (clientTransactions.takePrepared(given, optionsOf(options))) return begin(...args)
      return clientTransactions.run(begin, this, given, optionsOf(options))
    }
    const isInside = host.place(original) !== undefined
    const operations: PrismaOperation[] = Array.isArray(given) ? given.filter(isPrismaOperation) : []
    const isArray = Array.isArray(given) && given.length > 0
    if (isArray && operations.length < given.length) {
      // Prisma says what is wrong.
      return begin([given.find((each) => !isPrismaOperation(each))], options)
    }
    if (!isArray) return clientTransactions.apart(() => begin(...args))
    // Outside of a transaction Prisma sends these as single statements.
    const areSingle = operations.length === 1 || (options === undefined && operations.every(isUniqueRead))
    if (areSingle && !isInside) return clientTransactions.apart(() => Promise.all(operations))
    takeOver(operations)
    const place = (): GuestPlace => {
      const here = host.place(original)
      if (here !== undefined) return here
      throw closedError('The array of $transaction was begun', 'the transaction')
    }
    return clientTransactions.run(begin, this, async () => await inOrder(operations, place), optionsOf(options))
  }
}

/** One after the other; Prisma makes one statement of reads by unique fields that are asked for together. */
async function inOrder(operations: readonly PrismaOperation[], place: () => GuestPlace): Promise<unknown[]> {
  if (operations.every(isUniqueRead)) return await Promise.all(operations.map((each) => carryOutIn(place(), each)))
  const results: unknown[] = []
  for (const operation of operations) results.push(await carryOutIn(place(), operation))
  return results
}

function isUniqueRead(operation: PrismaOperation): boolean {
  const { spec } = operation as { readonly spec?: { readonly action?: unknown } }
  return spec?.action === 'findUnique' || spec?.action === 'findUniqueOrThrow'
}

interface RequestParams {
  readonly clientMethod: string
  readonly transaction?: unknown
}

function isAlone(params: unknown): params is RequestParams {
  return typeof params === 'object' && params !== null && Reflect.get(params, 'transaction') === undefined
}

function define(original: object, property: string, value: AnyMethod): void {
  Object.defineProperty(original, property, { value, configurable: true, writable: true, enumerable: false })
}
