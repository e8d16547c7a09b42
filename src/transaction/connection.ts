/** The port to the database: what the transaction layer needs, whichever database and driver it is. */
import type { EventSourcingError } from '../errors.js'
import type { IsolationLevel } from './options.js'

/** A connection that can be given up while something is under way on it. */
export interface Abandonable {
  /**
   * Ends the connection at once, where its driver can: what is under way on it fails, and the server undoes what is not
   * committed. The pool may make another one.
   */
  abandon(): void
}

/** A database transaction that has begun and that has a connection of its own. */
export interface TransactionConnection extends Partial<Abandonable> {
  /** Whether the database has ended the transaction by itself: what is sent now would be stored at once. */
  readonly hasEnded: boolean
  /**
   * Commits and gives the connection back, whatever happens.
   *
   * @param patienceMs - how long to wait for the answer before the connection is abandoned
   * @throws `CommitUnknownError` when the connection was lost before the answer came, else why it was not committed
   */
  commit(patienceMs: number): Promise<void>
  /** Rolls back and gives the connection back, whatever happens. */
  rollback(): Promise<void>
  savepoint(name: string): Promise<void>
  /** Undoes what came after the savepoint, and forgets it. */
  rollbackTo(name: string): Promise<void>
  release(name: string): Promise<void>
}

/** What a connection can do that sends each statement as a transaction of its own. */
export type Statements<Connection extends TransactionConnection> = Omit<Connection, keyof TransactionConnection>

/** A transaction around another one. */
export interface Holder {
  /** Opens the transactions of its datastore. */
  readonly source: object
  /** Undefined before BEGIN has been answered, and after the end. */
  readonly connection: object | undefined
  /** Whether BEGIN has been answered. */
  readonly begun: boolean
  notePosition(log: string, position: bigint): void
}

/** What transactions hold of their pools. */
export function heldBy(holders: Iterable<Holder>): object[] {
  return [...holders].flatMap(({ connection }) => connection ?? [])
}

/** How to wait for a connection. */
export interface WaitOptions {
  /** The connections of the transactions around it: they are not given back before it ends. */
  readonly heldAround: readonly object[]
  /** The same of the transactions of all datastores. */
  readonly heldByAny: readonly object[]
  /** Milliseconds that it may wait for a connection. */
  readonly maxWaitMs: number
  /** Makes the signal that gives up waiting for a connection: called only by who has to wait. */
  readonly signal: () => AbortSignal
  /** Called by who has to wait for a connection; what it returns is called when there is one. */
  readonly waits?: () => () => void
  /** Called with the connection before anything is sent on it, where that is known. */
  readonly acquired?: ((connection: Abandonable) => void) | undefined
}

/** How a database transaction is to begin. */
export interface BeginOptions extends WaitOptions {
  readonly isolationLevel: IsolationLevel | undefined
  readonly readOnly: boolean
  /** Milliseconds until the library ends the transaction; the server's own guards are set beyond that. */
  readonly deadlineMs: number
}

/** Statements that are sent outside of transactions, for a unit of work that needs none so far. */
export interface LoneStatements<Connection extends TransactionConnection> {
  /**
   * Whether reads by themselves see what they would see in a transaction of the default isolation level: each statement what is
   * committed by then. Undefined while that is not known.
   */
  readonly readAsInTransaction: boolean | undefined
  /** Asks the database for it. */
  learn(options: WaitOptions): Promise<boolean>
  /**
   * Whether transactions of the default isolation level see with each statement what is committed by then. Asks the connection where
   * none was asked before.
   */
  seeCommitted(connection: Statements<Connection>): Promise<boolean>
  /** Waits for a connection, and runs work on it; what `options.acquired` was given is abandoned to end that. */
  run<T>(options: WaitOptions, work: (connection: Statements<Connection>) => Promise<T>): Promise<T>
}

/**
 * What a failed statement leaves behind: `nothing` is lost and the transaction goes on; the work since the last
 * savepoint can only be undone (`scope`); or the whole transaction is over (`transaction`).
 */
export type Damage = 'nothing' | 'scope' | 'transaction'

/** Opens database transactions. */
export interface ConnectionSource<Connection extends TransactionConnection> {
  /** True when a second transaction has to wait for the first to end, so that one inside the other would wait for ever. */
  readonly singleWriter: boolean
  /** Waits for a connection and begins. Called at the first statement, never earlier. */
  begin(options: BeginOptions): Promise<Connection>
  /** Whether `lone` may be there. */
  readonly hasLone: boolean
  /** Undefined where all statements have to be in a transaction: what is committed may be undone by somebody else. */
  readonly lone: LoneStatements<Connection> | undefined
  /** Judges a failed statement. */
  damageOf(error: unknown): Damage
  /** What a call of a guest is to reject with that has met the loss of the connection; undefined for other errors, and for ours. */
  lossOf(error: unknown): EventSourcingError | undefined
  /** Whether the same work may succeed in another transaction: also for errors of the database that come by another way, such as a guest's. */
  mayPass(error: unknown): boolean
}
