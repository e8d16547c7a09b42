/** Everything in one transaction that is rolled back in the end: for tests on a real database. */
import { TransactionClosedError } from '../errors.js'
import type { BeginOptions } from '../transaction/connection.js'
import { type EndTurn, Turn } from '../transaction/turn.js'
import type { Connections, DriverConnection } from './connections.js'
import type { Dialect } from './dialect.js'
import { type SqlDriverAdapter, type SqlQuery, type SqlResultSet, statement } from './driver.js'
import { translateError } from './translate-error.js'

/** What a rehearsal needs of the datastore around it. */
export interface RehearsalHost {
  readonly dialect: Dialect
  readonly connections: Connections
  /** Whether the code that is running is inside of a transaction that has begun: it cannot wait for that one's end. */
  readonly isInside: () => boolean
}

const nothing: EndTurn = () => {}

/**
 * The connections of a datastore, all of them the one connection of an open transaction. A transaction that is begun here is a
 * savepoint; statements by themselves have one each, since on some databases a failure would end everything. Transactions
 * take turns; one that is begun inside of another is a part of it.
 */
export class Rehearsal implements Connections {
  readonly inTransaction = false
  readonly givesInsertIds: boolean
  readonly #host: RehearsalHost
  readonly #connection: DriverConnection
  /** Between transactions. */
  readonly #turn = new Turn()
  /** Between statements. */
  readonly #wire = new Turn()
  #savepoints = 0
  #isOver = false

  constructor(host: RehearsalHost, connection: DriverConnection) {
    this.#host = host
    this.#connection = connection
    this.givesInsertIds = connection.givesInsertIds
  }

  async begin(options: BeginOptions): Promise<DriverConnection> {
    const endTurn = this.#host.isInside() ? nothing : await this.#turn.take(options.signal())
    const name = this.#newName()
    try {
      await this.send((connection) => connection.savepoint(name))
    } catch (error) {
      endTurn()
      throw translateError(this.#host.dialect, error, 'begin a transaction')
    }
    return new Part(this, { dialect: this.#host.dialect, name, endTurn })
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

  async close(): Promise<void> {
    await this.#host.connections.close()
  }

  /** Sends one thing after the other. @throws `TransactionClosedError` once it is over */
  async send<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const endTurn = await this.#wire.take()
    try {
      if (this.#isOver) throw overError()
      return await work(this.#connection)
    } finally {
      endTurn()
    }
  }

  /** Undoes everything, after the statement that is under way. */
  async end(): Promise<void> {
    const endTurn = await this.#wire.take()
    this.#isOver = true
    try {
      await this.#connection.rollback()
    } finally {
      endTurn()
    }
  }

  async #byItself<T>(work: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const endTurn = this.#host.isInside() ? nothing : await this.#turn.take()
    const name = this.#newName()
    try {
      return await this.send(async (connection) => {
        await connection.savepoint(name)
        let result: T
        try {
          result = await work(connection)
        } catch (error) {
          // Where the failure has ended the transaction there is no savepoint any more: that it is missing explains nothing.
          await connection.rollbackTo(name).catch(() => undefined)
          throw error
        }
        await connection.release(name)
        return result
      })
    } finally {
      endTurn()
    }
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

interface PartOptions {
  readonly dialect: Dialect
  readonly name: string
  readonly endTurn: EndTurn
}

/** A transaction in a rehearsal. */
class Part implements DriverConnection {
  readonly inTransaction = true
  readonly givesInsertIds: boolean
  readonly #rehearsal: Rehearsal
  readonly #options: PartOptions

  constructor(rehearsal: Rehearsal, options: PartOptions) {
    this.#rehearsal = rehearsal
    this.#options = options
    this.givesInsertIds = rehearsal.givesInsertIds
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    return await this.#rehearsal.send((connection) => connection.query(query))
  }

  async execute(query: SqlQuery): Promise<number> {
    return await this.#rehearsal.send((connection) => connection.execute(query))
  }

  async commit(): Promise<void> {
    const { dialect, name, endTurn } = this.#options
    try {
      await this.#rehearsal.send((connection) => connection.release(name))
    } catch (error) {
      throw translateError(dialect, error, 'commit the transaction')
    } finally {
      endTurn()
    }
  }

  async rollback(): Promise<void> {
    const { name, endTurn } = this.#options
    try {
      await this.#rehearsal.send((connection) => connection.rollbackTo(name))
    } finally {
      endTurn()
    }
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
