/** Runs a piece of work with a fault at every statement in turn: all or nothing is stored, and the caller is told which. */

import { AssertionError } from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { isEventSourcingError, ProgrammingError } from '../errors.js'
import { type FaultKind, type FaultyAdapter, isCommit, type StruckStatement } from './faulty-adapter.js'

/** How often each row is in each table. */
type TableContents = ReadonlyMap<string, ReadonlyMap<string, number>>

/** How many rows have come into a table and gone from it; one that was changed has done both. */
export interface TableChange {
  /** The table. */
  readonly table: string
  /** Rows that were not there before. */
  readonly added: number
  /** Rows that are not there any more. */
  readonly removed: number
}

/** Counts rows by what is in them. */
function contentsOf(rowsByTable: ReadonlyMap<string, readonly unknown[]>): TableContents {
  const contents = new Map<string, Map<string, number>>()
  for (const [table, rows] of rowsByTable) {
    const counts = new Map<string, number>()
    for (const row of rows) {
      const key = JSON.stringify(row, (_name, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    contents.set(table, counts)
  }
  return contents
}

/** One entry for each table. */
function changesBetween(before: TableContents, after: TableContents): TableChange[] {
  return [...after].map(([table, rows]) => {
    const earlier = before.get(table) ?? new Map<string, number>()
    return { table, added: surplus(rows, earlier), removed: surplus(earlier, rows) }
  })
}

/** Whether nothing has come or gone. */
function isUnchanged(changes: readonly TableChange[]): boolean {
  return changes.every(({ added, removed }) => added === 0 && removed === 0)
}

/** Whether as much has come and gone in each table. */
function isSameChange(changes: readonly TableChange[], others: readonly TableChange[]): boolean {
  return changes.every(({ table, added, removed }) => {
    const other = others.find((candidate) => candidate.table === table)
    return other?.added === added && other.removed === removed
  })
}

/** In words: `owners +1, toys +0 −2`. */
function changesText(changes: readonly TableChange[]): string {
  return changes
    .map(({ table, added, removed }) => `${table} +${added}${removed === 0 ? '' : ` −${removed}`}`)
    .join(', ')
}

function surplus(rows: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): number {
  let count = 0
  for (const [row, times] of rows) count += Math.max(0, times - (others.get(row) ?? 0))
  return count
}

/** What a caller was told: all of it is stored, nothing of it is, or nobody knows which. */
export type Verdict = 'success' | 'failure' | 'unknown'

/** The end of a run. */
type RunEnd = { readonly result: unknown } | { readonly error: unknown }

/** What a run has told its caller. */
interface Told {
  readonly verdict: Verdict
  /** For messages. */
  readonly text: string
  readonly error?: unknown
}

/** What went wrong, as far as it bears on what can be known. */
interface MetFault {
  readonly kind: FaultKind
  readonly struck: StruckStatement | undefined
}

/** Reads it from what the run has returned, or thrown. */
function toldBy(end: RunEnd, fault: MetFault | undefined): Told {
  if ('error' in end) {
    const verdict = saysUnknown(end.error) ? 'unknown' : 'failure'
    return { verdict, text: `${verdict}, by ${errorText(end.error)}`, error: end.error }
  }
  const { result } = end
  if (result === 'success' || result === 'failure' || result === 'unknown') return { verdict: result, text: result }
  const status = statusOf(result)
  if (status === undefined) return { verdict: 'success', text: 'success' }
  const verdict = verdictOf(status, fault)
  return { verdict, text: `${verdict}, by HTTP ${status}` }
}

/** A server cannot know what came of a commit, or of a statement by itself, whose connection was lost; then 500 says so. */
function verdictOf(status: number, fault: MetFault | undefined): Verdict {
  if (status < 400) return 'success'
  // 503 asks the client to send the request again.
  return status >= 500 && status !== 503 && hidesOutcome(fault) ? 'unknown' : 'failure'
}

function hidesOutcome(fault: MetFault | undefined): boolean {
  if (fault?.struck === undefined || (fault.kind !== 'disconnected' && fault.kind !== 'unanswered')) return false
  return isCommit(fault.struck.sql) || !fault.struck.inTransaction
}

/** Whether the error, or a cause of it, is a `CommitUnknownError` of any copy of the package. */
function saysUnknown(error: unknown): boolean {
  const seen = new Set<unknown>()
  for (let current = error; current instanceof Error && !seen.has(current); current = current.cause) {
    if (isEventSourcingError(current) && current.code === 'ES_COMMIT_UNKNOWN') return true
    seen.add(current)
  }
  return false
}

/** The status of a response: that of `fetch`, of `inject`, of supertest. */
function statusOf(result: unknown): number | undefined {
  if (typeof result !== 'object' || result === null) return undefined
  const status = 'status' in result ? result.status : 'statusCode' in result ? result.statusCode : undefined
  return typeof status === 'number' ? status : undefined
}

function errorText(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

/** What the trials are made of. */
interface TrialOptions {
  readonly faults: FaultyAdapter
  readonly run: (n: number) => Promise<unknown>
  readonly tables: readonly string[]
  readonly snapshot?: (table: string) => Promise<readonly unknown[]>
  readonly reset?: () => Promise<void>
  readonly delayMs?: number
  readonly timeoutMs?: number
}

/** One run. */
export interface Trial {
  /** Undefined when it did not end in time. */
  readonly told: Told | undefined
  readonly statements: readonly string[]
  /** What it has changed, table by table. */
  readonly changes: readonly TableChange[]
  /** How many transactions it has left open. */
  readonly leftOpen: number
  /** Whether the fault has happened. */
  readonly isStruck: boolean
}

/** How long transactions may go on after the end of their run. */
const settleMs = 2_000

/** Runs one after the other. */
class FaultTrials {
  readonly timeoutMs: number
  readonly #options: TrialOptions
  #contents: TableContents | undefined
  #runs = 0

  constructor(options: TrialOptions) {
    this.#options = options
    this.timeoutMs = options.timeoutMs ?? 10_000
  }

  /** One run that only connects, and sends what is sent once. */
  async warmUp(): Promise<Trial> {
    this.#options.faults.record()
    const told = await this.#run(undefined)
    return await this.#ended(told, () => Promise.resolve([]))
  }

  /** A run that nothing happens to. */
  async withoutFault(): Promise<Trial> {
    return await this.#between(async () => {
      this.#options.faults.record()
      return await this.#run(undefined)
    })
  }

  /** A run with a fault at one statement. */
  async withFault(kind: FaultKind, statementNumber: number): Promise<Trial> {
    const { faults, delayMs } = this.#options
    return await this.#between(async () => {
      faults.failAt(statementNumber, kind, delayMs === undefined ? {} : { delayMs })
      return await this.#run(kind)
    })
  }

  async #between(run: () => Promise<Told | undefined>): Promise<Trial> {
    await this.#options.reset?.()
    // What comes late from the run before is found in this one's changes.
    const before = this.#options.reset === undefined ? (this.#contents ?? (await this.#read())) : await this.#read()
    const told = await run()
    return await this.#ended(told, async () => changesBetween(before, (this.#contents = await this.#read())))
  }

  async #ended(told: Told | undefined, changes: () => Promise<readonly TableChange[]>): Promise<Trial> {
    const { faults } = this.#options
    const isSettled = told !== undefined && (await faults.settled(settleMs))
    const { statements, struck } = faults
    faults.stop()
    return {
      told,
      statements,
      changes: isSettled ? await changes() : [],
      leftOpen: isSettled ? 0 : faults.openTransactions,
      isStruck: struck !== undefined,
    }
  }

  async #run(kind: FaultKind | undefined): Promise<Told | undefined> {
    const { faults, run } = this.#options
    this.#runs += 1
    const n = this.#runs
    const fault = (): MetFault | undefined => (kind === undefined ? undefined : { kind, struck: faults.struck })
    const work = async (): Promise<Told> => {
      try {
        return toldBy({ result: await run(n) }, fault())
      } catch (error) {
        return toldBy({ error }, fault())
      }
    }
    const limit = new AbortController()
    try {
      return await Promise.race([work(), delay(this.timeoutMs, undefined, { signal: limit.signal })])
    } finally {
      limit.abort()
    }
  }

  async #read(): Promise<TableContents> {
    const { faults, tables, snapshot = (table: string) => faults.rows(table) } = this.#options
    const rows = new Map<string, readonly unknown[]>()
    for (const table of tables) rows.set(table, await snapshot(table))
    return contentsOf(rows)
  }
}

/** One fault at one statement. */
export interface FaultPlace {
  readonly kind: FaultKind
  /** From 1. */
  readonly statementNumber: number
  readonly statement: string
}

/** Something that must not be. */
export interface Finding {
  readonly place: FaultPlace
  /** Whether it is about the run after the one with the fault. */
  readonly isAfterwards: boolean
  readonly trial: Trial
  /** What would have been right. */
  readonly rule: string
  /** Whether later runs would only meet what this one has left behind. */
  readonly isFinal: boolean
}

type Broken = Pick<Finding, 'rule' | 'isFinal'>

const longestStatement = 120

const happened: Readonly<Record<FaultKind, string>> = {
  failed: 'the driver failed before it was sent',
  disconnected: 'the connection was lost before it was sent',
  unanswered: 'it was carried out, and the connection was lost before the answer',
  conflict: 'the database refused it for another transaction',
  delayed: 'it was late',
}

/**
 * Looks at a run with a fault.
 *
 * @param all - what a run without a fault changes
 * @returns undefined when all is well
 */
function findingIn(place: FaultPlace, trial: Trial, all: readonly TableChange[]): Finding | undefined {
  const broken = unfinished(trial) ?? (trial.isStruck ? mistold(trial, all) : unstruck)
  return broken === undefined ? undefined : { ...broken, place, trial, isAfterwards: false }
}

/**
 * Looks at the run after one with a fault.
 *
 * @returns undefined when all is well
 */
function findingAfter(place: FaultPlace, trial: Trial, all: readonly TableChange[]): Finding | undefined {
  const broken = unfinished(trial) ?? (trial.told?.verdict === 'success' ? mistold(trial, all) : unserved)
  return broken === undefined ? undefined : { ...broken, place, trial, isAfterwards: true }
}

const unstruck: Broken = {
  rule: 'This time fewer statements were sent. The work has to send the same ones each time: use `n`, or `reset`.',
  isFinal: false,
}

const unserved: Broken = { rule: 'The next run, without a fault, has to succeed.', isFinal: true }

function unfinished({ told, leftOpen }: Trial): Broken | undefined {
  if (told === undefined) return { rule: 'A run has to come to an end.', isFinal: true }
  return leftOpen > 0
    ? { rule: 'Every transaction has to end, and every statement, when the caller has been told.', isFinal: true }
    : undefined
}

function mistold({ told, changes }: Trial, all: readonly TableChange[]): Broken | undefined {
  const isAll = isSameChange(changes, all)
  if (told?.verdict === 'success') {
    return isAll ? undefined : { rule: 'After a success everything has to be stored, and once.', isFinal: false }
  }
  if (isUnchanged(changes)) return undefined
  if (told?.verdict === 'failure') return { rule: 'After a failure nothing may be stored.', isFinal: false }
  return isAll ? undefined : { rule: 'Where nobody knows, it has to be all or nothing.', isFinal: false }
}

/**
 * Makes the error that tells of them all.
 *
 * @param count - how many faults there were
 * @param stackStartFn - what the test has called
 */
function findingsError(
  findings: readonly Finding[],
  {
    count,
    all,
    stackStartFn,
  }: { count: number; all: readonly TableChange[]; stackStartFn: (...args: never[]) => unknown },
): AssertionError {
  const wrong = new Set(findings.map(({ place }) => place)).size
  const head = `Something is wrong after ${wrong} of ${count} faults. Without a fault a run stores: ${changesText(all)}`
  const message = [head, ...findings.map((finding, index) => `${index + 1}. ${textOf(finding)}`)].join('\n\n')
  const error = new AssertionError({ message, stackStartFn })
  const cause = findings.map(({ trial }) => trial.told?.error).find((found) => found !== undefined)
  return cause === undefined ? error : Object.assign(error, { cause })
}

/** When the work does not even do without a fault. */
function brokenWithoutFault({ told, leftOpen }: Trial, stackStartFn: (...args: never[]) => unknown): AssertionError {
  const end = leftOpen > 0 ? `left ${leftOpen} transactions open` : `came to: ${told?.text ?? 'no end'}`
  const message = `A run without a fault ${end}. It has to succeed before faults can say anything.`
  const error = new AssertionError({ message, stackStartFn })
  return told?.error === undefined ? error : Object.assign(error, { cause: told.error })
}

function textOf({ place, trial, rule, isAfterwards }: Finding): string {
  const { told, changes, leftOpen } = trial
  return [
    `Statement ${place.statementNumber}, ${place.kind} (${happened[place.kind]}): ${shortened(place.statement)}`,
    ...(isAfterwards ? ['   and then a run without a fault'] : []),
    `   told:   ${told?.text ?? 'nothing, until the time was over'}`,
    `   stored: ${leftOpen > 0 ? 'unknown, while something is under way' : changesText(changes) || 'not looked at'}`,
    `   ${rule}`,
  ].join('\n')
}

function shortened(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim()
  return line.length > longestStatement ? `${line.slice(0, longestStatement)}…` : line
}

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
