/** What stands behind a datastore, for the recorders on it, and what all of them do with their tables. */
import { described } from '../checked-options.js'
import { InterfaceError } from '../errors.js'
import type { LogOrder } from '../persistence/recorder.js'
import type { Escapes } from '../transaction/escapes.js'
import type { IsolationLevel } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { Telemetry } from '../transaction/telemetry.js'
import type { Transactions } from '../transaction/transactions.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { Dialect, IdempotencyKeysTable } from './dialect.js'
import { statement } from './driver.js'
import type { LogSignals, LogWatches } from './log-signals.js'
import type { ShadowClient } from './shadow-client.js'
import { translateError, translateLoneWriteError } from './translate-error.js'

/** When a rehearsal is over that has not ended by itself. */
export interface RehearsalLimits {
  readonly deadlineMs: number
  readonly signal: AbortSignal | undefined
}

/** How recorders reach the database. */
export interface Engine {
  readonly dialect: Dialect
  /** The name of the driver adapter; undefined where somebody else manages the transactions. */
  readonly adapterName?: string
  /** The schema of tables that name none. */
  readonly schema: string | undefined
  /** What keeps the logs of recorders in order that say nothing of it. */
  readonly order: LogOrder | undefined
  /** `current` is the transaction of ours that is open around this code. */
  readonly transactions: {
    readonly current: Scope<DriverConnection> | undefined
    readonly escapes?: Escapes
    readonly beginWork?: Transactions<DriverConnection>['beginWork']
  }
  /** The followers of this database's logs; undefined where the logs cannot be followed. */
  readonly signals: LogSignals | undefined
  /** Records how far the logs are final. */
  readonly watches: LogWatches
  /** Counts conflicts; undefined where somebody else manages the transactions. */
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
  const isLikeOne = typeof datastore === 'object' && datastore !== null && 'tryCurrentTransaction' in datastore
  throw new InterfaceError(
    isLikeOne
      ? 'Could not use the datastore: it is not one of this copy of eventsourcing-prisma. Is the package installed twice?'
      : `Could not use ${described(datastore)} as a datastore: give a PrismaDatastore.`,
  )
}

/**
 * Makes a recorder's tables, harmless where they exist.
 *
 * Outside of the current transaction, since a table must not vanish with a request that fails; unless that would wait for it.
 */
export async function createTables(engine: Engine, statements: readonly string[]): Promise<void> {
  const { dialect, transactions } = engine
  const { current } = transactions
  const scope = dialect.singleWriter && current?.session.begun === true ? current : undefined
  const runner = engine.runner()
  try {
    for (const sql of dialect.creationScripts(statements)) {
      await (scope === undefined ? runner.execute(statement(sql)) : scope.execute((own) => own.execute(statement(sql))))
    }
  } catch (error) {
    throw translateError(dialect, error, 'create the table')
  }
}

/**
 * How statements run. Inside of the current transaction, if there is one; else
 *
 * - `read`: by themselves. In a transaction that has not begun they may be sent by themselves, too.
 * - `write`: by themselves; when the connection is lost then, the error is `CommitUnknownError`.
 * - `repeatable`: by themselves; who does not know whether they are stored sends them again.
 * - `together`: in a transaction of their own.
 * - `outside`: by themselves in any case.
 */
type StatementPlace = 'read' | 'write' | 'repeatable' | 'together' | 'outside'

/**
 * Runs statements over tables, and makes of what a driver throws the error that callers see.
 *
 * @param attempted - what is to be done, as the message of a failure says it
 */
export async function runIn<T>(
  engine: Engine,
  place: StatementPlace,
  attempted: string,
  work: (runner: StatementRunner) => Promise<T>,
): Promise<T> {
  const scope = place === 'outside' ? undefined : engine.transactions.current
  const runner = engine.runner()
  try {
    if (scope !== undefined) return await scope.execute(work, place === 'read' ? work : undefined)
    return await (place === 'together' && !runner.inTransaction ? engine.atOnce(work) : work(runner))
  } catch (error) {
    const isAlone = scope === undefined && place === 'write' && !runner.inTransaction
    throw (isAlone ? translateLoneWriteError : translateError)(engine.dialect, error, attempted)
  }
}

/** The isolation level of a transaction; undefined for the default one, where each of its statements sees what is committed by then. */
export async function levelOf(
  { dialect }: Engine,
  scope: Scope<DriverConnection>,
): Promise<IsolationLevel | undefined> {
  const { options, source } = scope.session
  const { lone } = source
  const isKnown = options.isolationLevel !== undefined || lone === undefined || lone.readAsInTransaction === true
  if (isKnown) return options.isolationLevel
  const ask = (runner: StatementRunner): Promise<boolean> => lone.seeCommitted(runner)
  try {
    return (await scope.execute(ask, ask)) ? undefined : 'RepeatableRead'
  } catch (error) {
    throw translateError(dialect, error, 'ask for the isolation level')
  }
}

const tables = new WeakMap<Engine, Map<string, IdempotencyKeysTable>>()

/** Lets a table be known from now on. */
export function addAnswerTable(engine: Engine, name: string, table: IdempotencyKeysTable): void {
  const known = tables.get(engine) ?? new Map<string, IdempotencyKeysTable>()
  tables.set(engine, known.set(name, table))
}

/** Those of all stores that this process has made on the datastore. */
export function answerTablesOf(engine: Engine): Iterable<IdempotencyKeysTable> {
  return tables.get(engine)?.values() ?? []
}
