/** The user's PrismaClient as `db` and `tx.client`: the same calls and types, joining the transaction that is open around them. */
import type { TransactionOptions } from '../transaction/options.js'
import type { AnyMethod } from './client-call.js'
import { carryOutIn, type GuestPlace, guestOperation, takeOver } from './guest-operation.js'
import type { PrismaClientLike } from './prisma-client.js'

/** What an ambient client needs of its datastore. */
export interface AmbientHost {
  /** Where to carry out operations in the transaction around this code, undefined when there is none. */
  guest(base: PrismaClientLike): GuestPlace | undefined
  /** Runs `work` in a transaction: a nested one inside another. `client` gives the client to work with, made from the same base. */
  transaction(
    base: PrismaClientLike,
    work: (client: object) => Promise<unknown>,
    options: TransactionOptions,
  ): Promise<unknown>
}

/** These act on the connection or make clients, in a transaction as outside of it. */
const alwaysOnBase = new Set(['$connect', '$disconnect', '$on', '$use', '$extends', '$transaction'])

const rawQueries = new Set([
  '$queryRaw',
  '$executeRaw',
  '$queryRawUnsafe',
  '$executeRawUnsafe',
  '$queryRawTyped',
  '$runCommandRaw',
])

/** Makes the ambient view of a client. */
export function ambientClient<Client extends object>(base: Client & PrismaClientLike, host: AmbientHost): Client {
  const models = new Map<string, object>()
  const proxy: Client = new Proxy<Client>(base, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof property === 'symbol' || property.startsWith('_')) return value
      if (property === '$transaction') return transactionMethod(base, host)
      if (property === '$extends') {
        return (...args: unknown[]) => ambientClient(call<Client & PrismaClientLike>(value, base, args), host)
      }
      if (alwaysOnBase.has(property) && typeof value === 'function') return value.bind(base)
      if (rawQueries.has(property)) return operationMethod(host, base, { path: [property], method: value, owner: base })
      if (isModel(value))
        return models.get(property) ?? remember(models, property, ambientModel(property, value, base, host))
      return value
    },
  })
  return proxy
}

/** Methods of the user's own extensions run as they are: called on the ambient client or model, they join through it. */
function ambientModel(name: string, model: object, base: PrismaClientLike, host: AmbientHost): object {
  return new Proxy(model, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof property === 'symbol' || typeof value !== 'function') return value
      return modelOperations.has(property)
        ? operationMethod(host, base, { path: [name, property], method: value, owner: target })
        : value
    },
  })
}

/** What Prisma generates for every model. @see https://www.prisma.io/docs/orm/reference/prisma-client-reference#model-queries */
const modelOperations = new Set([
  'findUnique',
  'findUniqueOrThrow',
  'findFirst',
  'findFirstOrThrow',
  'findMany',
  'create',
  'createMany',
  'createManyAndReturn',
  'update',
  'updateMany',
  'updateManyAndReturn',
  'upsert',
  'delete',
  'deleteMany',
  'aggregate',
  'count',
  'groupBy',
])

/** What an operation is on the client: its path from there, and the method with its owner. */
interface Operation {
  readonly path: readonly string[]
  readonly method: unknown
  readonly owner: object
}

function operationMethod(
  host: AmbientHost,
  base: PrismaClientLike,
  { path, method: ofBase, owner }: Operation,
): AnyMethod {
  const method = (...args: unknown[]): unknown => {
    const place = host.guest(base)
    if (place === undefined) return call(ofBase, owner, args)
    const steps = path.map((property, index) => (index === path.length - 1 ? { property, args } : { property }))
    return guestOperation(place, steps, method)
  }
  return method
}

function transactionMethod(base: PrismaClientLike, host: AmbientHost): PrismaClientLike['$transaction'] {
  const transaction = async (work: unknown, options: PrismaTransactionOptions = {}): Promise<unknown> => {
    if (isCallback(work)) return await host.transaction(base, work, toOptions(options))
    const operations: readonly unknown[] = Array.isArray(work) ? work : []
    if (host.guest(base) === undefined) return await base.$transaction(operations, options)
    takeOver(operations)
    return await host.transaction(base, () => runInOrder(operations, host.guest(base)), toOptions(options))
  }
  // The implementation serves both forms, which overloads of an arrow function cannot say.
  return transaction as PrismaClientLike['$transaction']
}

/** The array form inside a transaction: a part that fails as a whole. */
async function runInOrder(operations: readonly unknown[], place: GuestPlace | undefined): Promise<unknown[]> {
  const results: unknown[] = []
  for (const operation of operations) {
    results.push(await (place === undefined ? operation : carryOutIn(place, operation)))
  }
  return results
}

interface PrismaTransactionOptions {
  readonly isolationLevel?: TransactionOptions['isolationLevel']
  readonly timeout?: number
}

/** Prisma's own limits for a transaction, in our words; `maxWait` is a part of the deadline. */
function toOptions({ isolationLevel, timeout }: PrismaTransactionOptions): TransactionOptions {
  return {
    propagation: 'nested',
    ...(isolationLevel === undefined ? {} : { isolationLevel }),
    ...(timeout === undefined ? {} : { deadlineMs: timeout }),
  }
}

function isModel(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'findMany' in value && typeof value.findMany === 'function'
}

function isCallback(work: unknown): work is (client: object) => Promise<unknown> {
  return typeof work === 'function'
}

function call<R>(method: unknown, owner: object, args: readonly unknown[]): R {
  // Called only with what a client's own property was.
  return Reflect.apply(method as (...args: unknown[]) => R, owner, args)
}

function remember<T>(map: Map<string, T>, key: string, value: T): T {
  map.set(key, value)
  return value
}
