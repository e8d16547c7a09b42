/** A connected driver adapter of which every statement is seen, and may be kept back. */
import { dialectOf } from '../prisma/dialects/by-provider.js'
import {
  type SqlDriverAdapter,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQueryable,
  statement,
} from '../prisma/driver.js'
import { isCommit, type Outgoing } from './fault.js'

/** What every statement goes through. */
export interface Gate {
  pass<T>(outgoing: Outgoing<T>): Promise<T>
  /** What the server calls the connection of a transaction that has begun; undefined where that is of no use. */
  connectionIdOf(transaction: SqlQueryable): Promise<unknown>
  /** A transaction has begun. @param owner - what it goes by until its end */
  opened(owner: object): void
  ended(owner: object): void
  disposed(adapter: SqlDriverAdapter): void
}

/** Lets all that is sent on an adapter pass through the gate. */
export function watchedAdapter(inner: SqlDriverAdapter, gate: Gate): SqlDriverAdapter {
  const { singleWriter } = dialectOf(inner.provider)
  const pass = async <T>(sql: string, send: () => Promise<T>): Promise<T> => {
    const outgoing = { sql, connection: inner, connectionId: undefined, inTransaction: false, send }
    const result = await gate.pass(outgoing)
    // Where there is one writer an adapter is one connection, and some begin their transactions by a statement.
    if (singleWriter) followTransaction(sql, inner, gate)
    return result
  }
  return {
    provider: inner.provider,
    adapterName: inner.adapterName,
    queryRaw: (query) => pass(query.sql, () => inner.queryRaw(query)),
    executeRaw: (query) => pass(query.sql, () => inner.executeRaw(query)),
    executeScript: (script) => pass(script, () => inner.executeScript(script)),
    startTransaction: (isolationLevel) => startTransaction(inner, gate, isolationLevel),
    ...(inner.getConnectionInfo === undefined ? {} : { getConnectionInfo: inner.getConnectionInfo.bind(inner) }),
    ...(inner.underlyingDriver === undefined ? {} : { underlyingDriver: inner.underlyingDriver.bind(inner) }),
    async dispose() {
      gate.disposed(inner)
      gate.ended(inner)
      await inner.dispose()
    },
  }
}

function followTransaction(sql: string, inner: SqlDriverAdapter, gate: Gate): void {
  if (/^\s*BEGIN\b/i.test(sql)) gate.opened(inner)
  else if (isCommit(sql) || /^\s*ROLLBACK\b(?!\s+TO\b)/i.test(sql)) gate.ended(inner)
}

async function startTransaction(
  inner: SqlDriverAdapter,
  gate: Gate,
  isolationLevel: SqlIsolationLevel | undefined,
): Promise<SqlDriverTransaction> {
  const begin = async (): Promise<Begun> => {
    const transaction = await inner.startTransaction(isolationLevel)
    begun = { transaction, connectionId: await gate.connectionIdOf(transaction) }
    return begun
  }
  const outgoing = {
    sql: 'BEGIN',
    connection: inner,
    inTransaction: true,
    get connectionId() {
      return begun?.connectionId
    },
    send: begin,
  }
  let begun: Begun | undefined
  try {
    const { transaction, connectionId } = await gate.pass(outgoing)
    gate.opened(transaction)
    return watchedTransaction(transaction, gate, connectionId)
  } catch (error) {
    if (begun !== undefined) await abandon(begun.transaction)
    throw error
  }
}

interface Begun {
  readonly transaction: SqlDriverTransaction
  readonly connectionId: unknown
}

/** Gives back the connection of a transaction that nobody has heard of. */
async function abandon(transaction: SqlDriverTransaction): Promise<void> {
  if (!transaction.options.usePhantomQuery) await transaction.executeRaw(statement('ROLLBACK')).catch(ignore)
  await transaction.rollback().catch(ignore)
}

function watchedTransaction(inner: SqlDriverTransaction, gate: Gate, connectionId: unknown): SqlDriverTransaction {
  const pass = <T>(sql: string, send: () => Promise<T>): Promise<T> =>
    gate.pass({ sql, connection: inner, connectionId, inTransaction: true, send })
  const end = async (sql: string, send: () => Promise<void>): Promise<void> => {
    let isSent = false
    const sendOnce = async (): Promise<void> => {
      isSent = true
      await send()
    }
    try {
      // Where these only give the connection back, nothing is sent that could go wrong.
      await (inner.options.usePhantomQuery ? pass(sql, sendOnce) : sendOnce())
    } finally {
      // Such an adapter gives its connection back also when the statement fails: one that was not sent does so here.
      if (!isSent) await inner.rollback().catch(ignore)
      gate.ended(inner)
    }
  }
  return {
    provider: inner.provider,
    adapterName: inner.adapterName,
    options: inner.options,
    queryRaw: (query) => pass(query.sql, () => inner.queryRaw(query)),
    executeRaw: (query) => pass(query.sql, () => inner.executeRaw(query)),
    commit: () => end('COMMIT', () => inner.commit()),
    rollback: () => end('ROLLBACK', () => inner.rollback()),
    ...watchedSavepoints(inner, pass),
  }
}

/** What an adapter has of them: the caller sends the statements itself where a member is missing. */
function watchedSavepoints(
  inner: SqlDriverTransaction,
  pass: (sql: string, send: () => Promise<void>) => Promise<void>,
): Pick<SqlDriverTransaction, 'createSavepoint' | 'rollbackToSavepoint' | 'releaseSavepoint'> {
  const create = inner.createSavepoint?.bind(inner)
  const rollbackTo = inner.rollbackToSavepoint?.bind(inner)
  const release = inner.releaseSavepoint?.bind(inner)
  return {
    ...(create && { createSavepoint: (name) => pass(`SAVEPOINT ${name}`, () => create(name)) }),
    ...(rollbackTo && { rollbackToSavepoint: (name) => pass(`ROLLBACK TO ${name}`, () => rollbackTo(name)) }),
    ...(release && { releaseSavepoint: (name) => pass(`RELEASE SAVEPOINT ${name}`, () => release(name)) }),
  }
}

function ignore(): void {}
