/** The connections of a datastore, in whose place a rehearsal can be for a while. */
import { ProgrammingError, TransactionTimeoutError } from '../errors.js'
import { type BeginOptions, heldBy, type LoneStatements } from '../transaction/connection.js'
import { AsyncContext } from '../transaction/context.js'
import { checkedDeadline } from '../transaction/options.js'
import { openAround } from '../transaction/transactions.js'
import type { Connections, DriverConnection } from './connections.js'
import type { SqlDriverAdapter, SqlQuery, SqlResultSet } from './driver.js'
import type { RehearsalLimits } from './engine.js'
import { overError, Rehearsal, type RehearsalHost } from './rehearsal.js'

/** How long to wait for the connection. */
const patienceMs = 10_000

/** A rehearsal of this datastore. */
export interface RehearsalOptions extends RehearsalLimits, Omit<RehearsalHost, 'connections'> {}

/** Passes everything on. */
export class ReplaceableConnections implements Connections {
  readonly inTransaction = false
  readonly #own: Connections
  readonly #context = new AsyncContext<{ isOver: boolean }>(true)
  /** The rehearsal in whose one transaction everything is now, undefined where there is none. A field, as each request asks; only this class writes it. */
  rehearsal: Rehearsal | undefined
  /** The rehearsal, or what is there without one. */
  #present: Connections
  #isTaken = false
  /** In production there is nothing to ask. */
  #wasRehearsed = false

  constructor(own: Connections) {
    this.#own = own
    this.#present = own
  }

  get givesInsertIds(): boolean {
    return this.#own.givesInsertIds
  }

  /**
   * Runs work with everything in one transaction, which is rolled back in the end.
   *
   * @throws `ProgrammingError` when that is so already, or inside of a transaction; `TransactionTimeoutError` at the deadline;
   *   the reason of the signal
   */
  async rehearse<T>(work: () => Promise<T>, options: RehearsalOptions): Promise<T> {
    const { dialect, transactions, signal } = options
    const deadlineMs = checkedDeadline(options.deadlineMs)
    signal?.throwIfAborted()
    if (transactions.around().length > 0) throw insideError()
    if (this.#isTaken) throw takenError()
    this.#isTaken = this.#wasRehearsed = true
    try {
      const connection = await this.#own.begin({
        isolationLevel: undefined,
        readOnly: false,
        deadlineMs,
        heldAround: [],
        heldByAny: heldBy(openAround()),
        maxWaitMs: patienceMs,
        signal: () => new AbortController().signal,
      })
      const host = { dialect, transactions, connections: this.#own }
      return await this.#within(new Rehearsal(host, connection), host, () => untilStopped(work, { deadlineMs, signal }))
    } finally {
      this.#isTaken = false
    }
  }

  begin(options: BeginOptions): Promise<DriverConnection> {
    if (this.#wasRehearsed) this.#assertNotOver()
    return this.#present.begin(options)
  }

  get lone(): LoneStatements<DriverConnection> | undefined {
    if (this.#wasRehearsed) this.#assertNotOver()
    return this.#present.lone
  }

  query(query: SqlQuery): Promise<SqlResultSet> {
    if (this.#wasRehearsed) this.#assertNotOver()
    return this.#present.query(query)
  }

  execute(query: SqlQuery): Promise<number> {
    if (this.#wasRehearsed) this.#assertNotOver()
    return this.#present.execute(query)
  }

  script(sql: string): Promise<void> {
    if (this.#wasRehearsed) this.#assertNotOver()
    return this.#present.script(sql)
  }

  async adapter(): Promise<SqlDriverAdapter> {
    return await this.#own.adapter()
  }

  abandon(): void {
    this.#own.abandon()
  }

  async disconnect(): Promise<void> {
    await this.rehearsal?.disconnect()
    await this.#own.disconnect()
  }

  async close(): Promise<void> {
    // Pools wait for their connections.
    await this.rehearsal?.close()
    await this.#own.close()
  }

  async #within<T>(rehearsal: Rehearsal, { transactions }: RehearsalHost, work: () => Promise<T>): Promise<T> {
    const place = { isOver: false }
    const before = new Set(transactions.scopes.all)
    this.rehearsal = this.#present = rehearsal
    try {
      return await this.#context.run(place, work)
    } finally {
      place.isOver = true
      // Those of requests, and of work that was not awaited, would begin on the real connections now. They take no more
      // statements from here on; their hooks are not waited for.
      for (const scope of transactions.scopes.all) if (!before.has(scope)) void scope.rollback()
      this.rehearsal = undefined
      this.#present = this.#own
      await rehearsal.end()
    }
  }

  /** @throws `TransactionClosedError` for what a rehearsal has left behind: it would be stored for good */
  #assertNotOver(): void {
    if (this.#context.get()?.isOver === true) throw overError()
  }
}

/** Rejects when a limit is reached, however long the work goes on. */
async function untilStopped<T>(work: () => Promise<T>, { deadlineMs, signal }: RehearsalLimits): Promise<T> {
  signal?.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  let stop = (): void => {}
  const stopped = new Promise<void>((resolve) => {
    stop = resolve
    timer = setTimeout(stop, deadlineMs)
    signal?.addEventListener('abort', stop)
  })
  const limit = async (): Promise<never> => {
    await stopped
    signal?.throwIfAborted()
    throw timeoutError(deadlineMs)
  }
  try {
    return await Promise.race([work(), limit()])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}

function timeoutError(deadlineMs: number): TransactionTimeoutError {
  return new TransactionTimeoutError(
    `withRollback() has ended: its function was still running after ${deadlineMs} ms. Give it a greater deadlineMs, for example while you debug.`,
  )
}

function insideError(): ProgrammingError {
  return new ProgrammingError(
    'Could not run withRollback() inside of a transaction: what is done in that would not be rolled back. Call it outside.',
  )
}

function takenError(): ProgrammingError {
  return new ProgrammingError(
    'withRollback() is running on this datastore already: run such tests one after the other, or give each a datastore of its own. ' +
      'A test that its framework has given up goes on until its deadlineMs: pass on the signal of the framework.',
  )
}
