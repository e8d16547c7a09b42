/** How a transaction is to be run: options and their checks, retries, states, and `@transactional`. */
import { types } from 'node:util'
import {
  callable,
  checkOptions,
  count,
  either,
  flag,
  milliseconds,
  type OptionTypesOf,
  text,
} from '../checked-options.js'
import { ConcurrencyError, OperationalError, ProgrammingError, TransactionClosedError } from '../errors.js'

const firstDelayMs = 5
const longestDelayMs = 250

/**
 * Tells whether running the same work again in a fresh transaction may succeed: a conflict with another writer, a
 * serialisation failure, a deadlock, a lock that was not granted in time.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof ConcurrencyError) return true
  return error instanceof OperationalError && error.retryable
}

/**
 * How long to wait before the next attempt: longer each time, and by chance, so that two who met do not meet again.
 *
 * @param attempt - the attempt that failed, from 1
 * @returns milliseconds, from 2.5 to 250
 */
export function backOffMs(attempt: number): number {
  const ceiling = Math.min(longestDelayMs, firstDelayMs * 2 ** (attempt - 1))
  return ceiling / 2 + (Math.random() * ceiling) / 2
}

/** Where a unit of work is: `idle` until its first statement; the last two are final. */
export type TransactionState = 'idle' | 'open' | 'committing' | 'committed' | 'rolledBack'

/**
 * @param what - a clause that says what was attempted: "owner.create was called"
 * @param title - which transaction: "the transaction"
 */
export function closedError(what: string, title: string): TransactionClosedError {
  return new TransactionClosedError(
    `${what} after ${title} had ended. Await every database call before the transaction, or the response of its request, ends. ` +
      'What is to go on after that is given to tx.afterCommit(), or runs in datastore.transaction() with propagation "requiresNew". ' +
      'A middleware that writes when the response has been sent, such as a session or an access log, comes before that of the transactions. ' +
      'A queue that requests share runs a task where the one before it was: give it AsyncResource.bind(task).',
  )
}

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

/** What the options of a transaction are; what they say is checked by `assertPossible`. */
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

/** What knows the label of a transaction: it is asked where there is a message. */
export interface Labelled {
  readonly label: string
}

/** The text of a label, undefined where there is none, or where what knows it fails: it is asked where nobody could catch that. */
export function textOf(label: TransactionLabel | Labelled | undefined): string | undefined {
  try {
    return typeof label === 'function' ? label() : typeof label === 'object' ? label.label : label
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
 * Options may come from a configuration, which no compiler has seen.
 *
 * @throws `ProgrammingError` for a propagation, an isolation level or a beginning that there is not, and for what no timer can measure
 */
export function assertPossible(options: TransactionOptions): void {
  const { propagation, isolationLevel, begin, deadlineMs, maxWaitMs } = options
  if (propagation !== undefined && !propagations.includes(propagation)) {
    throw unknownOption('propagation', propagation, propagations)
  }
  if (begin !== undefined) checkedBegin(begin)
  if (isolationLevel !== undefined && !isolationLevels.includes(isolationLevel)) {
    throw unknownOption('isolationLevel', isolationLevel, isolationLevels)
  }
  if (deadlineMs !== undefined) checkedDeadline(deadlineMs)
  if (maxWaitMs !== undefined) checkedMaxWait(maxWaitMs)
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

/** What the method's transactions are begun on; a `PrismaDatastore` is one. */
export interface TransactionRunner {
  /** Runs work in a transaction. */
  transaction<T>(work: () => Promise<T>, options?: TransactionOptions): Promise<T>
}

/** The decorator that `transactional` makes: standard, or legacy (`experimentalDecorators`). */
export interface TransactionalDecorator {
  /** A method, by a standard decorator. */
  <This, Parameters extends readonly unknown[], Result>(
    method: (this: This, ...args: Parameters) => Promise<Result>,
    context: ClassMethodDecoratorContext<This, (this: This, ...args: Parameters) => Promise<Result>>,
  ): (this: This, ...args: Parameters) => Promise<Result>
  /** A method, by a legacy decorator. */
  <Parameters extends readonly unknown[], Result>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<(...args: Parameters) => Promise<Result>>,
  ): TypedPropertyDescriptor<(...args: Parameters) => Promise<Result>>
}

type AsyncMethod = (...args: unknown[]) => Promise<unknown>

/**
 * Makes the calls of an asynchronous method transactions: what is stored in one is stored when it resolves, and not when it rejects.
 * Inside another transaction of the datastore it joins that, or does what `propagation` says. Its `label` is the name of the method.
 *
 * @param datastore - whose transactions they are; a function where it is made later, called at each call of the method with the
 * object that the method was called on: `@transactional((kennel: Kennel) => kennel.datastore)` where it is injected
 * @param options - as for `datastore.transaction`
 * @throws `TypeError`, when the class is defined, for anything but a method; `ProgrammingError` for options that there are not
 *
 * @example
 * class Kennel {
 *   @transactional(datastore, { retries: 3 }) async register(name: string) {
 *     await school.register(name)
 *     await db.owner.create({ data: { name: 'Ann', dog: name } })
 *   }
 * }
 */
export function transactional<Owner = unknown>(
  datastore: TransactionRunner | ((owner: Owner) => TransactionRunner),
  options?: TransactionOptions,
): TransactionalDecorator {
  if (options !== undefined) checkOptions('make @transactional', options, transactionOptionTypes)
  const wrapped = (method: unknown, member: string): AsyncMethod => {
    if (typeof method !== 'function') throw new TypeError(`@transactional cannot be on ${member}: it is no method`)
    if (types.isGeneratorFunction(method))
      throw new TypeError(`@transactional cannot be on ${member}: it is a generator, whose body runs after the call`)
    function transactionalMethod(this: unknown, ...args: unknown[]): Promise<unknown> {
      const runner = typeof datastore === 'function' ? datastore(this as Owner) : datastore // which the caller has named
      // A method that is typed as asynchronous.
      const work = async (): Promise<unknown> => await Reflect.apply(method as AsyncMethod, this, args)
      return runner.transaction(work, { label: () => nameOf(this, member), ...options })
    }
    Object.defineProperty(transactionalMethod, 'name', { value: method.name || member, configurable: true })
    Object.defineProperty(transactionalMethod, 'length', { value: method.length, configurable: true })
    return transactionalMethod
  }
  const decorate = (target: unknown, place: unknown, descriptor?: PropertyDescriptor): unknown => {
    if (typeof place !== 'object' || place === null)
      return { ...descriptor, value: wrapped(descriptor?.value, String(place)) }
    const { kind, name } = place as ClassMethodDecoratorContext // what a standard decorator is given
    if (kind !== 'method') throw new TypeError(`@transactional cannot be on ${String(name)}: it is a ${String(kind)}`)
    return wrapped(target, String(name))
  }
  return decorate as TransactionalDecorator // its overloads say which arguments come together
}

/** `Kennel.register`, for messages. */
function nameOf(owner: unknown, member: string): string {
  const ofClass: unknown = typeof owner === 'function' ? owner : Object(owner).constructor
  return typeof ofClass === 'function' ? `${ofClass.name}.${member}` : member
}
