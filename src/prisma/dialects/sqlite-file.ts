/** The file of an SQLite database, to which one transaction writes at a time, and a transaction on a connection to it. */
import { realpathSync } from 'node:fs'
import { NotSupportedError } from '../../errors.js'
import type { BeginOptions } from '../../transaction/connection.js'
import { WaitingLine, type WaitOptions } from '../connection-pool.js'
import type { DriverConnection } from '../connections.js'
import type { Dialect } from '../dialect.js'
import { type SqlDriverAdapter, statement } from '../driver.js'
import { GuardedConnection } from '../transaction-guard.js'
import { translateError } from '../translate-error.js'

/** How to wait for the turn. */
type TurnOptions = Pick<BeginOptions, 'heldByAny' | 'maxWaitMs' | 'signal' | 'waits'> & Pick<WaitOptions, 'maxWaiting'>

/** After so long in a row the file is left alone for a moment, where others want it. */
const longestStretchMs = 50

/** So long: others who wait for it look again sooner. */
const restMs = 15

/** So long it counts that others had it. */
const othersCountForMs = 10_000

/** By their paths. A file that no datastore uses any more is forgotten with its line. */
const files = new Map<string, WeakRef<SqliteFile>>()
const forgotten = new FinalizationRegistry<string>((path) => {
  if (files.get(path)?.deref() === undefined) files.delete(path)
})

/**
 * Where the transactions of this process take turns. They could wait for each other by SQLite's own lock, as they do for other
 * processes, but that serves nobody in the order in which they came. Other processes cannot stand in this line: where there are any, it
 * stops now and then, so that they find the file free.
 */
export class SqliteFile {
  readonly #line = new WaitingLine({ places: 1, what: 'the only writer of the SQLite file' })
  #writer: object | undefined
  #begunAt = 0
  #endedAt = 0
  #stretchMs = 0
  #othersHadItAt = Number.NEGATIVE_INFINITY

  /** @param path - undefined for a database in memory, which belongs to one datastore */
  static at(path: string | undefined): SqliteFile {
    if (path === undefined) return new SqliteFile()
    const real = realpathSync(path)
    const known = files.get(real)?.deref()
    if (known !== undefined) return known
    const file = new SqliteFile()
    files.set(real, new WeakRef(file))
    forgotten.register(file, real)
    return file
  }

  /**
   * Waits for the turn of a transaction.
   *
   * @throws `NotSupportedError` inside of the transaction that has the turn, which would wait for itself; `OverloadedError`
   */
  async takeTurn({ heldByAny, maxWaitMs, maxWaiting, signal, waits }: TurnOptions): Promise<void> {
    if (this.#line.tryEnter()) {
      this.#begunAt = performance.now()
      return
    }
    if (heldByAny.some((connection) => connection === this.#writer)) throw insideError()
    const hasWaited = waits?.()
    try {
      await this.#line.enter({ maxWaitMs, maxWaiting, signal: signal() })
    } finally {
      hasWaited?.()
    }
    this.#begunAt = performance.now()
  }

  /** Waits for the turn of a statement that is a transaction by itself. @throws `OverloadedError` */
  async takeShortTurn(options: Pick<WaitOptions, 'maxWaitMs' | 'maxWaiting'>): Promise<void> {
    if (!this.#line.tryEnter()) await this.#line.enter(options)
    this.#begunAt = performance.now()
  }

  /** Whose turn it is has begun its transaction. */
  begun(writer: object): void {
    this.#writer = writer
    this.#begunAt = performance.now()
  }

  /** Whose turn it is has found that somebody else has the file: another process, or another client of this one. */
  othersHaveIt(): void {
    this.#othersHadItAt = performance.now()
  }

  endTurn(): void {
    const now = performance.now()
    const hasRested = this.#begunAt - this.#endedAt > restMs
    this.#stretchMs = (hasRested ? 0 : this.#stretchMs) + now - this.#begunAt
    this.#writer = undefined
    this.#endedAt = now
    if (this.#stretchMs < longestStretchMs || now - this.#othersHadItAt > othersCountForMs) return this.#line.leave()
    this.#stretchMs = 0
    setTimeout(() => this.#line.leave(), restMs)
  }
}

function insideError(): NotSupportedError {
  return new NotSupportedError(
    'Could not begin a transaction: the code is inside another one that has the only writer of the same SQLite file, perhaps by ' +
      'another datastore, so it would wait for that for ever. Do both in one transaction of one datastore, or one after the other.',
  )
}

/** Ends the use of a connection. @param isSpoiled - whether it must not be used again */
type GiveBack = (isSpoiled: boolean) => Promise<void>

/** Has begun; gives the connection back at its end. */
export class SqliteConnection extends GuardedConnection implements DriverConnection {
  readonly #adapter: SqlDriverAdapter
  readonly #giveBack: GiveBack
  #ended = false

  constructor(adapter: SqlDriverAdapter, dialect: Dialect, giveBack: GiveBack) {
    super(dialect, adapter)
    this.#adapter = adapter
    this.#giveBack = giveBack
  }

  /** libsql's adapter sends COMMIT itself, that of better-sqlite3 has Prisma send it. */
  get usesPhantomQuery(): boolean {
    return this.#adapter.adapterName === '@prisma/adapter-libsql'
  }

  async commit(): Promise<void> {
    this.#ended = true
    try {
      if (this.hasEnded) this.assertOpen()
      await this.#adapter.executeRaw(commit)
    } catch (error) {
      // A COMMIT that fails leaves the transaction open, and the next one would find itself inside. And libsql 0.17 keeps
      // the failed statement, and with it an old snapshot, on which no later transaction can write.
      await this.#adapter.executeRaw(rollback).catch(ignore)
      await this.#giveBack(true)
      throw translateError(this.dialect, error, 'commit the transaction')
    }
    await this.#giveBack(false)
  }

  async rollback(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      await this.#adapter.executeRaw(rollback)
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
}

const commit = statement('COMMIT')
const rollback = statement('ROLLBACK')

function ignore(): void {}
