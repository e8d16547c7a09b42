/** Everything in one transaction that is rolled back in the end: for tests on a real database. */
import { TransactionClosedError } from '../errors.js'
import type { BeginOptions } from '../transaction/connection.js'
import { Turn } from '../transaction/locks.js'
import type { Transactions } from '../transaction/transactions.js'
import type { Connections, DriverConnection } from './connections.js'
import type { Dialect } from './dialect.js'
import { readDriverError, type SqlDriverAdapter, type SqlQuery, type SqlResultSet, statement } from './driver.js'
import { translateError } from './translate-error.js'

/** What a rehearsal needs of the datastore around it. */
export interface RehearsalHost {
  readonly dialect: Dialect
  readonly connections: Connections
  readonly transactions: Transactions<DriverConnection>
}

/**
 * The connections of a datastore, all of them the one connection of an open transaction. A transaction that is begun here is a
 * savepoint; statements by themselves have one each, since on some databases a failure would end everything. Transactions
 * take turns; one that is begun inside of another is a part of it, and takes turns with the other parts.
 */
export class Rehearsal implements Connections {
  readonly inTransaction = false
  /** Everything is undone in the end: a unit of work is a savepoint. */
  readonly lone = undefined
  readonly givesInsertIds: boolean
  readonly #host: RehearsalHost
  readonly #connection: DriverConnection
  /** Between transactions that are in no other. */
  readonly #turn = new Turn()
  /** Between those that are in the same. */
  readonly #turnsInside = new WeakMap<object, Turn>()
  /** Between statements. */
  readonly #wire = new Turn()
  readonly #over = new AbortController()
  #savepoints = 0
  #lost: { readonly cause: unknown } | undefined
  #ended: Promise<void> | undefined

  constructor(host: RehearsalHost, connection: DriverConnection) {
    this.#host = host
    this.#connection = connection
    this.givesInsertIds = connection.givesInsertIds
  }

  async begin(options: BeginOptions): Promise<DriverConnection> {
    const turn = await this.#takeTurn(options.signal)
    const name = this.#newName()
    try {
      await this.send((connection) => connection.savepoint(name))
    } catch (error) {
      turn.end()
      throw translateError(this.#host.dialect, error, 'begin a transaction')
    }
    return new Part(this, { dialect: this.#host.dialect, name, turn })
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    return await this.#byItself((connection) => connection.query(query))
  }

  async execute(query: SqlQuery): Promise<number> {
    return await this.#byItself((connection) => connection.execute(query))
  }

  async script(sql: string): Promise<void> {
    await this.#byItself((connection) => connection.execute(statement(sql)))
  }

  async adapter(): Promise<SqlDriverAdapter> {
    return await this.#host.connections.adapter()
  }

  abandon(): void {
    this.#connection.abandon?.()
  }

  async disconnect(): Promise<void> {
    await this.end()
  }

  async close(): Promise<void> {
    await this.end()
  }

  /**
   * Sends one thing after the other.
   *
   * @throws `TransactionClosedError` once it is over, or the database has ended the transaction: what is sent then would be
   *   stored for good
   */
  async send<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T> {
    await this.#wire.take()
    try {
      if (this.#over.signal.aborted) throw overError()
      if (this.#lost !== undefined) throw lostError(this.#lost.cause)
      return await work(this.#connection)
    } catch (error) {
      const damage = this.#host.dialect.damageOf(error, readDriverError(error))
      if (damage === 'transaction' || this.#connection.hasEnded) this.#lose(error)
      throw error
    } finally {
      this.#wire.end()
    }
  }

  /** Whether the database has ended its transaction. */
  get isLost(): boolean {
    return this.#lost !== undefined
  }

  /** Keeps what came after a savepoint; when that is not possible it is undone. */
  async keep(name: string): Promise<void> {
    await this.send((connection) => this.#keep(connection, name))
  }

  /** Undoes what came after a savepoint. */
  async undo(name: string): Promise<void> {
    await this.send((connection) => this.#undo(connection, name))
  }

  /** Undoes everything, after the statement that is under way. Never rejects: where the connection fails, all is undone. */
  async end(): Promise<void> {
    this.#ended ??= this.#end()
    await this.#ended
  }

  async #end(): Promise<void> {
    this.#over.abort(overError())
    await this.#wire.take()
    await this.#connection.rollback().catch(ignore)
    this.#wire.end()
  }

  async #byItself<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const turn = await this.#takeTurn()
    const name = this.#newName()
    try {
      return await this.send(async (connection) => {
        await connection.savepoint(name)
        let result: T
        try {
          result = await work(connection)
        } catch (error) {
          await this.#undo(connection, name, error)
          throw error
        }
        await this.#keep(connection, name)
        return result
      })
    } finally {
      turn.end()
    }
  }

  async #takeTurn(signal?: () => AbortSignal): Promise<Turn> {
    const turn = this.#turnHere()
    if (turn.tryTake()) return turn
    const over = this.#over.signal
    await turn.take(signal === undefined ? over : AbortSignal.any([signal(), over]))
    return turn
  }

  #turnHere(): Turn {
    for (const session of this.#host.transactions.around()) {
      if (!session.begun) continue
      // The code that is running cannot wait for the end of what it is inside of.
      const turn = this.#turnsInside.get(session) ?? new Turn()
      this.#turnsInside.set(session, turn)
      return turn
    }
    return this.#turn
  }

  async #keep(connection: DriverConnection, name: string): Promise<void> {
    try {
      await connection.release(name)
    } catch (error) {
      await this.#undo(connection, name, error)
      throw error
    }
  }

  /** @param cause - why it is undone, undefined when that was asked for */
  async #undo(connection: DriverConnection, name: string, cause?: unknown): Promise<void> {
    try {
      await connection.rollbackTo(name)
    } catch (error) {
      // Gone with its savepoints: MariaDB commits at CREATE TABLE, and rolls everything back after a deadlock.
      this.#lose(cause ?? error)
    }
  }

  #lose(cause: unknown): void {
    this.#lost ??= { cause }
  }

  #newName(): string {
    this.#savepoints += 1
    return `es_test_${this.#savepoints}`
  }
}

/** What is said of statements that come after the end. */
export function overError(): TransactionClosedError {
  return new TransactionClosedError(
    'A statement was sent after the end of withRollback(). Await every database call before its function ends.',
  )
}

function lostError(cause: unknown): TransactionClosedError {
  return new TransactionClosedError(
    'A statement was not sent: the transaction of withRollback() has ended before its time, so it would be stored for good. ' +
      'The cause is a failure after which the database rolls back everything, or a statement that commits, such as CREATE TABLE on MariaDB.',
    { cause },
  )
}

interface PartOptions {
  readonly dialect: Dialect
  readonly name: string
  /** Which it has until its end. */
  readonly turn: Turn
}

/** A transaction in a rehearsal. */
class Part implements DriverConnection {
  readonly inTransaction = true
  readonly givesInsertIds: boolean
  readonly #rehearsal: Rehearsal
  readonly #options: PartOptions
  #hasEnded = false

  constructor(rehearsal: Rehearsal, options: PartOptions) {
    this.#rehearsal = rehearsal
    this.#options = options
    this.givesInsertIds = rehearsal.givesInsertIds
  }

  get hasEnded(): boolean {
    return this.#rehearsal.isLost
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    return await this.#rehearsal.send((connection) => connection.query(query))
  }

  async execute(query: SqlQuery): Promise<number> {
    return await this.#rehearsal.send((connection) => connection.execute(query))
  }

  async commit(): Promise<void> {
    const { dialect, name } = this.#options
    try {
      await this.#rehearsal.keep(name)
    } catch (error) {
      throw translateError(dialect, error, 'commit the transaction')
    } finally {
      this.#endTurn()
    }
  }

  async rollback(): Promise<void> {
    try {
      await this.#rehearsal.undo(this.#options.name)
    } finally {
      this.#endTurn()
    }
  }

  /** A commit that has failed is rolled back as well. */
  #endTurn(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#options.turn.end()
  }

  async savepoint(name: string): Promise<void> {
    await this.#rehearsal.send((connection) => connection.savepoint(this.#own(name)))
  }

  async rollbackTo(name: string): Promise<void> {
    await this.#rehearsal.send((connection) => connection.rollbackTo(this.#own(name)))
  }

  async release(name: string): Promise<void> {
    await this.#rehearsal.send((connection) => connection.release(this.#own(name)))
  }

  /** Names are unique in a transaction, and there are several here: MariaDB forgets a savepoint when its name is used again. */
  #own(name: string): string {
    return `${this.#options.name}_${name}`
  }
}

function ignore(): void {}
