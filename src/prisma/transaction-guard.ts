/** Keeps a transaction on a connection from being ended by a statement, and knows when that has happened all the same. */
import { ProgrammingError } from '../errors.js'
import type { Dialect, StatementEffect } from './dialect.js'
import {
  isOwnStatement,
  readDriverError,
  type SqlQuery,
  type SqlQueryable,
  type SqlResultSet,
  statement,
} from './driver.js'

/** What a statement may do that runs a procedure, say, is seen by whether this is still there afterwards. */
const probe = 'es_guard'

/**
 * Judges a statement.
 *
 * @param inTransaction - whether it is sent in a transaction
 * @throws `ProgrammingError` for a statement of a user that begins, ends or divides transactions, or would commit this one
 */
export function checkedEffect(dialect: Dialect, query: SqlQuery, inTransaction: boolean): StatementEffect {
  const effect = isOwnStatement(query) ? 'none' : dialect.effectOf(query.sql)
  if (effect === 'controls') throw controlError(query)
  if (effect === 'commits' && inTransaction) throw commitError(query)
  return effect
}

/** A transaction that is watched over. */
export abstract class GuardedConnection {
  readonly inTransaction = true
  readonly givesInsertIds = true
  protected readonly dialect: Dialect
  readonly #connection: SqlQueryable
  #ended: { readonly cause: unknown } | undefined

  /** @param connection - on which it has begun */
  constructor(dialect: Dialect, connection: SqlQueryable) {
    this.dialect = dialect
    this.#connection = connection
  }

  /** @throws as `#send` */
  query(query: SqlQuery): Promise<SqlResultSet> {
    return this.#send(query, () => this.#connection.queryRaw(query))
  }

  /** @throws as `#send` */
  execute(query: SqlQuery): Promise<number> {
    return this.#send(query, () => this.#connection.executeRaw(query))
  }

  /** Whether the database has ended the transaction by itself. */
  get hasEnded(): boolean {
    return this.#ended !== undefined
  }

  /** @throws `ProgrammingError` when the database has ended the transaction: what is sent now would be stored at once */
  protected assertOpen(): void {
    if (this.#ended !== undefined) throw endedError(this.#ended.cause)
  }

  /** @throws `ProgrammingError` for a statement that must not be sent, and for one that has ended the transaction without failing */
  #send<T>(query: SqlQuery, send: () => Promise<T>): Promise<T> {
    if (this.#ended !== undefined) throw endedError(this.#ended.cause)
    if (checkedEffect(this.dialect, query, true) === 'mayCommit') return this.#probed(query, send)
    return this.dialect.hasEndedAfter === undefined ? send() : this.#sent(send)
  }

  async #probed<T>(query: SqlQuery, send: () => Promise<T>): Promise<T> {
    await this.#connection.executeRaw(statement(`SAVEPOINT ${probe}`))
    let result: T
    try {
      result = await this.#sent(send)
    } catch (error) {
      if (!this.hasEnded && (await this.#isProbeGone())) this.#ended = { cause: error }
      throw error
    }
    if (!(await this.#isProbeGone())) return result
    const cause = committedError(query)
    this.#ended = { cause }
    throw cause
  }

  async #sent<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send()
    } catch (error) {
      if (await this.#endsWith(error)) this.#ended = { cause: error }
      throw error
    }
  }

  async #endsWith(error: unknown): Promise<boolean> {
    const facts = readDriverError(error)
    // Where the error says so itself there is nobody to ask.
    if (this.dialect.damageOf(error, facts) === 'transaction') return true
    return (await this.dialect.hasEndedAfter?.(this.#connection, facts)) === true
  }

  async #isProbeGone(): Promise<boolean> {
    try {
      await this.#connection.executeRaw(statement(`RELEASE SAVEPOINT ${probe}`))
      return false
    } catch {
      return true
    }
  }
}

function shown({ sql }: SqlQuery): string {
  const text = sql.trim().replace(/\s+/g, ' ')
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

function controlError(query: SqlQuery): ProgrammingError {
  return new ProgrammingError(
    `The statement was not sent: ${shown(query)} — it begins, ends or divides a transaction, which is the datastore's to do. ` +
      'Use datastore.transaction(); for a part that can fail alone, its propagation "nested"; to undo it, tx.rollbackOnly() or an error.',
  )
}

function commitError(query: SqlQuery): ProgrammingError {
  return new ProgrammingError(
    `The statement was not sent: ${shown(query)} — this database commits before it runs such a statement, so the transaction could not ` +
      'be undone any more. Run it in a migration, or outside of transactions (propagation "notSupported").',
  )
}

function committedError(query: SqlQuery): ProgrammingError {
  return new ProgrammingError(
    `A statement has ended the transaction that it was sent in: ${shown(query)} — what was written before it may be stored for good, ` +
      'and nothing more is sent. Take COMMIT, ROLLBACK and what commits by itself out of the procedure.',
  )
}

function endedError(cause: unknown): ProgrammingError {
  return new ProgrammingError(
    'A statement was not sent: the database has ended the transaction, as the cause says, and would store it at once.',
    { cause },
  )
}
