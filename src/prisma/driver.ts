/**
 * The shape of a Prisma driver adapter, and of what it, its driver or Prisma throws, so that nothing here imports one: the classes
 * differ between copies and versions.
 *
 * @see `@prisma/driver-adapter-utils` 7, whose public interfaces these equal
 */
import { createHash } from 'node:crypto'
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

/** On the statements of this library: nobody else has it. A `WeakSet` of them would cost more than all the rest of a statement. */
const own = Symbol('eventsourcing-prisma: own statement')

/** Whether `statement` made it: the others come from Prisma. */
export function isOwnStatement(query: object): boolean {
  return own in query
}

/** Makes a statement whose arguments have the types that their JavaScript values show. */
export function statement(sql: string, args: unknown[] = []): SqlQuery {
  const query = { sql, args, argTypes: args.map(() => unknownType), [own]: true }
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
 * statements (PgBouncer before 1.21).
 *
 * @returns the statement's name; empty for a statement that is not the library's, which means none
 *
 * @example
 * new PrismaPg({ connectionString }, { statementNameGenerator: preparedStatementName })
 */
export function preparedStatementName(query: Pick<SqlQuery, 'sql' | 'args'>): string {
  // Without arguments the driver sends the text in one message, for which there is nothing to prepare.
  if (query.args.length === 0 || !isOwnStatement(query)) return ''
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
  const message = firstText(cause['originalMessage'], cause['message'], cause['cause']) ?? cause['kind']
  return { kind: cause['kind'], code, message }
}

function firstText(...values: readonly unknown[]): string | undefined {
  const found = values.find((value) => typeof value === 'string' || typeof value === 'number')
  return found === undefined ? undefined : `${found}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
