/** How a transaction is to be run. */
import { callable, count, either, flag, milliseconds, type OptionTypesOf, text } from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import { Deadline } from './deadline.js'

/** The isolation levels by the names that Prisma gives them; which ones exist depends on the database. */
export type IsolationLevel = 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable'

/**
 * What happens with and without a current transaction:
 *
 * - `required` (default): joins the current one, else opens one.
 * - `nested`: opens a savepoint in the current one that can fail alone, else opens a transaction.
 * - `requiresNew`: opens an independent transaction on another connection.
 * - `mandatory`: joins the current one, else `NoTransactionError`.
 * - `supports`: joins the current one, else runs without.
 * - `notSupported`: runs without, whether there is one or not.
 * - `never`: runs without, `ProgrammingError` when there is one.
 */
export type Propagation = 'required' | 'nested' | 'requiresNew' | 'mandatory' | 'supports' | 'notSupported' | 'never'

/**
 * When BEGIN is sent:
 *
 * - `first-write` (default): with the first statement that may write or lock. Reads before that are sent by themselves where the
 *   database shows them the same either way, which is on PostgreSQL at READ COMMITTED; elsewhere they begin the transaction.
 * - `first-statement`: with the first statement.
 */
export type BeginAt = 'first-write' | 'first-statement'

/** A text, or a function that makes it when there is a message to put it into. */
export type TransactionLabel = string | (() => string)

/**
 * Options of one transaction. One that joins another, or is a part of it, has that one's deadline, retries and label; it may say
 * `isolationLevel` and `readOnly`, to be refused where the other one does not fit.
 */
export interface TransactionOptions {
  /** Default `required`. */
  readonly propagation?: Propagation
  /** Default: that of the client's `transactionOptions`, else the database's own. */
  readonly isolationLevel?: IsolationLevel
  /** A transaction that sees one snapshot and refuses to write; default false. */
  readonly readOnly?: boolean
  /** When BEGIN is sent; default: the datastore's. With an `isolationLevel` or `readOnly` it is sent with the first statement. */
  readonly begin?: BeginAt
  /**
   * Milliseconds from the first use of the database until the transaction is rolled back, all attempts together; default: the
   * datastore's, else the `timeout` of the client's `transactionOptions`, which is 5,000 when nobody says otherwise.
   * What it waits for a connection is not counted.
   */
  readonly deadlineMs?: number
  /**
   * Milliseconds that it may wait for a connection of the pool, or on SQLite for its turn to write; `OverloadedError` then. Default: the
   * datastore's, which is 20,000 when nobody says otherwise.
   */
  readonly maxWaitMs?: number
  /**
   * How often `fn` may be run again, in a fresh transaction, after a conflict or another failure that may pass, as long as the
   * deadline has not passed; the error of the last attempt is the one that is thrown. Default 0.
   * A joined or nested transaction leaves that to the outermost one.
   */
  readonly retries?: number
  /** Whether a read through a recorder writes the pending events first; default: the datastore's. */
  readonly autoflush?: boolean
  /** What the transaction is for, such as `POST /dogs`: messages about it tell it. The adapters and `transactional` give one. */
  readonly label?: TransactionLabel
}

/** What the options of a transaction are; names are checked by `assertKnown`. */
export const transactionOptionTypes: OptionTypesOf<TransactionOptions> = {
  propagation: text,
  isolationLevel: text,
  readOnly: flag,
  begin: text,
  deadlineMs: milliseconds,
  maxWaitMs: milliseconds,
  retries: count,
  autoflush: flag,
  label: either(text, callable),
}

/** The text of a label, undefined where there is none, or where its function fails: it is asked where nobody could catch that. */
export function textOf(label: TransactionLabel | undefined): string | undefined {
  if (typeof label !== 'function') return label
  try {
    return label()
  } catch {
    return undefined
  }
}

const isolationLevels: readonly IsolationLevel[] = [
  'ReadUncommitted',
  'ReadCommitted',
  'RepeatableRead',
  'Serializable',
]
const beginnings: readonly BeginAt[] = ['first-write', 'first-statement']
const propagations: readonly Propagation[] = [
  'required',
  'nested',
  'requiresNew',
  'mandatory',
  'supports',
  'notSupported',
  'never',
]

/**
 * Names may come from a configuration, which no compiler has seen.
 *
 * @throws `ProgrammingError` for a propagation, an isolation level or a beginning that there is not
 */
export function assertKnown({ propagation, isolationLevel, begin }: TransactionOptions): void {
  if (propagation !== undefined && !propagations.includes(propagation)) {
    throw unknownOption('propagation', propagation, propagations)
  }
  if (begin !== undefined) checkedBegin(begin)
  if (isolationLevel !== undefined && !isolationLevels.includes(isolationLevel)) {
    throw unknownOption('isolationLevel', isolationLevel, isolationLevels)
  }
}

/** @throws `ProgrammingError` for a beginning that there is not */
export function checkedBegin(begin: BeginAt): BeginAt {
  if (beginnings.includes(begin)) return begin
  throw unknownOption('begin', begin, beginnings)
}

function unknownOption(option: string, given: string, known: readonly string[]): ProgrammingError {
  return new ProgrammingError(
    `Could not begin a transaction with ${option} '${given}': there is no such. Give one of ${known.join(', ')}.`,
  )
}

/** Milliseconds a transaction may last when nobody says otherwise. */
export const defaultDeadlineMs = 5_000

/** Milliseconds a transaction may wait for a connection when nobody says otherwise. */
export const defaultMaxWaitMs = 20_000

/** @throws `ProgrammingError` for what no timer can measure */
export function checkedMaxWait(maxWaitMs: number): number {
  // Node's timers fire at once beyond 2^31 - 1.
  if (maxWaitMs >= 0 && maxWaitMs <= 2_147_483_647) return maxWaitMs
  throw new ProgrammingError(
    `Could not begin a transaction that waits ${maxWaitMs} ms for a connection: give a maxWaitMs between 0 and 2,147,483,647.`,
  )
}

/** @throws `ProgrammingError` for what no timer can measure */
export function checkedDeadline(deadlineMs: number): number {
  // Node's timers fire at once beyond 2^31 - 1.
  if (deadlineMs > 0 && deadlineMs <= 2_147_483_647) return deadlineMs
  throw new ProgrammingError(
    `Could not begin a transaction with a deadline of ${deadlineMs} ms: give a number between 1 and 2,147,483,647.`,
  )
}

/** @throws `ProgrammingError` as `checkedDeadline` does */
export function newDeadline(deadlineMs: number): Deadline {
  return new Deadline(checkedDeadline(deadlineMs))
}
