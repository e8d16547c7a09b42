/** A transaction without a callback, on the scope that it is. */

import { DeferredScope } from '../transaction/deferred-scope.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import type { DriverConnection } from './connections.js'
import type { DeferredTransaction, ManagedTransaction, Transaction, TransactionToCome } from './transaction.js'

/** What managed transactions need of their datastore. */
export interface ManagedHost<Client> {
  readonly transactions: Transactions<DriverConnection>
  /** The scope as user code sees it. */
  readonly viewOf: (scope: Scope<DriverConnection>) => Transaction<Client>
}

/**
 * One for each request, so it is an object of a class: V8 gives an object literal with a getter a hidden class of its own,
 * which keeps all that the getter knows until the next full garbage collection. That was half of the time of a request.
 */
export class ManagedScope<Client> implements ManagedTransaction<Client> {
  readonly #host: ManagedHost<Client>
  readonly #options: TransactionOptions
  readonly #scope: Scope<DriverConnection>

  /** @param failed - the scope of the attempt before, undefined for the first */
  constructor(host: ManagedHost<Client>, options: TransactionOptions, failed?: Scope<DriverConnection>) {
    this.#host = host
    this.#options = options
    this.#scope = host.transactions.begin(options, failed)
  }

  get transaction(): Transaction<Client> {
    return this.#host.viewOf(this.#scope)
  }

  get useCount(): number {
    return this.#scope.session.useCount
  }

  get hasPending(): boolean {
    return !this.#scope.buffers.empty
  }

  get positions(): ReadonlyMap<string, bigint> {
    return this.#scope.session.positions
  }

  get rollsBackQuietly(): boolean {
    return this.#scope.rollsBackQuietly
  }

  run<T>(fn: () => T): T {
    return this.#host.transactions.within(this.#scope, fn)
  }

  outside<T>(fn: () => T): T {
    return this.#host.transactions.within(undefined, fn)
  }

  commit(): Promise<void> {
    return this.#host.transactions.commit(this.#scope)
  }

  rollback(): Promise<void> {
    return this.#scope.rollback()
  }

  abort(reason: Error): void {
    this.#scope.session.life.abort(reason)
  }

  onExpired(listener: (error: Error) => void): void {
    this.#scope.listeners.onExpired(listener)
  }

  async again(error: unknown): Promise<ManagedTransaction<Client> | undefined> {
    await this.rollback()
    const mayRunAgain = await this.#host.transactions.mayRunAgain(this.#scope, error, this.#options)
    return mayRunAgain ? this.next() : undefined
  }

  next(): ManagedTransaction<Client> {
    return new ManagedScope(this.#host, this.#options, this.#scope)
  }
}

/** A managed transaction for later. */
export class DeferredManaged extends DeferredScope<DriverConnection> implements DeferredTransaction {
  readonly #transactions: Transactions<DriverConnection>
  readonly #coming: TransactionToCome
  readonly #isLeftOver: () => boolean

  /**
   * @param isLeftOver - whether it is to be rolled back as soon as it begins
   * @throws `DatastoreClosedError` when no transaction can begin any more
   */
  constructor(transactions: Transactions<DriverConnection>, coming: TransactionToCome, isLeftOver: () => boolean) {
    super()
    this.#transactions = transactions
    this.#coming = coming
    this.#isLeftOver = isLeftOver
    transactions.expect(this)
  }

  run<T>(fn: () => T): T {
    return this.#transactions.within(this, fn)
  }

  protected override get isPast(): boolean {
    return this.#coming.isPast
  }

  protected override begin(): Scope<DriverConnection> | undefined {
    const managed = this.#coming.begin()
    if (this.#isLeftOver()) void managed.rollback()
    return managed.run(() => this.#transactions.current)
  }
}
