/** The user's PrismaClient as `db` and `tx.client`: the same calls and types, joining the transaction that is open around them. */
import type { AnyMethod } from './client-call.js'
import { type GuestPlace, guestOperation, modelReads } from './guest-operation.js'
import { isPrismaClient, isPrismaOperation, isUnextended, originalOf, type PrismaClientLike } from './prisma-client.js'

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
  const models = new Map<string, object>()
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
    return models.get(property) ?? remember(models, property, ambientModel(value, of, host))
  }
  const proxy: Client = new Proxy<Client>(base, {
    get(target, property) {
      const isCalled = typeof property === 'string' && !ofWholeClients.has(property)
      const other = isCalled ? host.instead(base) : undefined
      return other === undefined ? own(target, property) : (Reflect.get(other, property) as unknown)
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

function isModel(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'findMany' in value && typeof value.findMany === 'function'
}

function isMethod(value: unknown): value is AnyMethod {
  return typeof value === 'function'
}

function remember<T>(map: Map<string, T>, key: string, value: T): T {
  map.set(key, value)
  return value
}
