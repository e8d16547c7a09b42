/**
 * The shape of a Prisma driver adapter, so that nothing here imports one.
 *
 * @see `@prisma/driver-adapter-utils` 7, whose public interfaces these equal
 */
import type { DriverProvider } from './dialects/provider.js'

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
export interface SqlArgumentType {
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

const ownStatements = new WeakSet<object>()

/** Whether `statement` made it: the others come from Prisma. */
export function isOwnStatement(query: object): boolean {
  return ownStatements.has(query)
}

/** Makes a statement whose arguments have the types that their JavaScript values show. */
export function statement(sql: string, args: unknown[] = []): SqlQuery {
  const query = { sql, args, argTypes: args.map(() => unknownType) }
  ownStatements.add(query)
  return query
}
