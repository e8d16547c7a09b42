/**
 * The user's PrismaClient as `db` and `tx.client`: the same calls and types, whose operations join the transaction that is open around
 * them.
 */
import { NotSupportedError } from '../errors.js'
import { type AnyMethod, attendance, attendedCalls, ClientCall, seemsInsideOperation } from '../transaction/calls.js'
import { AsyncContext } from '../transaction/context.js'
import type { Escapes } from '../transaction/escapes.js'
import { checkedDeadline, checkedMaxWait, type IsolationLevel } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import { ClientTransactions, type GivenLimits, hookClient } from './client-transactions.js'
import type { DriverConnection } from './connections.js'
import {
  isPrismaClient,
  isPrismaOperation,
  isUnextended,
  originalOf,
  type PrismaClientLike,
  prismaDefaults,
  transactionOptionsOf,
} from './driver.js'
import type { ClientTransaction } from './driver-transaction.js'
import { type Guest, Guests, type OpenGuest } from './guest.js'
import { attendedOperation, type GuestPlace, guestOperation, modelReads } from './guest-operation.js'

/** A client that is called in place of another one. */
export interface OtherClient {
  /** The one that is called in the code. */
  readonly base: object
  /** The one on which the calls are made. */
  readonly client: object
}

/** A client, and what does not change of it. */
interface KnownClient {
  readonly base: PrismaClientLike
  /** The one that it was extended from, perhaps itself. */
  readonly original: object
  readonly isExtended: boolean
}

function knownClient(base: PrismaClientLike): KnownClient {
  return { base, original: originalOf(base), isExtended: !isUnextended(base) }
}

/** Those of one datastore. */
export class JoiningClients {
  readonly #transactions: Transactions<DriverConnection>
  readonly #given: GivenLimits
  readonly #guests = new Guests()
  readonly #clientTransactions: ClientTransactions
  /** Set in methods of the user's extensions. */
  readonly #extensions = new AsyncContext<true>()
  /** Set in work whose calls go to another client. */
  readonly #instead = new AsyncContext<OtherClient>()
  /** How much of such work goes on: mostly there is none, and nobody has to look. */
  #redirected = 0

  /** @param given - what the datastore was given: it comes before what its client was */
  constructor(transactions: Transactions<DriverConnection>, given: GivenLimits) {
    this.#transactions = transactions
    this.#given = given
    this.#clientTransactions = new ClientTransactions({
      transactions,
      given,
      opening: this.#guests.opening,
      clientWithin: (base, scope) => this.#within(base, () => scope),
    })
  }

  /** Tells the adapter what Prisma begins. */
  get opening(): AsyncContext<OpenGuest> {
    return this.#guests.opening
  }

  /** Takes in the user's client: its options hold for all transactions where the datastore was not told otherwise. */
  join<Client extends PrismaClientLike>(client: Client): Client {
    const original = originalOf(client)
    const known = knownClient(original as PrismaClientLike) // of which the client was made
    hookClient(original, {
      clientTransactions: this.#clientTransactions,
      place: () => this.#placeIn(this.#transactions.current, known),
      isInExtension: () => seemsInsideOperation() || this.#extensions.get() === true,
    })
    const { isolationLevel, timeout, maxWait } = transactionOptionsOf(client)
    const { defaults } = this.#transactions
    // Prisma refuses what is none when it begins a transaction, and so does `begin`.
    if (isolationLevel !== undefined) defaults.isolationLevel = isolationLevel as IsolationLevel
    const { deadlineMs, maxWaitMs } = this.#given
    if (timeout !== undefined && deadlineMs === undefined) defaults.deadlineMs = checkedDeadline(timeout)
    // Prisma's own default cannot be told from what a user has said, and requests wait for longer by default.
    const isSaid = maxWait !== undefined && maxWait !== prismaDefaults.maxWait
    if (isSaid && maxWaitMs === undefined) defaults.maxWaitMs = checkedMaxWait(maxWait)
    return ambientClient(
      client,
      this.#host(() => this.#transactions.current),
    )
  }

  /** As the client that `join` gives, for code that has lost the async context: what is not inside a transaction of the same session goes to this scope. */
  within<Client extends PrismaClientLike>(client: Client, scope: Scope<DriverConnection>): Client {
    return this.#within(client, () => {
      const { current } = this.#transactions
      return current?.session === scope.session ? current : scope
    })
  }

  /** Runs work in which calls of one client are made on another. */
  async redirect<T>(other: OtherClient, work: () => Promise<T>): Promise<T> {
    this.#redirected += 1
    try {
      return await this.#instead.run(other, work)
    } finally {
      this.#redirected -= 1
    }
  }

  /** Ends the guests that wait. */
  async close(): Promise<void> {
    await this.#guests.close()
  }

  #within<Client extends PrismaClientLike>(client: Client, scopeAround: () => Scope<DriverConnection>): Client {
    return ambientClient(client, this.#host(scopeAround), true)
  }

  #host(scopeAround: () => Scope<DriverConnection> | undefined): AmbientHost {
    const transactions = this.#transactions
    return {
      escapes: transactions.escapes,
      guest: (client) => this.#placeIn(scopeAround(), client),
      instead: (base) => {
        const other = this.#redirected === 0 ? undefined : this.#instead.get()
        if (other !== undefined && other.base !== base) throw extendedLater()
        return other?.client
      },
      extension: (fn) => this.#extensions.run(true, fn),
      transaction: (base, ambient, args) => {
        const scope = scopeAround()
        const run = (): unknown => this.#clientTransactions.call(base, ambient, args)
        return scope === transactions.current ? run() : transactions.context.run(scope, run)
      },
    }
  }

  #placeIn(scope: Scope<DriverConnection> | undefined, client: KnownClient): GuestPlace | undefined {
    if (scope === undefined) return undefined
    return {
      scope,
      // Nobody else says it.
      owner: scope.owner as ClientTransaction | undefined,
      guest: () => this.#guestOf(scope, client),
      isHere: () => this.#transactions.current?.session === scope.session,
      isPlain: () => !client.isExtended && this.#guests.haveServed(client.original),
    }
  }

  #guestOf(scope: Scope<DriverConnection>, { original, isExtended }: KnownClient): Guest {
    if (this.#redirected > 0 && this.#instead.get() !== undefined) throw extendedLater()
    const guest = scope.session.guest(original, () =>
      this.#guests.enter(original, scope.parent === undefined ? scope : outermostOf(scope)),
    )
    // The function of a query extension may go on after the operation that it is in.
    if (isExtended) guest.spoil()
    guest.operation()
    return guest
  }
}

function outermostOf(scope: Scope<DriverConnection>): Scope<DriverConnection> {
  return scope.parent === undefined ? scope : outermostOf(scope.parent)
}

function extendedLater(): NotSupportedError {
  return new NotSupportedError(
    'Could not use this client in a shadow rebuild: it was made from datastore.client by $extends, or is the one below it, so its calls would ' +
      "go to the rows in use. Extend the client in the option `client` of the datastore, or rebuild with way: 'atomic'.",
  )
}

/** What an ambient client needs of its datastore. */
interface AmbientHost {
  readonly escapes: Escapes
  /** Where to carry out operations in the transaction around this code, undefined when there is none. */
  guest(client: KnownClient): GuestPlace | undefined
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
function ambientClient<Client extends object>(
  base: Client & PrismaClientLike,
  host: AmbientHost,
  isTransaction: boolean = false,
): Client {
  const models = new Map<string | symbol, object>()
  const known = knownClient(base)
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
      const isOfExtension = known.isExtended && Reflect.get(known.original, property) !== value
      if (isOfExtension) return extensionMethod({ host, base, isTransaction }, value)
      if (!rawQueries.has(property)) return value
      return operationMethod(host, { name: property, isRead: false, client: known, owner: base, method: value })
    }
    if (!isModel(value)) return value
    const of = { name: property, client: known, parent: () => Reflect.get(proxy, '$parent') as unknown }
    models.set(property, ambientModel(value, of, host))
    return models.get(property)
  }
  const proxy: Client = new Proxy<Client>(base, {
    get(target, property) {
      // A model asks for itself where its calls are made.
      const other = !models.has(property) && isOfCalls(property) ? host.instead(base) : undefined
      if (other !== undefined) return Reflect.get(other, property) as unknown
      return models.get(property) ?? own(target, property)
    },
    has: (target, property) => !isHidden(property) && Reflect.has(target, property),
    ownKeys: (target) => Reflect.ownKeys(target).filter((property) => !isHidden(property)),
  })
  ambientClients.add(proxy)
  return proxy
}

/** Those that `ambientClient` has made. */
const ambientClients = new WeakSet()

/** Which model of which client a model is. */
interface ModelPlace {
  readonly name: string
  readonly client: KnownClient
  readonly parent: () => unknown
}

/** Methods of the user's own extensions run as they are: called on the ambient client or model, they join through it. */
function ambientModel(model: object, { name, client, parent }: ModelPlace, host: AmbientHost): object {
  const { base, isExtended } = client
  return new Proxy(model, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (property === '$parent') return parent()
      if (typeof property === 'symbol' || !isMethod(value)) return value
      const other = host.instead(base)
      if (other !== undefined) return Reflect.get(Reflect.get(other, name) as object, property) as unknown
      // Prisma makes its own methods anew for everyone who asks; those of extensions are what the user has given.
      const isPrismas = !isExtended || Reflect.get(target, property) !== value
      if (!isPrismas) return extensionMethod({ host, base, isTransaction: false }, value)
      if (!modelOperations.has(property)) return value
      const isRead = modelReads.has(property)
      return operationMethod(host, { name: `${name}.${property}`, isRead, client, owner: target, method: value })
    },
  })
}

/** A method of Prisma's that makes an operation. */
interface OperationMethod {
  readonly name: string
  /** Whether all that it sends reads, and locks nothing. */
  readonly isRead: boolean
  readonly client: KnownClient
  readonly owner: object
  readonly method: AnyMethod
}

function operationMethod(
  host: AmbientHost,
  { name, isRead, client, owner, method: ofBase }: OperationMethod,
): AnyMethod {
  // With a receiver that is a proxy: Prisma tells where a call was made by the first function on the stack that has none.
  function method(this: unknown, ...args: unknown[]): unknown {
    const made: unknown = Reflect.apply(ofBase, owner, args)
    const place = host.guest(client)
    if ((place === undefined && !attendance.hasBegun) || !isPrismaOperation(made)) return made
    const { escapes } = host
    const call = new ClientCall(name, escapes.areLocated ? method : undefined)
    if (place !== undefined) return guestOperation(place, made, place.scope.operations.make(call, isRead))
    const calls = attendedCalls(escapes)
    return calls === undefined ? made : attendedOperation({ calls, escapes }, made, call)
  }
  return method
}

/** Where a function of an extension was found. */
interface ExtensionPlace {
  readonly host: AmbientHost
  readonly base: PrismaClientLike
  readonly isTransaction: boolean
}

/** A function that the user has put on the client or a model. A client that it gives, such as the one below its extension, joins as well. */
function extensionMethod({ host, base, isTransaction }: ExtensionPlace, method: AnyMethod): AnyMethod {
  return new Proxy(method, {
    apply(target, self: unknown, args) {
      const result = host.extension((): unknown => Reflect.apply(target, self, args))
      const isOwn = isPrismaClient(result) && !ambientClients.has(result) && originalOf(result) === originalOf(base)
      return isOwn ? ambientClient(result, host, isTransaction) : result
    },
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
