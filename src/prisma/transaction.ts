/** A transaction as user code sees it: around a callback, or without one, as requests have it. */
import { InternalError, NoTransactionError } from '../errors.js'
import { Hooks } from '../transaction/endings.js'
import { DeferredScope } from '../transaction/open-scopes.js'
import type { Labelled, TransactionOptions, TransactionState } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Transactions } from '../transaction/transactions.js'
import type { DriverConnection } from './connections.js'
import type { TransactionClient } from './driver.js'

/** What a rollback that was asked for means for the answer. */
export interface RollbackOnlyOptions {
  /**
   * With `keep` the rollback is no failure: `transaction(fn)` resolves to what `fn` returns, and a request gets the response
   * that its handler sends, with its status. For protocols that report failures inside a successful response, such as GraphQL.
   * With `drop` (default) `transaction(fn)` rejects, and the response is dropped for an error. When both are asked for,
   * `drop` counts.
   */
  readonly answer?: 'keep' | 'drop'
}

/**
 * A unit of work on a datastore: events saved and rows changed in it are stored together, or not at all.
 *
 * @see PrismaDatastore.transaction
 */
export interface Transaction<Client = unknown> {
  /** The datastore's client inside this transaction. `datastore.client` joins it too. */
  readonly client: TransactionClient<Client>
  /** Aborts at the deadline, with a `TransactionTimeoutError` as reason, or when the client of a request has gone away. */
  readonly signal: AbortSignal
  /** Whether a read through a recorder writes the pending events first, so that it sees them. */
  autoflush: boolean
  /** From 1; greater when the work is run again by `retries`. */
  readonly attempt: number
  /** `idle` until the first statement is sent; `committed` and `rolledBack` are final. */
  readonly state: TransactionState
  /**
   * Writes the events that are pending.
   *
   * @throws `ConcurrencyError` when another writer was first: nothing that was pending is stored then, and the transaction
   * can go on
   */
  flush(): Promise<void>
  /**
   * Lets the transaction end in a rollback, whatever else happens. In a nested part only the part is undone.
   *
   * @param options - whether the end is a failure; default: it rejects with `RollbackOnlyError`
   * @throws `TransactionClosedError` after the end, as everything here does: what was committed stays
   *
   * @example
   * if (result.errors !== undefined) datastore.currentTransaction.rollbackOnly({ answer: 'keep' })
   */
  rollbackOnly(options?: RollbackOnlyOptions): void
  /** Runs `fn` once the transaction has committed, outside of it and after those given before. What it throws becomes a process warning. */
  afterCommit(fn: () => unknown): void
  /**
   * Runs `fn` once the transaction has rolled back; one that a nested part was given runs when that part is undone, while the
   * transaction around it goes on, so it has to leave the database alone.
   */
  afterRollback(fn: () => unknown): void
  /** Runs `fn` with `autoflush` off, and sets it back. */
  noAutoflush<T>(fn: () => Promise<T>): Promise<T>
}

/** The view of one scope. */
export class ScopeTransaction<Client> implements Transaction<Client> {
  readonly #scope: Scope<DriverConnection>
  readonly #makeClient: () => TransactionClient<Client>
  #client: TransactionClient<Client> | undefined

  constructor(scope: Scope<DriverConnection>, makeClient: () => TransactionClient<Client>) {
    this.#scope = scope
    this.#makeClient = makeClient
  }

  get client(): TransactionClient<Client> {
    return (this.#client ??= this.#makeClient())
  }

  get signal(): AbortSignal {
    return this.#scope.session.life.signal
  }

  get autoflush(): boolean {
    return this.#scope.autoflush
  }

  set autoflush(autoflush: boolean) {
    this.#scope.assertUsable()
    this.#scope.autoflush = autoflush
  }

  get attempt(): number {
    return this.#scope.session.options.attempt
  }

  get state(): TransactionState {
    return this.#scope.state
  }

  async flush(): Promise<void> {
    await this.#scope.flush()
  }

  rollbackOnly({ answer = 'drop' }: RollbackOnlyOptions = {}): void {
    this.#scope.assertUsable()
    if (answer === 'keep') this.#scope.failure.forceQuietly()
    else this.#scope.failure.force()
  }

  afterCommit(fn: () => unknown): void {
    this.#scope.assertUsable()
    this.#scope.hooks.afterCommit.push(fn)
  }

  afterRollback(fn: () => unknown): void {
    this.#scope.assertUsable()
    this.#scope.hooks.afterRollback.push(fn)
  }

  async noAutoflush<T>(fn: () => Promise<T>): Promise<T> {
    const before = this.autoflush
    this.autoflush = false
    try {
      return await fn()
    } finally {
      this.#scope.autoflush = before
    }
  }
}

/** What work is given that runs without a transaction, because its propagation says so: each statement is stored at once. */
export class NoTransaction<Client> implements Transaction<Client> {
  readonly signal: AbortSignal = new AbortController().signal
  readonly attempt = 1
  readonly state = 'idle'
  autoflush = true
  readonly #client: () => TransactionClient<Client>

  constructor(client: () => TransactionClient<Client>) {
    this.#client = client
  }

  get client(): TransactionClient<Client> {
    return this.#client()
  }

  async flush(): Promise<void> {}

  rollbackOnly(): void {
    throw new NoTransactionError(
      'rollbackOnly() was called where there is no transaction: what was done is stored already.',
    )
  }

  afterCommit(fn: () => unknown): void {
    const hooks = new Hooks()
    hooks.afterCommit.push(fn)
    // It begins before this returns; like any other hook it can fail nobody.
    void hooks.committed()
  }

  afterRollback(): void {}

  async noAutoflush<T>(fn: () => Promise<T>): Promise<T> {
    return await fn()
  }
}

/** A transaction without a callback, for the adapters of web frameworks: who begins it must end it. */
export interface ManagedTransaction<Client = unknown> {
  /** The transaction as user code sees it. */
  readonly transaction: Transaction<Client>
  /** How often the database was used in it so far. */
  readonly useCount: number
  /** Whether something was saved in it that is not written yet. */
  readonly hasPending: boolean
  /** Whether `commit()` will roll back and resolve, because of `rollbackOnly({ answer: 'keep' })`. */
  readonly rollsBackQuietly: boolean
  /** After the commit: the position of the last event in each log, by the names of the applications. */
  readonly positions: ReadonlyMap<string, bigint>
  /** Begins it, where that has waited for its first use. */
  open(): void
  /** Runs `fn` with this transaction as the current one, for everything it calls, awaited or not. */
  run<T>(fn: () => T): T
  /** Runs `fn` as if this transaction were not there. */
  outside<T>(fn: () => T): T
  /**
   * Flushes, commits and runs the hooks. Without any use of the database nothing is sent.
   *
   * @throws why it was not committed; it has rolled back then, except after a `CommitUnknownError`
   */
  commit(): Promise<void>
  /** Undoes everything; harmless when the transaction has ended. */
  rollback(): Promise<void>
  /** Aborts the transaction's signal without ending it: the work may finish or stop. */
  abort(reason: Error): void
  /**
   * Rolls back, and begins another attempt after a while, where `retries` allows one and the failure may pass.
   *
   * @returns undefined where it was the last attempt
   */
  again(error: unknown): Promise<ManagedTransaction<Client> | undefined>
  /** Begins another attempt at once, because another transaction of the same request is begun again. This one must have ended. */
  next(): ManagedTransaction<Client>
  /** Calls back once the deadline has passed and the rollback is done. */
  onExpired(listener: (error: Error) => void): void
}

/** For whom a transaction begins at its first use. */
export interface TransactionHost {
  /** What messages call the transaction, where its options do not say. */
  readonly label: string
  /** Whether it will not begin any more, such as after the response of a request: the close of the datastore waits for the others. */
  readonly isPast: boolean
  /** Called when it begins, before anything is done in it. */
  begun(): void
  /** Called once its deadline has passed and the rollback is done. */
  expired(error: Error): void
  /** What is thrown to whoever asks for it, where it cannot begin. */
  refused(error: unknown): unknown
}

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
  /** Knows what it is for, where the options do not say; default: the host. */
  readonly labelled?: Labelled | undefined
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
  readonly #labelled: Labelled | undefined
  readonly #failed: Scope<DriverConnection> | undefined
  readonly #rehearsal: object | undefined
  /** Whether it has ended before it has begun. */
  #isOver = false

  /** @throws `DatastoreClosedError` when no transaction can begin any more */
  constructor(owner: ManagedOwner<Client>, options: TransactionOptions, { host, labelled = host, failed }: Origin) {
    super()
    this.#owner = owner
    this.#options = options
    this.#host = host
    this.#labelled = labelled
    this.#failed = failed
    this.#rehearsal = owner.connections.rehearsal
    if (host === undefined) this.open()
    else owner.transactions.scopes.expect(this)
  }

  get transaction(): Transaction<Client> {
    return this.#owner.viewOf(this.#scope)
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
    return this.begun?.failure.isQuiet ?? false
  }

  open(): void {
    this.scope()
  }

  run<T>(fn: () => T): T {
    return this.#owner.transactions.context.run(this, fn)
  }

  outside<T>(fn: () => T): T {
    return this.#owner.transactions.context.run(undefined, fn)
  }

  commit(): Promise<void> {
    this.#isOver = true
    return this.begun === undefined ? Promise.resolve() : this.#owner.transactions.commit(this.begun)
  }

  async rollback(): Promise<void> {
    this.#isOver = true
    await this.begun?.rollback()
  }

  abort(reason: Error): void {
    this.#scope.session.life.abort(reason)
  }

  onExpired(listener: (error: Error) => void): void {
    this.#scope.onExpired.push(listener)
  }

  async again(error: unknown): Promise<ManagedTransaction<Client> | undefined> {
    await this.rollback()
    const mayRunAgain = await this.#owner.transactions.mayRunAgain(this.#scope, error, this.#options)
    return mayRunAgain ? this.next() : undefined
  }

  next(): ManagedTransaction<Client> {
    return new ManagedScope(this.#owner, this.#options, { labelled: this.#labelled, failed: this.#scope })
  }

  protected override get isPast(): boolean {
    return this.#isOver || this.#host?.isPast !== false
  }

  protected override begin(): Scope<DriverConnection> {
    try {
      return this.#owner.transactions.begin(this.#options, this.#failed, this.#labelled)
    } catch (error) {
      throw this.#host?.refused(error) ?? error
    }
  }

  protected override hasBegun(scope: Scope<DriverConnection>): void {
    const wasOver = this.#isOver
    const host = this.#host
    if (host !== undefined && !wasOver) {
      scope.onExpired.push((error) => host.expired(error))
      host.begun()
    }
    // A request that came during a test with rollback is a part of that, also when it goes on after its end.
    const isLeftOver = this.#rehearsal !== undefined && this.#rehearsal !== this.#owner.connections.rehearsal
    if (wasOver || isLeftOver) void scope.rollback()
  }

  get #scope(): Scope<DriverConnection> {
    const scope = this.begun ?? this.scope()
    if (scope === undefined) throw new InternalError('A transaction was asked for while it begins.')
    return scope
  }
}

const noPositions: ReadonlyMap<string, bigint> = new Map()
