/** Runs what users give to `$transaction` of their client, or extensions do by it: Prisma begins and ends it, extensions that override it are called once. */
import { NotSupportedError } from '../errors.js'
import { type AnyMethod, ClientCall } from '../transaction/calls.js'
import type { AsyncContext } from '../transaction/context.js'
import { closedError, type IsolationLevel, type TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import type { DriverConnection } from './connections.js'
import {
  isolationLevels,
  isPrismaOperation,
  originalOf,
  type PrismaClientLike,
  type PrismaOperation,
  prismaDefaults,
  prismaTransaction,
  prismaTransactionOf,
  type SqlIsolationLevel,
  transactionOptionsOf,
} from './driver.js'
import { ClientTransaction, type ClientTransactionLimit, DriverTransaction, type Names } from './driver-transaction.js'
import type { OpenGuest } from './guest.js'
import { carryOutIn, carryOutWork, type GuestPlace, takeOver } from './guest-operation.js'

/** The work of an interactive transaction. */
type ClientWork = (client: object) => unknown

/** Calls a `$transaction`. */
type CallTransaction = (work: ClientWork, options?: object) => unknown

/** What the transactions of clients need of their datastore. */
interface ClientTransactionsHost {
  readonly transactions: Transactions<DriverConnection>
  /** Tells the adapter what Prisma begins. */
  readonly opening: AsyncContext<OpenGuest>
  /** The client for work in a scope, made from the one whose `$transaction` was called. */
  readonly clientWithin: (base: PrismaClientLike, scope: Scope<DriverConnection>) => object
  readonly given: GivenLimits
}

/** What the datastore was given to hold for every transaction, undefined for nothing. */
export interface GivenLimits {
  readonly deadlineMs?: number
  readonly maxWaitMs?: number
}

/** Prisma's options of an interactive transaction. */
interface InteractiveOptions {
  readonly isolationLevel?: IsolationLevel
  readonly timeout?: number
  readonly maxWait?: number
}

/** The largest delay of a Node timer. */
const longestDelayMs = 2_147_483_647

/** How much later than Prisma the library gives up. */
const afterPrismaMs = 100

/** Those of one datastore. */
export class ClientTransactions {
  readonly #host: ClientTransactionsHost
  /** Work that knows its transaction, with who is told the options that have come of what extensions do. */
  readonly #prepared = new WeakMap<object, (options: InteractiveOptions) => void>()

  constructor(host: ClientTransactionsHost) {
    this.#host = host
  }

  /** Whether work was given out by `run`: it is on its way to Prisma. */
  takePrepared(work: object, options: object | undefined): boolean {
    const prepared = this.#prepared.get(work)
    prepared?.({ ...options })
    return prepared !== undefined
  }

  /** Calls `$transaction` on an ambient client. */
  call(base: PrismaClientLike, ambient: object, args: readonly unknown[]): unknown {
    const method: unknown = Reflect.get(base, '$transaction')
    // That of an extension is called as everything else of it; Prisma's makes the clients for the work from its own.
    const owner = Reflect.get(originalOf(base), '$transaction') === method ? base : ambient
    const begin = (...all: unknown[]): unknown => Reflect.apply(method as AnyMethod, owner, all)
    const [work, options] = args
    if (isWork(work)) return this.run(begin, base, work, optionsOf(options))
    const { transactions } = this.#host
    // A transaction of its own, which Prisma begins: it says that it means it.
    return transactions.current === undefined
      ? transactions.context.run(undefined, () => begin(...args))
      : begin(...args)
  }

  /** Runs `fn` so that what Prisma begins in it is its own. */
  apart<R>(fn: () => R): R {
    return this.#host.opening.run(undefined, fn)
  }

  /**
   * Runs work in a transaction that Prisma begins, a part of the one around it if there is one.
   *
   * @param begin - the `$transaction` of the client, which may be that of an extension: it is called once
   * @param base - the client to make the one of the work from
   */
  run(begin: CallTransaction, base: PrismaClientLike, work: ClientWork, given: InteractiveOptions = {}): unknown {
    const { transactions, opening } = this.#host
    const options = this.#withDefaults(told(given))
    const ofClient = { ...prismaDefaults, ...transactionOptionsOf(base), ...options }
    const limit = { timeoutMs: ofClient.timeout, maxWaitMs: ofClient.maxWait }
    let begun: ClientTransaction | undefined
    let last: ClientTransaction | undefined
    const open: OpenGuest = async (names, isolationLevel) => {
      const { driver, owner } = await this.#open(names, isolationLevel, { given, limit })
      begun = last = owner
      return driver
    }
    const prepared = async (client: object): Promise<unknown> => {
      const own = begun
      // What an extension has put in its place has one of its own.
      if (own === undefined) return await work(client)
      begun = undefined
      own.enter(prismaTransactionOf(client))
      try {
        const run = async (): Promise<unknown> => await work(this.#host.clientWithin(base, own.scope))
        return await this.apart(() => transactions.context.run(own.scope, run))
      } finally {
        own.settle()
      }
    }
    this.#prepared.set(prepared, ({ timeout, maxWait }) => {
      limit.timeoutMs = timeout ?? limit.timeoutMs
      limit.maxWaitMs = maxWait ?? limit.maxWaitMs
    })
    const result = opening.run(open, () => begin(prepared, options))
    if (!(result instanceof Promise)) return result
    return result.catch((error: unknown) => {
      throw last?.tell(error) ?? error
    })
  }

  /** What the datastore was told comes before what the client was. Prisma writes into the options: it gets its own. */
  #withDefaults(given: InteractiveOptions): InteractiveOptions {
    const { transactions } = this.#host
    const { deadlineMs, maxWaitMs } = this.#host.given
    // A part has the deadline of the whole, and waits for its turn.
    if (transactions.current !== undefined) return { maxWait: longestDelayMs, timeout: longestDelayMs, ...given }
    return {
      ...(deadlineMs === undefined ? {} : { timeout: deadlineMs }),
      ...(maxWaitMs === undefined ? {} : { maxWait: Math.max(1, maxWaitMs) }),
      ...given,
    }
  }

  async #open(
    names: Names,
    isolationLevel: SqlIsolationLevel | undefined,
    { given, limit }: { readonly given: InteractiveOptions; readonly limit: ClientTransactionLimit },
  ): Promise<{ driver: DriverTransaction; owner: ClientTransaction }> {
    const { transactions } = this.#host
    const around = transactions.current
    let usesPhantomQuery = true
    let scope: Scope<DriverConnection>
    if (around === undefined) {
      const level = isolationLevel === undefined ? {} : { isolationLevel: levelNamed(isolationLevel) }
      // Prisma says that it was too long, just before.
      const maxWaitMs = Math.min(limit.maxWaitMs + afterPrismaMs, longestDelayMs)
      scope = transactions.begin({ deadlineMs: limit.timeoutMs, maxWaitMs, ...level })
      try {
        // As everywhere, it has begun when the work begins: how long that may take is `maxWait`.
        await scope.runInTurn(async (connection) => void (usesPhantomQuery = connection.usesPhantomQuery === true))
      } catch (error) {
        await scope.rollback(error)
        throw error instanceof NotSupportedError ? invalidLevel(isolationLevel, error) : error
      }
    } else scope = await transactions.part(around, partOptions(given))
    const owner = new ClientTransaction(scope, limit, usesPhantomQuery)
    scope.owner = owner
    return { owner, driver: new DriverTransaction(names, owner, usesPhantomQuery) }
  }
}

/** Without what is undefined, which says nothing. */
function told(options: InteractiveOptions): InteractiveOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function partOptions({ isolationLevel }: InteractiveOptions): TransactionOptions {
  return isolationLevel === undefined ? {} : { isolationLevel }
}

function levelNamed(level: SqlIsolationLevel): IsolationLevel {
  const known = isolationLevels[level]
  if (known !== undefined) return known
  throw invalidLevel(level, undefined)
}

/** An error as adapters raise it, which Prisma makes its P2023 of. */
function invalidLevel(level: SqlIsolationLevel | undefined, cause: unknown): Error {
  return Object.assign(new Error('InvalidIsolationLevel'), {
    name: 'DriverAdapterError',
    cause: { kind: 'InvalidIsolationLevel', level: level ?? '', refused: cause },
  })
}

/** Whether what `$transaction` was given is a function. */
function isWork(given: unknown): given is ClientWork {
  return typeof given === 'function'
}

/** The options that `$transaction` was given. */
function optionsOf(options: unknown): object | undefined {
  return typeof options === 'object' && options !== null ? options : undefined
}

/*
 * What the library puts on the user's PrismaClient, so that extensions join the transaction also by the client that they know, which
 * is not the ambient one: the client that all extended ones are made from.
 */

/** What the hooks need of their datastore. */
interface HooksHost {
  readonly clientTransactions: ClientTransactions
  /** Where operations of the client are carried out in the transaction around this code. */
  place(): GuestPlace | undefined
  /** Whether this code is that of an extension, called by an operation or method that has joined. */
  isInExtension(): boolean
}

/** Puts the hooks on a client. */
export function hookClient(original: object, host: HooksHost): void {
  const request: unknown = Reflect.get(original, '_request')
  if (typeof request === 'function') define(original, '_request', requestHook(request as AnyMethod, host))
  const transaction = prismaTransaction(original)
  // What a subclass has put before it gets to Prisma's by itself.
  if (Reflect.get(original, '$transaction') === transaction) {
    define(original, '$transaction', transactionHook(transaction as AnyMethod, host))
  }
}

/** Every operation of Prisma's comes by here when it starts, with the transaction that it is to be carried out in. */
function requestHook(request: AnyMethod, host: HooksHost): AnyMethod {
  return function joiningRequest(this: object, ...args: unknown[]): unknown {
    // What Prisma calls it with.
    const params = args[0] as RequestParams
    // What has a transaction is where it belongs.
    const place = params.transaction === undefined && host.isInExtension() ? host.place() : undefined
    if (place === undefined) return Reflect.apply(request, this, args)
    const call = new ClientCall(params.clientMethod, undefined, ' of an extension')
    return carryOutWork(place, call, (transaction) => Reflect.apply(request, this, [{ ...params, transaction }]))
  }
}

function transactionHook(transaction: AnyMethod, host: HooksHost): AnyMethod {
  return function $transaction(this: PrismaClientLike, ...args: unknown[]): unknown {
    const { clientTransactions } = host
    const [given, options] = args
    const begin = (...all: unknown[]): unknown => Reflect.apply(transaction, this, all)
    if (isWork(given)) {
      if (clientTransactions.takePrepared(given, optionsOf(options))) return begin(...args)
      return clientTransactions.run(begin, this, given, optionsOf(options))
    }
    const isInside = host.place() !== undefined
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
      const here = host.place()
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

function define(original: object, property: string, value: AnyMethod): void {
  Object.defineProperty(original, property, { value, configurable: true, writable: true, enumerable: false })
}
