/** How a PrismaClient joins the transactions of a datastore: the clients that users get, and the guests that work for them. */
import { NotSupportedError } from '../errors.js'
import { seemsInsideOperation } from '../transaction/calls.js'
import { AsyncContext } from '../transaction/context.js'
import { checkedDeadline, checkedMaxWait, type IsolationLevel } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import { type AmbientHost, ambientClient, type GuestPlace } from './ambient-client.js'
import { ClientTransactions, type GivenLimits, hookClient } from './client-transactions.js'
import type { DriverConnection } from './connections.js'
import { type Guest, Guests, type OpenGuest } from './guest.js'
import {
  isUnextended,
  originalOf,
  type PrismaClientLike,
  prismaDefaults,
  transactionOptionsOf,
} from './prisma-client.js'

/** A client that is called in place of another one. */
export interface OtherClient {
  /** The one that is called in the code. */
  readonly base: object
  /** The one on which the calls are made. */
  readonly client: object
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
    hookClient(originalOf(client), {
      clientTransactions: this.#clientTransactions,
      place: (base) => this.#placeIn(this.#transactions.current, base),
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

  /** As the client that `join` gives, for who has lost the async context: what is not inside a transaction of the same session goes to this scope. */
  within<Client extends PrismaClientLike>(client: Client, scope: Scope<DriverConnection>): Client {
    return this.#within(client, () => {
      const { current } = this.#transactions
      return current?.session === scope.session ? current : scope
    })
  }

  /** Runs work in which calls of one client are made on another. */
  async redirect<T>(other: OtherClient, work: () => Promise<T>): Promise<T> {
    return await this.#instead.run(other, work)
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
      guest: (base) => this.#placeIn(scopeAround(), base),
      instead: (base) => {
        const other = this.#instead.get()
        if (other !== undefined && other.base !== base) throw extendedLater()
        return other?.client
      },
      extension: (fn) => this.#extensions.run(true, fn),
      transaction: (base, ambient, args) => {
        const scope = scopeAround()
        const run = (): unknown => this.#clientTransactions.call(base, ambient, args)
        return scope === transactions.current ? run() : transactions.within(scope, run)
      },
    }
  }

  #placeIn(scope: Scope<DriverConnection> | undefined, base: object): GuestPlace | undefined {
    if (scope === undefined) return undefined
    return {
      scope,
      owner: this.#clientTransactions.ownerOf(scope),
      guest: () => this.#guestOf(scope, base),
      isHere: () => this.#transactions.current?.session === scope.session,
    }
  }

  #guestOf(scope: Scope<DriverConnection>, base: object): Guest {
    if (this.#instead.get() !== undefined) throw extendedLater()
    const original = originalOf(base)
    const guest = scope.session.guest(original, () => this.#guests.enter(original, outermostOf(scope)))
    // The function of a query extension may go on after the operation that it is in.
    if (!isUnextended(base)) guest.spoil()
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
