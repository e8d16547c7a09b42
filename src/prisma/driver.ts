/**
 * The shapes of Prisma's driver adapters and generated clients, and of what they, drivers or Prisma throw. Nothing here imports one: the
 * classes differ between copies, generators and versions.
 *
 * @see `@prisma/driver-adapter-utils` 7, whose public interfaces these equal
 */

import { createHash } from 'node:crypto'
import { NotSupportedError, ProgrammingError } from '../errors.js'
import type { IsolationLevel } from '../transaction/options.js'

type ScalarType =
  | 'string'
  | 'int'
  | 'bigint'
  | 'float'
  | 'decimal'
  | 'boolean'
  | 'enum'
  | 'uuid'
  | 'json'
  | 'datetime'
  | 'bytes'
  | 'unknown'

/** What a statement's argument is, where the JavaScript value does not tell. */
interface SqlArgumentType {
  scalarType: ScalarType
  dbType?: string
  arity: 'scalar' | 'list'
}

/** One statement with its arguments; `argTypes` has one entry for each of them. */
export interface SqlQuery {
  sql: string
  args: unknown[]
  argTypes: SqlArgumentType[]
}

// Numbers that Prisma's runtime gives meaning to; here they are only passed on.
type ScalarColumn = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 128
type ArrayColumn = 64 | 65 | 66 | 67 | 68 | 69 | 70 | 71 | 72 | 73 | 74 | 75 | 76 | 77 | 78

/** The rows of a statement: one array of values for each, in the order of `columnNames`. */
export interface SqlResultSet {
  columnTypes: Array<ScalarColumn | ArrayColumn>
  columnNames: string[]
  rows: unknown[][]
  lastInsertId?: string
}

/** What runs statements. */
export interface SqlQueryable {
  readonly provider: DriverProvider
  readonly adapterName: string
  queryRaw(query: SqlQuery): Promise<SqlResultSet>
  executeRaw(query: SqlQuery): Promise<number>
}

/** The isolation levels as SQL spells them. */
export type SqlIsolationLevel = 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SNAPSHOT' | 'SERIALIZABLE'

/**
 * A transaction that the adapter has begun. With `usePhantomQuery` its `commit` and `rollback` send the statement
 * themselves; without, the caller has sent COMMIT or ROLLBACK and they only give the connection back.
 */
export interface SqlDriverTransaction extends SqlQueryable {
  readonly options: { usePhantomQuery: boolean }
  commit(): Promise<void>
  rollback(): Promise<void>
  createSavepoint?(name: string): Promise<void>
  rollbackToSavepoint?(name: string): Promise<void>
  releaseSavepoint?(name: string): Promise<void>
}

/** What an adapter tells of its connection. */
export interface SqlConnectionInfo {
  schemaName?: string
  maxBindValues?: number
  supportsRelationJoins: boolean
}

/** A connected adapter: a pool, or a single connection. */
export interface SqlDriverAdapter extends SqlQueryable {
  executeScript(script: string): Promise<void>
  startTransaction(isolationLevel?: SqlIsolationLevel): Promise<SqlDriverTransaction>
  getConnectionInfo?(): SqlConnectionInfo
  dispose(): Promise<void>
  /** The driver's own pool or connection, where the adapter shows it. */
  underlyingDriver?(): unknown
}

/** What a PrismaClient is given as its `adapter`. */
export interface SqlDriverAdapterFactory {
  readonly provider: DriverProvider
  readonly adapterName: string
  connect(): Promise<SqlDriverAdapter>
}

/** Only what surely reads: everything else may write. */
export function isRead(sql: string): boolean {
  return /^\s*SELECT\b/i.test(sql)
}

const unknownType: SqlArgumentType = { scalarType: 'unknown', arity: 'scalar' }

/** On the statements that `statement` makes: those of Prisma do not have it. A `WeakSet` of them would cost more than all the rest of a statement. */
export const ownStatement: unique symbol = Symbol('eventsourcing-prisma: own statement')

/** Makes a statement whose arguments have the types that their JavaScript values show. */
export function statement(sql: string, args: unknown[] = []): SqlQuery {
  const query = { sql, args, argTypes: args.map(() => unknownType), [ownStatement]: true }
  return query
}

/** Passes everything on. */
export class DelegatedTransaction implements SqlDriverTransaction {
  readonly provider: SqlDriverTransaction['provider']
  readonly adapterName: string
  readonly #inner: SqlDriverTransaction
  readonly #prepared: (query: SqlQuery) => SqlQuery

  /** @param prepared - gives what is sent in place of a statement */
  constructor(inner: SqlDriverTransaction, prepared: (query: SqlQuery) => SqlQuery) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#inner = inner
    this.#prepared = prepared
  }

  get options(): SqlDriverTransaction['options'] {
    return this.#inner.options
  }

  async queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return await this.#inner.queryRaw(this.#prepared(query))
  }

  async executeRaw(query: SqlQuery): Promise<number> {
    return await this.#inner.executeRaw(this.#prepared(query))
  }

  async commit(): Promise<void> {
    await this.#inner.commit()
  }

  async rollback(): Promise<void> {
    await this.#inner.rollback()
  }

  async createSavepoint(name: string): Promise<void> {
    await this.#inner.createSavepoint?.(name)
  }

  async rollbackToSavepoint(name: string): Promise<void> {
    await this.#inner.rollbackToSavepoint?.(name)
  }

  async releaseSavepoint(name: string): Promise<void> {
    await this.#inner.releaseSavepoint?.(name)
  }
}

const names = new Map<string, string>()

/**
 * An option for `@prisma/adapter-pg`: prepares the statements of this library, and leaves yours unnamed. They are few, so the
 * server keeps few. Not for a connection pooler that gives each transaction another connection and does not know prepared
 * statements (PgBouncer in transaction mode, where `max_prepared_statements` is 0).
 *
 * @returns the statement's name; empty for a statement that is not the library's, which means none
 *
 * @example
 * new PrismaPg({ connectionString }, { statementNameGenerator: preparedStatementName })
 */
export function preparedStatementName(query: Pick<SqlQuery, 'sql' | 'args'>): string {
  // Without arguments the driver sends the text in one message, for which there is nothing to prepare.
  if (query.args.length === 0 || !(ownStatement in query)) return ''
  const known = names.get(query.sql)
  if (known !== undefined) return known
  const name = `es_${createHash('sha256').update(query.sql).digest('hex').slice(0, 24)}`
  names.set(query.sql, name)
  return name
}

/** `sqlserver` exists as an adapter and is not supported here. */
export type DriverProvider = 'mysql' | 'postgres' | 'sqlite' | 'sqlserver'

/** Other names of the same: the schemes of URLs, and the providers as a Prisma schema spells them. */
export const providersByName: Readonly<Record<string, DriverProvider>> = {
  postgres: 'postgres',
  postgresql: 'postgres',
  sqlite: 'sqlite',
  file: 'sqlite',
  mysql: 'mysql',
  mariadb: 'mysql',
}

const comments = String.raw`(?:\s|--[^\n]*\n|/\*[\s\S]*?\*/)*`
const writes = new RegExp(`^${comments}(?:insert|update|delete|replace|merge|truncate|copy|load)\\b`, 'i')
const maybe = new RegExp(`^${comments}with\\b`, 'i')
const writesWithin = /\b(?:insert\s+into|update|delete\s+from|merge\s+into)\b/i

/** Whether a statement changes rows. That of a procedure that is called, or of a function that is selected, is not known. */
export function isWrite(sql: string): boolean {
  return writes.test(sql) || (maybe.test(sql) && writesWithin.test(sql))
}

/** Those that Prisma's adapters are given; the library has no `SNAPSHOT`, which is for SQL Server. */
export const isolationLevels: Readonly<Record<SqlIsolationLevel, IsolationLevel | undefined>> = {
  'READ UNCOMMITTED': 'ReadUncommitted',
  'READ COMMITTED': 'ReadCommitted',
  'REPEATABLE READ': 'RepeatableRead',
  SERIALIZABLE: 'Serializable',
  SNAPSHOT: undefined,
}

/** What is known of a database error. */
export interface DriverErrorFacts {
  /** Prisma's name for the kind of error, `unknown` for an error that no adapter has looked at. */
  readonly kind: string
  /** The database's or driver's own code, as text. */
  readonly code: string | undefined
  /** The database's own words. */
  readonly message: string
}

/** Finds the database error in anything that was thrown; undefined when there is none in it. */
export function readDriverError(error: unknown): DriverErrorFacts | undefined {
  if (!isRecord(error)) return undefined
  const wrapped = isRecord(error['meta']) ? error['meta']['driverAdapterError'] : undefined
  const cause = isRecord(wrapped)
    ? wrapped['cause']
    : error['name'] === 'DriverAdapterError'
      ? error['cause']
      : undefined
  if (!isRecord(cause) || typeof cause['kind'] !== 'string') return undefined
  const code = firstText(cause['originalCode'], cause['code'], cause['extendedCode'])
  return { kind: cause['kind'], code, message: messageOf(cause) }
}

function messageOf({ kind, originalMessage, message, cause, host, port }: Record<string, unknown>): string {
  const said = firstText(originalMessage, message)
  // Of a pool without connections the driver says beside it why there are none.
  const why = said === undefined || typeof cause !== 'string' || said.includes(cause) ? '' : `: ${cause}`
  if (said !== undefined) return `${said.replace(/\s*\n\s*/g, ' ')}${why}`
  if (kind === 'DatabaseNotReachable' && typeof host === 'string') {
    return `no database answers at ${host}${typeof port === 'number' ? `:${port}` : ''}`
  }
  return firstText(cause) ?? String(kind)
}

function firstText(...values: readonly unknown[]): string | undefined {
  const found = values.find((value) => typeof value === 'string' || typeof value === 'number')
  return found === undefined ? undefined : `${found}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** What the library calls on a client. */
export interface PrismaClientLike {
  $transaction(work: (client: object) => Promise<unknown>, options?: object): Promise<unknown>
  $transaction(operations: readonly unknown[], options?: object): Promise<unknown[]>
}

/** The client that Prisma passes to the callback of `$transaction`: models, raw queries and extensions, without `$connect` and its like. */
export type TransactionClient<Client> = Client extends {
  /** Prisma's interactive transaction, whose callback tells the type. */
  $transaction(work: (client: infer Tx) => Promise<unknown>, options?: never): Promise<unknown>
}
  ? Tx
  : Client

/** Tells whether a value can be used as a PrismaClient. */
export function isPrismaClient(value: unknown): value is PrismaClientLike {
  return (
    typeof value === 'object' && value !== null && '$transaction' in value && typeof value.$transaction === 'function'
  )
}

/**
 * Whether all that an operation of a client does is Prisma's own: it has no extensions. Prisma tells that in a field of its own;
 * whatever does not have it counts as extended.
 */
export function isUnextended(client: object): boolean {
  if (!('_extensions' in client)) return false
  const { _extensions: extensions } = client
  if (typeof extensions !== 'object' || extensions === null || !('isEmpty' in extensions)) return false
  return typeof extensions.isEmpty === 'function' && Reflect.apply(extensions.isEmpty, extensions, []) === true
}

/** What a call on a client gives: it is carried out when it is awaited, or in the transaction that it is asked to be carried out in. */
export interface PrismaOperation extends PromiseLike<unknown> {
  requestTransaction(transaction: object): Promise<unknown>
}

/** Whether a value is what a call on some client has given; everything else has been carried out already. */
export function isPrismaOperation(value: unknown): value is PrismaOperation {
  return (
    typeof value === 'object' &&
    value !== null &&
    Reflect.get(value, Symbol.toStringTag) === 'PrismaPromise' &&
    'requestTransaction' in value &&
    typeof value.requestTransaction === 'function'
  )
}

/** The client that the extended ones have been made from, which has their engine and what all of them inherit. */
export function originalOf(client: object): object {
  const original: unknown = Reflect.get(client, '_originalClient')
  return typeof original === 'object' && original !== null ? original : client
}

/** Prisma's own `$transaction`, whatever extensions and subclasses have put before it. */
export function prismaTransaction(client: object): PrismaClientLike['$transaction'] {
  let found: unknown = Reflect.get(client, '$transaction')
  // Prisma's class is the last one.
  let prototype = Reflect.getPrototypeOf(originalOf(client))
  while (prototype !== null) {
    if (Object.hasOwn(prototype, '$transaction')) found = Reflect.get(prototype, '$transaction')
    prototype = Reflect.getPrototypeOf(prototype)
  }
  // What is called so is nothing else.
  return found as PrismaClientLike['$transaction']
}

/**
 * What Prisma knows an open transaction by, for operations that are to be carried out in it.
 *
 * @param client - which Prisma has passed to the callback of `$transaction`
 */
export async function prismaTransactionOf(client: object): Promise<object> {
  const make: unknown = Reflect.get(client, '_createPrismaPromise')
  if (typeof make !== 'function') throw unknownClient()
  const told: unknown = await Reflect.apply(make, client, [(transaction: unknown) => Promise.resolve(transaction)])
  if (typeof told !== 'object' || told === null) throw unknownClient()
  return told
}

function unknownClient(): NotSupportedError {
  return new NotSupportedError(
    'Could not join the PrismaClient to the transaction: this version of Prisma does not tell which transaction a client is in. Use one that eventsourcing-prisma supports.',
  )
}

/** What Prisma gives a transaction where the client says nothing, in milliseconds. */
export const prismaDefaults = { maxWait: 2_000, timeout: 5_000 } as const

/** Prisma's limits of a transaction. */
export interface PrismaTransactionOptions {
  readonly isolationLevel?: string
  /** Milliseconds that it may last. */
  readonly timeout?: number
  /** Milliseconds that it may take to begin. */
  readonly maxWait?: number
}

/** The driver adapter that a client was made on; undefined where Prisma does not tell. */
export function adapterOf(client: object): unknown {
  const config: unknown = Reflect.get(originalOf(client), '_engineConfig')
  return typeof config === 'object' && config !== null ? Reflect.get(config, 'adapter') : undefined
}

/** A client that joins nothing, since its statements never come by the datastore. */
export function strangerError(): ProgrammingError {
  return new ProgrammingError(
    'Could not join the PrismaClient to the transactions of its datastore: it was made on another adapter than that of the datastore. ' +
      'Make it on the one that is passed: client: (adapter) => new PrismaClient({ adapter }).',
  )
}

/** The option `transactionOptions` of a client; Prisma fills in its defaults. */
export function transactionOptionsOf(client: object): PrismaTransactionOptions {
  const config: unknown = Reflect.get(originalOf(client), '_engineConfig')
  const options: unknown = typeof config === 'object' && config !== null && Reflect.get(config, 'transactionOptions')
  if (typeof options !== 'object' || options === null) return {}
  const { isolationLevel, timeout, maxWait } = options as Readonly<Record<string, unknown>>
  return {
    ...(typeof isolationLevel === 'string' ? { isolationLevel } : {}),
    ...(typeof timeout === 'number' ? { timeout } : {}),
    ...(typeof maxWait === 'number' ? { maxWait } : {}),
  }
}
