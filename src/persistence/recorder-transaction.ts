/** The port of a recorder that can run work in one transaction with what it stores. */
import type { AggregateRecorder, ApplicationRecorder, ProcessRecorder, TrackingRecorder } from './recorder.js'
import type { SubjectKeyRecorder } from './subject-key-recorder.js'

/** What the work in a recorder's transaction is given. */
export interface RecorderTransaction<Client = unknown> {
  /** The database's client inside this transaction. */
  readonly client: Client
  /** Aborts at the deadline. */
  readonly signal: AbortSignal
  /** Whether a read through the recorder writes the pending events first. */
  autoflush: boolean
  /** From 1; greater when the work is run again. */
  readonly attempt: number
  /** `idle` until the first statement is sent; the last two are final. */
  readonly state: 'idle' | 'open' | 'committing' | 'committed' | 'rolledBack'
  /** Writes the events that are pending. */
  flush(): Promise<void>
  /** Lets the transaction end in a rollback, whatever else happens; with `answer: 'keep'` that is no failure. */
  rollbackOnly(options?: { readonly answer?: 'keep' | 'drop' }): void
  /** Runs `fn` once the transaction has committed. */
  afterCommit(fn: () => unknown): void
  /** Runs `fn` once the transaction has rolled back. */
  afterRollback(fn: () => unknown): void
  /** Runs `fn` with `autoflush` off, and sets it back. */
  noAutoflush<T>(fn: () => Promise<T>): Promise<T>
}

/** How a recorder's transaction is to be run. The meaning of each option, and its default, are the datastore's. */
export interface RecorderTransactionOptions {
  /** What happens with and without a current transaction. */
  readonly propagation?: 'required' | 'nested' | 'requiresNew' | 'mandatory' | 'supports' | 'notSupported' | 'never'
  /** Which ones exist depends on the database. */
  readonly isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable'
  /** Whether writing is refused. */
  readonly readOnly?: boolean
  /** Milliseconds until the transaction is rolled back. */
  readonly deadlineMs?: number
  /** How often the work may be run again after a failure that may pass. */
  readonly retries?: number
  /** Whether a read through the recorder writes the pending events first. */
  readonly autoflush?: boolean
}

/** What a factory's recorders can do besides storing events. */
export interface RecorderMaintenance<Client = unknown> {
  /** Whether it has transactions; default true. */
  readonly hasTransactions?: boolean
  /** Makes the recorder's table; harmless where it exists. */
  createTable(): Promise<void>
  /**
   * Runs work so that all it stores is stored together, or not at all.
   *
   * @throws `NotSupportedError` where the recorder has no transactions
   */
  transaction<T>(
    work: (tx: RecorderTransaction<Client>) => Promise<T>,
    options?: RecorderTransactionOptions,
  ): Promise<T>
}

/** An aggregate recorder as factories make it. */
export interface ManagedAggregateRecorder<Client = unknown> extends AggregateRecorder, RecorderMaintenance<Client> {}

/** An application recorder as factories make it. */
export interface ManagedApplicationRecorder<Client = unknown>
  extends ApplicationRecorder,
    RecorderMaintenance<Client> {}

/** A tracking recorder as factories make it. */
export interface ManagedTrackingRecorder<Client = unknown> extends TrackingRecorder, RecorderMaintenance<Client> {}

/** A process recorder as factories make it. */
export interface ManagedProcessRecorder<Client = unknown> extends ProcessRecorder, RecorderMaintenance<Client> {}

/** A subject key recorder as factories make it. */
export interface ManagedSubjectKeyRecorder<Client = unknown> extends SubjectKeyRecorder, RecorderMaintenance<Client> {}
