/** Runs a piece of work with a fault at every statement in turn: all or nothing is stored, and the caller is told which. */
import { ProgrammingError } from '../errors.js'
import {
  brokenWithoutFault,
  type FaultPlace,
  FaultTrials,
  type Finding,
  findingAfter,
  findingIn,
  findingsError,
  isUnchanged,
  type TableChange,
  type Trial,
  type Verdict,
} from './fault-trials.js'
import type { FaultKind, FaultyAdapter } from './faulty-adapter.js'

/** What is run, and what is looked at. */
export interface FaultCheckOptions {
  /** The adapter of the datastore that `run` uses. */
  readonly faults: FaultyAdapter
  /**
   * The work: a request to your server, a transaction, a job. It returns the response, of which the status counts; or
   * `'success'`, `'failure'` or `'unknown'`; what returns anything else has succeeded, and what throws has failed, with a
   * `CommitUnknownError` in its chain of causes `'unknown'`. It has to do the same each time: where that needs another name
   * or id for each run, it takes them from `n`.
   *
   * @param n - counts the runs, from 1
   */
  readonly run: (n: number) => Promise<unknown>
  /** The tables that all or nothing has to be in, by their names in the database; with the schema and a dot where it needs one. */
  readonly tables: readonly string[]
  /** Reads the rows of a table in place of `SELECT *`: without a column that changes by itself, or in another database. */
  readonly snapshot?: (table: string) => Promise<readonly unknown[]>
  /** Called before each run. */
  readonly reset?: () => Promise<void>
  /** The faults; default: all that the database knows, and `delayed` where `delayMs` is given. */
  readonly kinds?: readonly FaultKind[]
  /** Milliseconds by which a statement is `delayed`: more than the deadline of the transaction. */
  readonly delayMs?: number
  /** Milliseconds after which a run counts as one that does not end; default 10,000. */
  readonly timeoutMs?: number
}

/** One fault, and what came of it. */
export interface FaultOutcome {
  /** What went wrong. */
  readonly kind: FaultKind
  /** The number of the statement that it happened to, from 1. */
  readonly statementNumber: number
  /** The statement. */
  readonly statement: string
  /** What the caller was told. */
  readonly told: Verdict
  /** What the run has thrown, if it has. */
  readonly error?: unknown
  /** Whether everything is stored; otherwise nothing is. */
  readonly isStored: boolean
}

/** What was checked. */
export interface FaultCheck {
  /** The statements of a run without a fault. */
  readonly statements: readonly string[]
  /** What a run without a fault changes, table by table. */
  readonly changes: readonly TableChange[]
  /** One for each statement and each fault. */
  readonly outcomes: readonly FaultOutcome[]
}

/**
 * Runs the work once without a fault, to count its statements, and then for each of them and each kind of fault once more.
 * After each run it compares the tables with what was in them before:
 *
 * - Who was told of a success finds everything stored, once.
 * - Who was told of a failure finds nothing.
 * - Who was told that nobody knows finds either: after a `CommitUnknownError`, or a status 500 when the connection was lost
 *   during COMMIT.
 * - No transaction is left open, and the next run, without a fault, succeeds and stores everything once.
 *
 * Give the tables to nobody else meanwhile. `run` has to wait for all that it starts.
 *
 * @returns what was checked, when all of that was so
 * @throws `AssertionError` that tells every fault with which it was not so; `ProgrammingError` when there is nothing to check
 *
 * @example
 * await checkEveryFault({
 *   faults,
 *   run: (n) => fetch(`${url}/dogs`, { method: 'POST', headers, body: JSON.stringify({ name: `Dog ${n}` }) }),
 *   tables: ['owners', 'trainingschool_events'],
 * })
 */
export async function checkEveryFault(options: FaultCheckOptions): Promise<FaultCheck> {
  const { faults, delayMs, kinds = delayMs === undefined ? faults.kinds : [...faults.kinds, 'delayed'] } = options
  const trials = new FaultTrials(options)
  // The first one also connects, and sends what is sent once.
  succeeded(await trials.warmUp())
  const { statements, changes } = succeeded(await trials.withoutFault())
  if (isUnchanged(changes)) throw nothingStored(options.tables)
  const findings: Finding[] = []
  const outcomes: FaultOutcome[] = []
  for (const place of placesOf(kinds, statements)) {
    const trial = await trials.withFault(place.kind, place.statementNumber)
    findings.push(...present(findingIn(place, trial, changes)))
    outcomes.push(outcomeOf(place, trial))
    if (!findings.at(-1)?.isFinal) findings.push(...present(findingAfter(place, await trials.withoutFault(), changes)))
    if (findings.at(-1)?.isFinal === true) break
  }
  if (findings.length === 0) return { statements, changes, outcomes }
  throw findingsError(findings, { count: outcomes.length, all: changes, stackStartFn: checkEveryFault })
}

function succeeded(trial: Trial): Trial {
  if (trial.told?.verdict === 'success' && trial.leftOpen === 0) return trial
  throw brokenWithoutFault(trial, checkEveryFault)
}

function placesOf(kinds: readonly FaultKind[], statements: readonly string[]): FaultPlace[] {
  return kinds.flatMap((kind) =>
    statements.map((statement, index) => ({ kind, statementNumber: index + 1, statement })),
  )
}

function outcomeOf(place: FaultPlace, { told, changes }: Trial): FaultOutcome {
  const error = told?.error === undefined ? {} : { error: told.error }
  return { ...place, ...error, told: told?.verdict ?? 'unknown', isStored: !isUnchanged(changes) }
}

function present<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value]
}

function nothingStored(tables: readonly string[]): ProgrammingError {
  return new ProgrammingError(
    `Could not check for all or nothing: a run without a fault changes nothing in ${tables.join(', ') || 'no tables'}. ` +
      'Name the tables that it writes to, and let it write something new each time.',
  )
}
