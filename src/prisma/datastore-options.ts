/** What a datastore is made from. */
import {
  callable,
  checkOptions,
  count,
  flag,
  having,
  isClass,
  milliseconds,
  type OptionTypesOf,
  oneOf,
  text,
} from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import type { LogOrder } from '../persistence/recorder.js'
import type { OnEscape, Outside } from '../transaction/escapes.js'
import {
  type BeginAt,
  checkedBegin,
  checkedDeadline,
  checkedMaxWait,
  defaultDeadlineMs,
  defaultMaxWaitMs,
} from '../transaction/options.js'
import type { TransactionDefaults } from '../transaction/transactions.js'
import type { ConnectionSettings, Dialect, Durability } from './dialect.js'
import type { SqlDriverAdapterFactory } from './driver.js'
import type { ListenConnection } from './log-signals.js'

/** What a datastore is made from. */
export interface PrismaDatastoreOptions<Client extends object> {
  /** Any Prisma driver adapter for PostgreSQL, SQLite, MariaDB or MySQL, such as `new PrismaPg({ connectionString })`. */
  readonly adapter: SqlDriverAdapterFactory
  /** Makes your client on the adapter that is passed to it: `(adapter) => new PrismaClient({ adapter })`. Without it, use `bind`. */
  readonly client?: (adapter: SqlDriverAdapterFactory) => Client
  /** What messages about its transactions call it; default: the provider and a number, such as `postgresql-1`. */
  readonly name?: string
  /** Whether a read through a recorder writes pending events first; default true. */
  readonly autoflush?: boolean
  /**
   * When transactions that say nothing of it send BEGIN; default `first-write`: on PostgreSQL reads before the first write need no
   * transaction.
   */
  readonly begin?: BeginAt
  /**
   * Milliseconds from a transaction's first statement until it is rolled back; default: the `timeout` of the client's `transactionOptions`,
   * which is 5,000 when nobody says otherwise. What it waits for a connection is
   * not counted.
   */
  readonly deadlineMs?: number
  /**
   * Milliseconds that a transaction, or a statement outside of any, may wait for a connection of the pool, or on SQLite for its turn to
   * write: `OverloadedError` then. Default: the `maxWait` of the client's `transactionOptions`, unless that is Prisma's own of 2,000; else 20,000.
   */
  readonly maxWaitMs?: number
  /** How many may wait for that at the same time: one more is refused at once with `OverloadedError`. Default 1,000; `Infinity` for no limit. */
  readonly maxWaiting?: number
  /**
   * What to do about what passes by a transaction or outlives it, such as a call that is not awaited; default `throw` under test
   * runners, else `warn`.
   */
  readonly onEscape?: OnEscape
  /**
   * What to do about a write, by a recorder or a client of this datastore, that happens outside of any transaction and not inside
   * of `datastore.outside()`: `warn` gives a process warning `ES_OUTSIDE` for each place in the code, `refuse` fails it with
   * `NoTransactionError`. Default: with NODE_ENV=production `allow`, else `warn` while this process serves HTTP requests.
   *
   * @see docs/decisions/8-writes-outside.md
   */
  readonly outside?: Outside
  /**
   * How many connections the adapter's pool can have, which tells who has to wait, and when a transaction inside another one would
   * wait for ever; default: what the pool of node-postgres or of the MariaDB connector says.
   */
  readonly poolSize?: number
  /** The schema of the library's tables, where the database has schemas; default: the connection's. */
  readonly schema?: string
  /**
   * What keeps logs in order on PostgreSQL, for recorders that say nothing of it: `floor-lock` (default), or `table-lock` where a
   * service in Python reads the same tables.
   */
  readonly order?: LogOrder
  /** On SQLite: whether a commit survives a loss of power (`full`, default) or only a crash of the process (`normal`, faster). */
  readonly durability?: Durability
  /**
   * On PostgreSQL: makes a connection for LISTEN, such as `() => new pg.Client({ connectionString })`; opened while somebody
   * subscribes. With it, whoever stores events on this datastore also notifies subscriptions in other processes, at the
   * commit; without it, those find new events by asking, up to once a second.
   */
  readonly listen?: () => ListenConnection
}

const optionTypes: OptionTypesOf<PrismaDatastoreOptions<object>> = {
  adapter: having('connect', 'a driver adapter, such as new PrismaPg({ connectionString })'),
  client: {
    says: 'a function that makes it on the adapter that is passed: client: (adapter) => new PrismaClient({ adapter })',
    fits: (value) => typeof value === 'function' && !isClass(value),
  },
  name: text,
  autoflush: flag,
  begin: oneOf('first-write', 'first-statement'),
  deadlineMs: milliseconds,
  maxWaitMs: milliseconds,
  maxWaiting: count,
  onEscape: oneOf('throw', 'warn', 'off'),
  outside: oneOf('allow', 'warn', 'refuse'),
  poolSize: count,
  schema: text,
  order: oneOf('floor-lock', 'table-lock'),
  durability: oneOf('full', 'normal'),
  listen: callable,
}

/** @throws `ProgrammingError` for what a datastore cannot be made from */
export function checkDatastoreOptions(options: unknown): void {
  checkOptions('make a datastore', options, optionTypes)
  // Just checked to be an object.
  if ((options as Partial<PrismaDatastoreOptions<object>>).adapter !== undefined) return
  throw new ProgrammingError(
    'Could not make a datastore without a driver adapter: give the option `adapter`, such as new PrismaPg({ connectionString }) ' +
      'of @prisma/adapter-pg, and make the client on it: client: (adapter) => new PrismaClient({ adapter }).',
  )
}

/** How many may wait for a connection when nobody says otherwise. */
const defaultMaxWaiting = 1_000

/** What the connections are made from. @throws `ProgrammingError` for a `deadlineMs` or `maxWaitMs` that no timer can measure */
export function settingsOf<Client extends object>(
  options: PrismaDatastoreOptions<Client>,
  dialect: Dialect,
): ConnectionSettings {
  const { adapter, deadlineMs = defaultDeadlineMs, durability = 'full', poolSize } = options
  const { maxWaitMs = defaultMaxWaitMs, maxWaiting = defaultMaxWaiting } = options
  return {
    factory: adapter,
    durability,
    deadlineMs: checkedDeadline(deadlineMs),
    maxWaitMs: checkedMaxWait(maxWaitMs),
    maxWaiting,
    poolSize,
    dialect,
  }
}

/** What holds for transactions that say nothing else. @throws `ProgrammingError` for a `begin` that there is not */
export function defaultsOf<Client extends object>(
  { autoflush = true, begin = 'first-write' }: PrismaDatastoreOptions<Client>,
  { deadlineMs, maxWaitMs }: ConnectionSettings,
): TransactionDefaults {
  return { autoflush, begin: checkedBegin(begin), deadlineMs, maxWaitMs }
}

let unnamed = 0

/** A name for a datastore that was given none. */
export function newName(provider: string): string {
  unnamed += 1
  return `${provider}-${unnamed}`
}
