/** The connections of a datastore, in whose place a rehearsal can be for a while. */
import { ProgrammingError } from '../errors.js'
import type { BeginOptions } from '../transaction/connection.js'
import { AsyncContext } from '../transaction/context.js'
import type { Connections, DriverConnection } from './connections.js'
import type { SqlDriverAdapter, SqlQuery, SqlResultSet } from './driver.js'
import { overError, Rehearsal, type RehearsalHost } from './rehearsal.js'

/** Longer than any test. */
const longestMs = 3_600_000
/** How long to wait for the connection. */
const patienceMs = 10_000

/** Passes everything on. */
export class ReplaceableConnections implements Connections {
  readonly inTransaction = false
  readonly #own: Connections
  readonly #context = new AsyncContext<{ isOver: boolean }>(true)
  #rehearsal: Rehearsal | undefined
  #isTaken = false

  constructor(own: Connections) {
    this.#own = own
  }

  get givesInsertIds(): boolean {
    return this.#own.givesInsertIds
  }

  /**
   * Runs work with everything in one transaction, which is rolled back in the end.
   *
   * @throws `ProgrammingError` when that is so already
   */
  async rehearse<T>(host: Omit<RehearsalHost, 'connections'>, work: () => Promise<T>): Promise<T> {
    if (this.#isTaken) {
      throw new ProgrammingError(
        'withRollback() is running on this datastore already: run such tests one after the other, or give each a datastore of its own.',
      )
    }
    this.#isTaken = true
    const place = { isOver: false }
    try {
      const signal = (): AbortSignal => AbortSignal.timeout(patienceMs)
      const options = { isolationLevel: undefined, readOnly: false, deadlineMs: longestMs, signal }
      const connection = await this.#own.begin(options)
      const rehearsal = new Rehearsal({ ...host, connections: this.#own }, connection)
      this.#rehearsal = rehearsal
      try {
        return await this.#context.run(place, work)
      } finally {
        place.isOver = true
        this.#rehearsal = undefined
        await rehearsal.end()
      }
    } finally {
      this.#isTaken = false
    }
  }

  async begin(options: BeginOptions): Promise<DriverConnection> {
    return await this.#present.begin(options)
  }

  async query(query: SqlQuery): Promise<SqlResultSet> {
    return await this.#present.query(query)
  }

  async execute(query: SqlQuery): Promise<number> {
    return await this.#present.execute(query)
  }

  async script(sql: string): Promise<void> {
    await this.#present.script(sql)
  }

  async adapter(): Promise<SqlDriverAdapter> {
    return await this.#own.adapter()
  }

  async close(): Promise<void> {
    await this.#own.close()
  }

  /** @throws `TransactionClosedError` for what a rehearsal has left behind: it would be stored for good */
  get #present(): Connections {
    if (this.#context.get()?.isOver === true) throw overError()
    return this.#rehearsal ?? this.#own
  }
}
