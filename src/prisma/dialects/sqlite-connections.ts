/**
 * Connections of one SQLite database: a single writer for which transactions take turns, and readers beside it.
 *
 * Prisma's adapters have one connection each, which every statement joins: one that another request sends would run
 * inside whatever transaction is open and vanish with its rollback. Here a transaction has its connection for itself,
 * and takes the write lock when it begins (BEGIN IMMEDIATE), so that it never fails later for having read first.
 *
 * @see https://www.sqlite.org/wal.html
 */
import { setTimeout as delay } from 'node:timers/promises'
import { NotSupportedError } from '../../errors.js'
import type { BeginOptions } from '../../transaction/connection.js'
import { type Connections, closedError, type DriverConnection } from '../connections.js'
import type { ConnectionSettings } from '../dialect.js'
import { isRead, type SqlDriverAdapter, type SqlQuery, type SqlResultSet, statement } from '../driver.js'
import { readDriverError } from '../driver-error.js'
import { checkedEffect } from '../transaction-guard.js'
import { translateError } from '../translate-error.js'
import { WaitingLine } from '../waiting-line.js'
import { SqliteConnection } from './sqlite-connection.js'

/** How long a reader waits inside SQLite while another process recovers or truncates the log. */
const readerBusyTimeoutMs = 1_000

/** How long to wait for another process before the next try. */
const firstRetryMs = 1
const longestRetryMs = 20

interface Opened {
  readonly writer: SqlDriverAdapter
  readonly reader: SqlDriverAdapter
  /** An in-memory database is gone from other connections, so there is one, and reads take turns too. */
  readonly shared: boolean
}

/** Opens the connections at the first statement. */
export class SqliteConnections implements Connections {
  readonly inTransaction = false
  readonly givesInsertIds = true
  readonly #settings: ConnectionSettings
  readonly #line: WaitingLine
  readonly #idleReaders: SqlDriverAdapter[] = []
  #opened: Promise<Opened> | undefined
  #isClosed = false

  constructor(settings: ConnectionSettings) {
    this.#settings = settings
    this.#line = new WaitingLine({ places: 1, maxWaiting: settings.maxWaiting, what: 'its only writer' })
  }

  async adapter(): Promise<SqlDriverAdapter> {
    return (await this.#open()).reader
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    checkedEffect(this.#settings.dialect, query, false)
    return await this.#byItself(query.sql, (adapter) => adapter.queryRaw(query))
  }

  async execute(query: SqlQuery): Promise<number> {
    checkedEffect(this.#settings.dialect, query, false)
    return await this.#byItself(query.sql, (adapter) => adapter.executeRaw(query))
  }

  async script(sql: string): Promise<void> {
    await this.#byItself('', (adapter) => adapter.executeScript(sql))
  }

  async begin(options: BeginOptions): Promise<DriverConnection> {
    try {
      const opened = await this.#open()
      if (options.isolationLevel !== undefined && options.isolationLevel !== 'Serializable') {
        throw new NotSupportedError(
          `Could not begin a transaction with isolation level ${options.isolationLevel}: SQLite has Serializable only.`,
        )
      }
      if (options.readOnly && !opened.shared) return await this.#beginReading()
      return await this.#beginWriting(options)
    } catch (error) {
      throw translateError(this.#settings.dialect, error, 'begin a transaction')
    }
  }

  /** What runs in SQLite runs in this process: there is nothing to abandon. */
  abandon(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    await this.disconnect()
  }

  async disconnect(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    if (opened === undefined) return
    const { writer, reader, shared } = await opened
    await writer.dispose()
    if (!shared) await reader.dispose()
    for (const idle of this.#idleReaders.splice(0)) await idle.dispose()
  }

  async #byItself<T>(sql: string, run: (adapter: SqlDriverAdapter) => Promise<T>): Promise<T> {
    const { reader, shared } = await this.#open()
    if (!shared && isRead(sql)) return await run(reader)
    const { deadlineMs, maxWaitMs } = this.#settings
    if (!this.#line.tryEnter()) await this.#line.enter({ maxWaitMs })
    try {
      return await untilNotBusy(
        async () => await this.#onWriter(run),
        () => AbortSignal.timeout(deadlineMs),
      )
    } finally {
      this.#line.leave()
    }
  }

  async #beginWriting(options: BeginOptions): Promise<DriverConnection> {
    await this.#takeTurn(options)
    try {
      const begin = statement(options.readOnly ? 'BEGIN' : 'BEGIN IMMEDIATE')
      const beginOn = async (adapter: SqlDriverAdapter): Promise<SqlDriverAdapter> => {
        await adapter.executeRaw(begin)
        return adapter
      }
      const writer = await untilNotBusy(async () => await this.#onWriter(beginOn), options.signal)
      return new SqliteConnection(writer, this.#settings.dialect, async (isSpoiled) => {
        if (isSpoiled) await this.#renewWriter()
        this.#line.leave()
      })
    } catch (error) {
      this.#line.leave()
      throw error
    }
  }

  async #takeTurn({ maxWaitMs, signal, waits }: BeginOptions): Promise<void> {
    if (this.#line.tryEnter()) return
    const hasWaited = waits?.()
    try {
      await this.#line.enter({ maxWaitMs, signal: signal() })
    } finally {
      hasWaited?.()
    }
  }

  /** For who has the turn. */
  async #onWriter<T>(run: (writer: SqlDriverAdapter) => Promise<T>): Promise<T> {
    const { writer } = await this.#open()
    try {
      return await run(writer)
    } catch (error) {
      // libsql 0.17 keeps a statement that met a lock open, and no transaction on its connection can commit then.
      if (isBusy(error)) await this.#renewWriter()
      throw error
    }
  }

  async #beginReading(): Promise<DriverConnection> {
    const reader = this.#idleReaders.pop() ?? (await this.#openReader())
    await reader.executeRaw(statement('BEGIN'))
    return new SqliteConnection(reader, this.#settings.dialect, async (isSpoiled) => {
      if (isSpoiled) await reader.dispose()
      else this.#idleReaders.push(reader)
    })
  }

  /** Called by who has the turn. An in-memory database is in its connection, so that one stays. */
  async #renewWriter(): Promise<void> {
    const opened = await this.#open()
    if (opened.shared) return
    await opened.writer.dispose()
    this.#opened = undefined
    const writer = await this.#openWriter()
    this.#opened = Promise.resolve({ ...opened, writer })
  }

  async #open(): Promise<Opened> {
    if (this.#isClosed) throw closedError()
    this.#opened ??= this.#connect().catch((error: unknown) => {
      this.#opened = undefined
      throw translateError(this.#settings.dialect, error, 'open the SQLite database')
    })
    return await this.#opened
  }

  async #connect(): Promise<Opened> {
    const writer = await this.#openWriter()
    const shared = await isInMemory(writer)
    return { writer, reader: shared ? writer : await this.#openReader(), shared }
  }

  async #openWriter(): Promise<SqlDriverAdapter> {
    const { factory, durability, deadlineMs } = this.#settings
    const writer = await factory.connect()
    await assertOwnConnection(writer)
    // In WAL readers and the writer do not wait for each other.
    const setWal = async (): Promise<void> => await pragma(writer, 'journal_mode = WAL')
    if (!(await isInMemory(writer))) await untilNotBusy(setWal, () => AbortSignal.timeout(deadlineMs))
    await pragma(writer, `synchronous = ${durability === 'full' ? 'FULL' : 'NORMAL'}`)
    await pragma(writer, 'foreign_keys = ON')
    // Waiting for another process inside SQLite would stop the event loop, so it is done outside of it, by `untilNotBusy`.
    await pragma(writer, 'busy_timeout = 0')
    return writer
  }

  async #openReader(): Promise<SqlDriverAdapter> {
    const reader = await this.#settings.factory.connect()
    await pragma(reader, `busy_timeout = ${readerBusyTimeoutMs}`)
    await pragma(reader, 'query_only = ON')
    return reader
  }
}

async function isInMemory(adapter: SqlDriverAdapter): Promise<boolean> {
  const { rows } = await adapter.queryRaw(statement('PRAGMA database_list'))
  return !rows.some(([, name, file]) => name === 'main' && typeof file === 'string' && file !== '')
}

async function pragma(adapter: SqlDriverAdapter, setting: string): Promise<void> {
  // A query, since some settings answer with a row.
  await adapter.queryRaw(statement(`PRAGMA ${setting}`))
}

/** A remote database runs each statement on a connection of its own: a transaction could not be held together. */
async function assertOwnConnection(adapter: SqlDriverAdapter): Promise<void> {
  try {
    await adapter.executeRaw(statement('SAVEPOINT es_probe'))
    await adapter.executeRaw(statement('RELEASE es_probe'))
  } catch (error) {
    throw new NotSupportedError(
      'Could not open the SQLite database: two statements in a row did not use the same connection, as with a remote database. Use a local file.',
      { cause: error },
    )
  }
}

function isBusy(error: unknown): boolean {
  return readDriverError(error)?.kind === 'SocketTimeout'
}

/** Tries again while another process has the database locked, without stopping the event loop. */
async function untilNotBusy<T>(attempt: () => Promise<T>, makeSignal: () => AbortSignal): Promise<T> {
  let signal: AbortSignal | undefined
  for (let waitMs = firstRetryMs; ; waitMs = Math.min(longestRetryMs, waitMs * 2)) {
    try {
      return await attempt()
    } catch (error) {
      signal ??= makeSignal()
      if (signal.aborted || !isBusy(error)) throw error
    }
    await delay(waitMs / 2 + (Math.random() * waitMs) / 2)
  }
}
