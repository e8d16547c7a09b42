/** The file of an SQLite database, to which one transaction writes at a time, whichever datastore of this process it belongs to. */
import { realpathSync } from 'node:fs'
import { NotSupportedError } from '../../errors.js'
import type { BeginOptions } from '../../transaction/connection.js'
import { heldAround } from '../../transaction/transactions.js'
import { WaitingLine, type WaitOptions } from '../waiting-line.js'

/** How to wait for the turn. */
type TurnOptions = Pick<BeginOptions, 'maxWaitMs' | 'signal' | 'waits'> & Pick<WaitOptions, 'maxWaiting'>

/** By their paths. A file that no datastore uses any more is forgotten with its line. */
const files = new Map<string, WeakRef<SqliteFile>>()
const forgotten = new FinalizationRegistry<string>((path) => {
  if (files.get(path)?.deref() === undefined) files.delete(path)
})

/**
 * Where the transactions of this process take turns. They could wait for each other by SQLite's own lock, as they do for other
 * processes, but that serves nobody in the order in which they came.
 */
export class SqliteFile {
  readonly #line = new WaitingLine({ places: 1, what: 'the only writer of the SQLite file' })
  #writer: object | undefined

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
  async takeTurn({ maxWaitMs, maxWaiting, signal, waits }: TurnOptions): Promise<void> {
    if (this.#line.tryEnter()) return
    for (const connection of heldAround()) if (connection === this.#writer) throw insideError()
    const hasWaited = waits?.()
    try {
      await this.#line.enter({ maxWaitMs, maxWaiting, signal: signal() })
    } finally {
      hasWaited?.()
    }
  }

  /** Waits for the turn of a statement that is a transaction by itself. @throws `OverloadedError` */
  async takeShortTurn(options: Pick<WaitOptions, 'maxWaitMs' | 'maxWaiting'>): Promise<void> {
    if (!this.#line.tryEnter()) await this.#line.enter(options)
  }

  /** Whose turn it is has begun its transaction. */
  begun(writer: object): void {
    this.#writer = writer
  }

  endTurn(): void {
    this.#writer = undefined
    this.#line.leave()
  }
}

function insideError(): NotSupportedError {
  return new NotSupportedError(
    'Could not begin a transaction: the code is inside another one that has the only writer of the same SQLite file, perhaps by ' +
      'another datastore, so it would wait for that for ever. Do both in one transaction of one datastore, or one after the other.',
  )
}
