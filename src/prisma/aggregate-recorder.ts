/** Stores the events, or the snapshots, of aggregates in a table of the Prisma schema. */
import type { AggregateRecorder, AppendOptions, SelectEventsRange } from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { EventsTable, OriginatorIdType } from './dialect.js'
import { statement } from './driver.js'
import { type Engine, engineOf } from './engine.js'
import { EventsWriter } from './events-writer.js'
import { PendingEvents } from './pending-events.js'
import type { Transaction } from './transaction.js'
import { translateError } from './translate-error.js'

/** Which table a recorder uses. */
export interface RecorderOptions {
  /** The table's name; default `stored_events`, for snapshots `stored_snapshots`. */
  readonly eventsTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
  /** The type of the column of originator ids; default `uuid` where the database has it. */
  readonly originatorIdType?: OriginatorIdType
  /** Whether the table holds events, with notification ids, or snapshots, without; default `events`. */
  readonly kind?: 'events' | 'snapshots'
}

/** What recorders need of a datastore. */
export interface RecorderDatastore<Client> {
  /** Runs work in a transaction. */
  transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options?: TransactionOptions): Promise<T>
}

/** An `AggregateRecorder` on a datastore. Inside a transaction it works in that; outside, each call is one of its own. */
export class PrismaAggregateRecorder<Client extends object = object> implements AggregateRecorder {
  /** The datastore that it is on. */
  readonly datastore: RecorderDatastore<Client>
  protected readonly engine: Engine
  protected readonly table: EventsTable
  readonly #writer: EventsWriter

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: RecorderOptions = {}) {
    const { kind = 'events' } = options
    this.datastore = datastore
    this.engine = engineOf(datastore)
    this.table = this.engine.dialect.eventsTable({
      name: options.eventsTable ?? (kind === 'events' ? 'stored_events' : 'stored_snapshots'),
      schema: options.schema ?? this.engine.schema,
      originatorIdType: options.originatorIdType ?? 'uuid',
      withLog: kind === 'events',
    })
    this.#writer = new EventsWriter(this.engine, this.table)
  }

  async insertEvents(events: readonly StoredEvent[]): Promise<null | bigint[]> {
    await this.insertAtOnce(events, {})
    return null
  }

  async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
    // Here the ids of the table are nobody's business.
    await this.append(events, { ...options, onRecorded: () => options.onRecorded?.([]) })
  }

  async selectEvents(originatorId: string, range: SelectEventsRange = {}): Promise<StoredEvent[]> {
    const scope = this.engine.currentScope
    const pending = scope?.findPending<PendingEvents>(this)
    if (scope?.autoflush === true && pending?.has(originatorId) === true) await scope.flush()
    const stored = await this.#read(scope, `read stream ${originatorId}`, (runner) =>
      this.table.select(runner, originatorId, range),
    )
    return pending === undefined ? stored : pending.mergeInto(stored, originatorId, range)
  }

  /** Runs `fn` after the current transaction has committed, at once where there is none. */
  afterCommit(fn: () => void): void {
    const scope = this.engine.currentScope
    if (scope === undefined) fn()
    else scope.hooks.afterCommit(fn)
  }

  /** Runs work in a transaction: the same as `datastore.transaction`. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return await this.datastore.transaction(work, options)
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the
   * table comes from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    const { dialect, currentScope } = this.engine
    // Outside of the current transaction, since a table must not vanish with a request that fails; unless that would wait for it.
    const scope = dialect.singleWriter && currentScope?.session.begun === true ? currentScope : undefined
    const runner = this.engine.runner()
    try {
      for (const sql of this.table.createStatements) {
        await (scope === undefined
          ? runner.execute(statement(sql))
          : scope.execute((own) => own.execute(statement(sql))))
      }
    } catch (error) {
      throw translateError(this.engine.dialect, error, 'create the table')
    }
  }

  /** Keeps events for the flush of the current transaction, or writes them at once where there is none. */
  protected async append(events: readonly StoredEvent[], options: AppendOptions): Promise<void> {
    const scope = this.engine.currentScope
    if (scope === undefined) {
      const ids = await this.insertAtOnce(events, options)
      options.onRecorded?.(ids)
      return
    }
    scope.pending(this, () => new PendingEvents(this.#writer)).add(events, options)
  }

  /** Writes events now, after those that are pending in the current transaction. */
  protected async insertAtOnce(events: readonly StoredEvent[], options: AppendOptions): Promise<readonly bigint[]> {
    const predecessors = options.predecessors ?? []
    const scope = this.engine.currentScope
    if (scope !== undefined) {
      await scope.flush()
      return await this.#writer.write((work) => scope.execute(work), events, predecessors)
    }
    const { engine } = this
    const runner = engine.runner()
    if (runner.inTransaction || !this.table.needsTransaction(events)) {
      return await this.#writer.write((work) => work(runner), events, predecessors)
    }
    return await this.#writer.write((work) => engine.atOnce(work), events, predecessors)
  }

  /** Reads in the current transaction, or outside of any. */
  protected async read<T>(attempted: string, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    return await this.#read(this.engine.currentScope, attempted, work)
  }

  async #read<T>(
    scope: Scope<DriverConnection> | undefined,
    attempted: string,
    work: (runner: StatementRunner) => Promise<T>,
  ): Promise<T> {
    try {
      return await (scope === undefined ? work(this.engine.runner()) : scope.execute(work))
    } catch (error) {
      throw translateError(this.engine.dialect, error, attempted)
    }
  }
}
