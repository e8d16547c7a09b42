/** What stands behind a datastore, for the recorders on it. */
import { InterfaceError } from '../errors.js'
import type { LogOrder } from '../persistence/recorder.js'
import type { Scope } from '../transaction/scope.js'
import type { Telemetry } from '../transaction/telemetry.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { Dialect } from './dialect.js'
import type { LogSignals } from './log-signals.js'
import type { LogWatches } from './log-watch.js'
import type { ShadowClient } from './shadow-client.js'

/** When a rehearsal is over that has not ended by itself. */
export interface RehearsalLimits {
  readonly deadlineMs: number
  readonly signal: AbortSignal | undefined
}

/** How recorders reach the database. */
export interface Engine {
  readonly dialect: Dialect
  /** The schema of tables that name none. */
  readonly schema: string | undefined
  /** What keeps the logs of recorders in order that say nothing of it. */
  readonly order: LogOrder | undefined
  /** The transaction of ours that is open around this code. */
  readonly currentScope: Scope<DriverConnection> | undefined
  /** Who follows the logs of this database; undefined where nobody can. */
  readonly signals: LogSignals | undefined
  /** Who is told how far the logs are final. */
  readonly watches: LogWatches
  /** Who is told of conflicts; undefined where somebody else manages the transactions. */
  readonly telemetry: Telemetry | undefined
  /** Whether everything that is stored now may be undone by somebody else: a test with rollback, or who manages the transactions. */
  isProvisional(): boolean
  /** The schema or database that the adapter's connections have their tables in; undefined where it does not say so. */
  connectionSchema?(): Promise<string | undefined>
  /** Runs statements outside of our transactions. */
  runner(): StatementRunner
  /**
   * To be called for each write that no transaction contains.
   *
   * @param attempted - what is written, as a message says it
   * @throws `NoTransactionError` where such writes are refused
   */
  checkOutside(attempted: string): void
  /** Runs several statements as one, in a transaction that nobody else sees. */
  atOnce<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T>
  /** Runs work in a part of a transaction of ours that can fail alone, which is the current one meanwhile. */
  inPart(scope: Scope<DriverConnection>, work: (part: Scope<DriverConnection>) => Promise<void>): Promise<void>
  /**
   * Makes a second client like the user's, whose tables are in another schema or database; not there where nobody knows how.
   *
   * @param shadow - the schema or database @param quoted - the same, as a statement of Prisma's has it
   */
  readonly shadowClient?: ((shadow: string, quoted: string) => ShadowClient) | undefined
  /** Runs work with everything on this datastore in one transaction, which is rolled back in the end: for tests. */
  rehearse<T>(work: () => Promise<T>, limits: RehearsalLimits): Promise<T>
}

const engines = new WeakMap<object, Engine>()

/** Tells which engine stands behind a datastore; called once, by its constructor. */
export function setEngine(datastore: object, engine: Engine): void {
  engines.set(datastore, engine)
}

/** @throws `InterfaceError` for anything but a datastore of this copy of the package */
export function engineOf(datastore: object): Engine {
  const engine = engines.get(datastore)
  if (engine !== undefined) return engine
  throw new InterfaceError(
    'Could not make a recorder: what was given is not a datastore of this copy of eventsourcing-prisma. Is the package installed twice?',
  )
}
