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
import {
  isRead,
  readDriverError,
  type SqlDriverAdapter,
  type SqlQuery,
  type SqlResultSet,
  statement,
} from '../driver.js'
import { checkedEffect } from '../transaction-guard.js'
import { translateError } from '../translate-error.js'
import { SqliteConnection, SqliteFile } from './sqlite-file.js'

/** How long to wait for another process, or another client of this one, before the next try. */
const firstRetryMs = 1
const longestRetryMs = 10

interface Opened {
  readonly file: SqliteFile
  readonly writer: SqlDriverAdapter
  readonly reader: SqlDriverAdapter
  /** An in-memory database is gone from other connections, so there is one, and reads take turns too. */
  readonly shared: boolean
}

/** Opens the connections at the first statement. */
export class SqliteConnections implements Connections {
  readonly inTransaction = false
  readonly givesInsertIds = true
  /** Transactions keep other writers out from their first statement on, also from what they have read. */
  readonly lone = undefined
  readonly #settings: ConnectionSettings
  readonly #idleReaders: SqlDriverAdapter[] = []
  #opened: Promise<Opened> | undefined
  #isClosed = false

  constructor(settings: ConnectionSettings) {
    this.#settings = settings
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
      if (options.readOnly && !opened.shared) return await this.#beginReading(options)
      return await this.#beginWriting(opened.file, options)
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
    const { file, shared } = await this.#open()
    const { deadlineMs, maxWaiting } = this.#settings
    const limits = { patienceMs: deadlineMs }
    if (!shared && isRead(sql)) return await untilNotBusy(() => this.#using('reader', run), limits)
    await file.takeShortTurn({ maxWaitMs: this.#settings.maxWaitMs, maxWaiting })
    try {
      return await untilNotBusy(() => this.#using('writer', run), { ...limits, onBusy: () => file.othersHaveIt() })
    } finally {
      file.endTurn()
    }
  }

  async #beginWriting(file: SqliteFile, options: BeginOptions): Promise<DriverConnection> {
    await file.takeTurn({ ...options, maxWaiting: this.#settings.maxWaiting })
    try {
      const begin = async (adapter: SqlDriverAdapter): Promise<SqlDriverAdapter> => {
        await adapter.executeRaw(options.readOnly ? beginDeferred : beginImmediate)
        return adapter
      }
      const writer = await untilNotBusy(() => this.#using('writer', begin), {
        patienceMs: options.deadlineMs,
        signal: options.signal,
        onBusy: () => file.othersHaveIt(),
      })
      const connection = new SqliteConnection(writer, this.#settings.dialect, async (isSpoiled) => {
        try {
          if (isSpoiled) await this.#renew('writer')
        } finally {
          file.endTurn()
        }
      })
      file.begun(connection)
      return connection
    } catch (error) {
      file.endTurn()
      throw error
    }
  }

  async #beginReading({ deadlineMs, signal }: BeginOptions): Promise<DriverConnection> {
    const begin = async (): Promise<SqlDriverAdapter> => {
      const reader = this.#idleReaders.pop() ?? (await this.#openReader())
      try {
        await reader.executeRaw(beginDeferred)
        // Reads the state from here on: no later statement meets a lock.
        await reader.queryRaw(statement('SELECT 1 FROM sqlite_schema LIMIT 1'))
        return reader
      } catch (error) {
        await reader.dispose()
        throw error
      }
    }
    const reader = await untilNotBusy(begin, { patienceMs: deadlineMs, signal })
    return new SqliteConnection(reader, this.#settings.dialect, async (isSpoiled) => {
      if (isSpoiled) await reader.dispose()
      else this.#idleReaders.push(reader)
    })
  }

  /**
   * Runs work on one of the connections; only the holder of the turn uses the writer. libsql 0.17 keeps a statement that met a lock open: no
   * transaction on its connection can commit then, or see what is new.
   */
  async #using<T>(which: 'writer' | 'reader', run: (adapter: SqlDriverAdapter) => Promise<T>): Promise<T> {
    const { [which]: adapter } = await this.#open()
    try {
      return await run(adapter)
    } catch (error) {
      if (isBusy(error)) await this.#renew(which)
      throw error
    }
  }

  /** A writer's is called by who has the turn. An in-memory database is in its connection, so that one stays. */
  async #renew(which: 'writer' | 'reader'): Promise<void> {
    const opened = await this.#open()
    if (opened.shared) return
    const renewed = async (): Promise<Opened> => {
      await opened[which].dispose()
      return { ...opened, [which]: await (which === 'writer' ? this.#openWriter() : this.#openReader()) }
    }
    this.#opened = this.#openedBy(renewed)
    await this.#opened
  }

  async #open(): Promise<Opened> {
    if (this.#isClosed) throw closedError()
    this.#opened ??= this.#openedBy(async () => await this.#connect())
    return await this.#opened
  }

  async #openedBy(open: () => Promise<Opened>): Promise<Opened> {
    try {
      return await open()
    } catch (error) {
      this.#opened = undefined
      throw translateError(this.#settings.dialect, error, 'open the SQLite database')
    }
  }

  async #connect(): Promise<Opened> {
    const writer = await this.#openWriter()
    const path = await pathOf(writer)
    const shared = path === undefined
    return { file: SqliteFile.at(path), writer, reader: shared ? writer : await this.#openReader(), shared }
  }

  async #openWriter(): Promise<SqlDriverAdapter> {
    const { durability, deadlineMs } = this.#settings
    const writer = await this.#connectOnce()
    await assertOwnConnection(writer)
    // In WAL readers and the writer do not wait for each other.
    const setWal = async (): Promise<void> => await pragma(writer, 'journal_mode = WAL')
    if ((await pathOf(writer)) !== undefined) await untilNotBusy(setWal, { patienceMs: deadlineMs })
    await pragma(writer, `synchronous = ${durability === 'full' ? 'FULL' : 'NORMAL'}`)
    await pragma(writer, 'foreign_keys = ON')
    return writer
  }

  async #openReader(): Promise<SqlDriverAdapter> {
    const reader = await this.#connectOnce()
    await pragma(reader, 'query_only = ON')
    return reader
  }

  async #connectOnce(): Promise<SqlDriverAdapter> {
    const adapter = await this.#settings.factory.connect()
    // Waiting for a lock inside SQLite would stop the event loop, so it is done outside of it, by `untilNotBusy`.
    await pragma(adapter, 'busy_timeout = 0')
    return adapter
  }
}

const beginDeferred = statement('BEGIN')
const beginImmediate = statement('BEGIN IMMEDIATE')

/** Where the file is; undefined for a database in memory. */
async function pathOf(adapter: SqlDriverAdapter): Promise<string | undefined> {
  const { rows } = await adapter.queryRaw(statement('PRAGMA database_list'))
  const [, , file] = rows.find(([, name]) => name === 'main') ?? []
  return typeof file === 'string' && file !== '' ? file : undefined
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

/** How long to try. */
interface BusyLimits {
  readonly patienceMs: number
  /** Makes the signal that gives up before: called only by who has to wait. */
  readonly signal?: () => AbortSignal
  /** Called each time that the file is busy. */
  readonly onBusy?: () => void
}

/** Tries again while somebody else has the database locked, without stopping the event loop. */
async function untilNotBusy<T>(attempt: () => Promise<T>, limits: BusyLimits): Promise<T> {
  const { patienceMs, signal: makeSignal, onBusy } = limits
  let signal: AbortSignal | undefined
  const startedAt = performance.now()
  for (let waitMs = firstRetryMs; ; waitMs = Math.min(longestRetryMs, waitMs * 2)) {
    try {
      return await attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() - startedAt > patienceMs) throw error
      onBusy?.()
      signal ??= makeSignal?.()
      if (signal?.aborted === true) throw error
    }
    await delay(waitMs / 2 + (Math.random() * waitMs) / 2)
  }
}
