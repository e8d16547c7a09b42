/** A transaction on an SQLite connection that nobody else uses meanwhile. */
import type { DriverConnection } from '../connections.js'
import type { Dialect } from '../dialect.js'
import { type SqlDriverAdapter, type SqlQuery, type SqlResultSet, statement } from '../driver.js'
import { TransactionGuard } from '../transaction-guard.js'
import { translateError } from '../translate-error.js'

/** Ends the use of a connection. @param isSpoiled - whether it must not be used again */
export type GiveBack = (isSpoiled: boolean) => Promise<void>

/** Has begun; gives the connection back at its end. */
export class SqliteConnection implements DriverConnection {
  readonly inTransaction = true
  readonly givesInsertIds = true
  readonly #adapter: SqlDriverAdapter
  readonly #dialect: Dialect
  readonly #giveBack: GiveBack
  readonly #guard: TransactionGuard
  #ended = false

  constructor(adapter: SqlDriverAdapter, dialect: Dialect, giveBack: GiveBack) {
    this.#adapter = adapter
    this.#dialect = dialect
    this.#giveBack = giveBack
    this.#guard = new TransactionGuard(dialect, adapter)
  }

  get hasEnded(): boolean {
    return this.#guard.hasEnded
  }

  /** libsql's adapter sends COMMIT itself, that of better-sqlite3 has Prisma send it. */
  get usesPhantomQuery(): boolean {
    return this.#adapter.adapterName === '@prisma/adapter-libsql'
  }

  query(query: SqlQuery): Promise<SqlResultSet> {
    return this.#guard.run(query, () => this.#adapter.queryRaw(query))
  }

  execute(query: SqlQuery): Promise<number> {
    return this.#guard.run(query, () => this.#adapter.executeRaw(query))
  }

  async commit(): Promise<void> {
    this.#ended = true
    try {
      this.#guard.assertOpen()
      await this.#send('COMMIT')
    } catch (error) {
      // A COMMIT that fails leaves the transaction open, and the next one would find itself inside. And libsql 0.17 keeps
      // the failed statement, and with it an old snapshot, on which no later transaction can write.
      await this.#send('ROLLBACK').catch(ignore)
      await this.#giveBack(true)
      throw translateError(this.#dialect, error, 'commit the transaction')
    }
    await this.#giveBack(false)
  }

  async rollback(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      await this.#send('ROLLBACK')
    } finally {
      await this.#giveBack(false)
    }
  }

  async savepoint(name: string): Promise<void> {
    await this.execute(statement(`SAVEPOINT ${name}`))
  }

  async rollbackTo(name: string): Promise<void> {
    await this.execute(statement(`ROLLBACK TO ${name}`))
    await this.release(name)
  }

  async release(name: string): Promise<void> {
    await this.execute(statement(`RELEASE ${name}`))
  }

  async #send(sql: string): Promise<void> {
    await this.#adapter.executeRaw(statement(sql))
  }
}

function ignore(): void {}
