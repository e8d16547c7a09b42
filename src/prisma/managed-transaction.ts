/** A transaction without a callback, on the scope that it is once it has begun. */
import { InternalError } from '../errors.js'
import { DeferredScope } from '../transaction/open-scopes.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import type { DriverConnection } from './connections.js'
import type { ManagedTransaction, Transaction, TransactionHost } from './transaction.js'

/** What managed transactions need of their datastore. */
export interface ManagedOwner<Client> {
  readonly transactions: Transactions<DriverConnection>
  /** The scope as user code sees it. */
  viewOf(scope: Scope<DriverConnection>): Transaction<Client>
  /** They know the test with rollback that all transactions are a part of now. */
  readonly connections: { readonly rehearsal: object | undefined }
}

/** Where a managed transaction comes from. */
interface Origin {
  /** For whom it begins at its first use; undefined for one that begins at once. */
  readonly host?: TransactionHost | undefined
  /** The scope of the attempt before; undefined for the first. */
  readonly failed?: Scope<DriverConnection>
}

/**
 * One for each request, so it is an object of a class: V8 gives an object literal with a getter a hidden class of its own,
 * which keeps all that the getter knows until the next full garbage collection. That was half of the time of a request.
 */
export class ManagedScope<Client> extends DeferredScope<DriverConnection> implements ManagedTransaction<Client> {
  readonly #owner: ManagedOwner<Client>
  readonly #options: TransactionOptions
  readonly #host: TransactionHost | undefined
  readonly #failed: Scope<DriverConnection> | undefined
  readonly #rehearsal: object | undefined
  /** Whether it has ended before it has begun. */
  #isOver = false

  /** @throws `DatastoreClosedError` when no transaction can begin any more */
  constructor(owner: ManagedOwner<Client>, options: TransactionOptions, { host, failed }: Origin) {
    super()
    this.#owner = owner
    this.#options = options
    this.#host = host
    this.#failed = failed
    this.#rehearsal = owner.connections.rehearsal
    if (host === undefined) this.open()
    else owner.transactions.expect(this)
  }

  get transaction(): Transaction<Client> {
    return this.#owner.viewOf(this.#begun())
  }

  get useCount(): number {
    return this.begun?.session.useCount ?? 0
  }

  get hasPending(): boolean {
    return this.begun !== undefined && !this.begun.buffers.empty
  }

  get positions(): ReadonlyMap<string, bigint> {
    return this.begun?.session.positions ?? noPositions
  }

  get rollsBackQuietly(): boolean {
    return this.begun?.rollsBackQuietly ?? false
  }

  open(): void {
    this.scope()
  }

  run<T>(fn: () => T): T {
    return this.#owner.transactions.within(this, fn)
  }

  outside<T>(fn: () => T): T {
    return this.#owner.transactions.within(undefined, fn)
  }

  async commit(): Promise<void> {
    this.#isOver = true
    if (this.begun !== undefined) await this.#owner.transactions.commit(this.begun)
  }

  async rollback(): Promise<void> {
    this.#isOver = true
    await this.begun?.rollback()
  }

  abort(reason: Error): void {
    this.#begun().session.life.abort(reason)
  }

  onExpired(listener: (error: Error) => void): void {
    this.#begun().listeners.onExpired(listener)
  }

  async again(error: unknown): Promise<ManagedTransaction<Client> | undefined> {
    await this.rollback()
    const mayRunAgain = await this.#owner.transactions.mayRunAgain(this.#begun(), error, this.#options)
    return mayRunAgain ? this.next() : undefined
  }

  next(): ManagedTransaction<Client> {
    return new ManagedScope(this.#owner, this.#labelled(), { failed: this.#begun() })
  }

  protected override get isPast(): boolean {
    return this.#isOver || this.#host?.isPast !== false
  }

  protected override begin(): Scope<DriverConnection> {
    try {
      return this.#owner.transactions.begin(this.#labelled(), this.#failed)
    } catch (error) {
      throw this.#host?.refused(error) ?? error
    }
  }

  protected override hasBegun(scope: Scope<DriverConnection>): void {
    const wasOver = this.#isOver
    if (!wasOver) this.#host?.begun()
    // A request that came during a test with rollback is a part of that, also when it goes on after its end.
    const isLeftOver = this.#rehearsal !== undefined && this.#rehearsal !== this.#owner.connections.rehearsal
    if (wasOver || isLeftOver) void scope.rollback()
  }

  /** The options with the label of the host, where they have none. */
  #labelled(): TransactionOptions {
    const host = this.#host
    return host === undefined ? this.#options : { label: () => host.label, ...this.#options }
  }

  #begun(): Scope<DriverConnection> {
    const scope = this.scope()
    if (scope === undefined) throw new InternalError('A transaction was asked for while it begins.')
    return scope
  }
}

const noPositions: ReadonlyMap<string, bigint> = new Map()
