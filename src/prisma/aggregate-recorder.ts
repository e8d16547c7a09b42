/** Stores the events, or the snapshots, of aggregates in a table of the Prisma schema. */
import { assertStorableIds, isStorableText } from '../domain/names.js'
import { DataError, NotSupportedError, ProgrammingError } from '../errors.js'
import {
  type AggregateRecorder,
  type Append,
  type AppendCondition,
  type AppendOptions,
  checkRange,
  conditionMet,
  type DeleteEventsRange,
  type LogOrder,
  type SelectEventsRange,
  type SinceSnapshot,
  type SinceSnapshotRange,
  storeAgain,
  type WatchedCall,
} from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'
import { attendance, watchCall, watchOutside } from '../transaction/calls.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import type { EventsTable, OriginatorIdType, TagCondition } from './dialect.js'
import { createTables, type Engine, engineOf, levelOf, runIn } from './engine.js'
import { EventsWriter, type InPart, PendingEvents, type RunWith, tagConditions } from './pending-events.js'
import { tagsTableName } from './table-names.js'
import type { Transaction } from './transaction.js'

/** Which table a recorder uses. */
export interface RecorderOptions {
  /** The table's name; default `stored_events`, for snapshots `stored_snapshots`. */
  readonly eventsTable?: string
  /** The table of the tags of events; default: as that of the events is named, with `_event_tags` for `_events`. */
  readonly tagsTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
  /**
   * The type of the column of originator ids, on PostgreSQL: `uuid`, the default, or `text` for ids of any text. Variable
   * `ORIGINATOR_ID_TYPE`; the model is made by `init --originator-id-type text`. Elsewhere ids are text in any case.
   */
  readonly originatorIdType?: OriginatorIdType
  /** Whether the table holds events, with notification ids, or snapshots, without; default `events`. */
  readonly kind?: 'events' | 'snapshots'
  /**
   * What keeps the log in order on PostgreSQL; default: the datastore's, then `floor-lock`. `table-lock` for a table that a service
   * in Python reads as well: one transaction writes at a time then, from its flush to its end. The other databases write so
   * anyway, and take the option without a difference. All who write the table need the same.
   */
  readonly order?: LogOrder
  /** Recorders whose tables `createTable()` makes as well; default none. Those of an application have the others of it. */
  readonly companions?: readonly CompanionRecorder[]
}

/** A recorder whose tables are made together with those of another one. */
interface CompanionRecorder {
  /** Makes its tables; harmless where they exist. */
  createTable(): Promise<void>
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
  /** Whether the ids of the table are anybody's business. */
  protected readonly tellsIds: boolean = false
  readonly #originatorIdType: OriginatorIdType
  readonly #companions: NonNullable<RecorderOptions['companions']>
  readonly #writer: EventsWriter

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: RecorderOptions = {}) {
    const { kind = 'events', originatorIdType = 'uuid', companions = [] } = options
    this.#companions = companions
    this.#originatorIdType = originatorIdType
    this.datastore = datastore
    this.engine = engineOf(datastore)
    const name = options.eventsTable ?? (kind === 'events' ? 'stored_events' : 'stored_snapshots')
    const schema = options.schema ?? this.engine.schema
    this.table = this.engine.dialect.eventsTable({
      name,
      schema,
      originatorIdType,
      adapterName: this.engine.adapterName,
      order: checkedOrder(options.order ?? this.engine.order),
      withLog: kind === 'events',
      tags: kind === 'events' ? (options.tagsTable ?? tagsTableName(name)) : undefined,
      notifies: kind === 'events' && this.engine.signals?.notifies === true,
      watch: this.engine.watches.of(schema === undefined ? name : `${schema}.${name}`),
    })
    this.#writer = new EventsWriter(this.engine, this.table)
  }

  /** Whether states are written as text: on PostgreSQL, where the driver takes longer over bytes. */
  get takesText(): boolean {
    return this.table.takesText
  }

  /** Whether states are read as text: on PostgreSQL, and on SQLite by better-sqlite3. */
  get givesText(): boolean {
    return this.table.givesText
  }

  async insertEvents(events: readonly StoredEvent[]): Promise<null | bigint[]> {
    await this.insertAtOnce(events, {})
    return null
  }

  async selectEvents(originatorId: string, range: SelectEventsRange = {}): Promise<StoredEvent[]> {
    checkRange(range)
    if (this.#problemOf(originatorId) !== undefined) return []
    const scope = this.engine.transactions.current
    const pending = scope?.buffers.find<PendingEvents>(this)
    if (scope?.autoflush === true && pending?.has(originatorId) === true) await scope.flush()
    const stored = await runIn(this.engine, 'read', `read stream ${originatorId}`, (runner) =>
      this.table.select(runner, originatorId, range),
    )
    return pending === undefined ? stored : pending.mergeInto(stored, originatorId, range)
  }

  /**
   * Reads both by one statement where the snapshots are on the same datastore, with originator ids of the same type. Not while
   * one of the two has pending events of this originator, without `autoflush`.
   */
  async selectSinceSnapshot(
    snapshots: AggregateRecorder,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot | undefined> {
    if (!(snapshots instanceof PrismaAggregateRecorder) || snapshots.engine !== this.engine) return undefined
    if (snapshots.#originatorIdType !== this.#originatorIdType) return undefined
    if (this.#problemOf(originatorId) !== undefined) return { snapshot: undefined, events: [] }
    const scope = this.engine.transactions.current
    if (this.#hasPending(originatorId) || snapshots.#hasPending(originatorId)) {
      if (scope?.autoflush !== true) return undefined
      await scope.flush()
    }
    return await runIn(this.engine, 'read', `read stream ${originatorId} and its latest snapshot`, (runner) =>
      this.table.selectSinceSnapshot(runner, snapshots.table, originatorId, range),
    )
  }

  async deleteEvents(originatorId: string, range: DeleteEventsRange): Promise<void> {
    if (this.#problemOf(originatorId) !== undefined) return
    const scope = this.engine.transactions.current
    if (scope === undefined) this.engine.checkOutside(`delete from stream ${originatorId}`)
    if (this.#hasPending(originatorId)) await scope?.flush()
    await runIn(this.engine, 'repeatable', `delete from stream ${originatorId}`, (runner) =>
      this.table.delete(runner, originatorId, range),
    )
  }

  /** Whether somebody else may undo even what is committed now. */
  isProvisional(): boolean {
    return this.engine.isProvisional()
  }

  /** Runs `fn` after the current transaction has committed, at once where there is none. */
  afterCommit(fn: () => void): void {
    const scope = this.engine.transactions.current
    if (scope === undefined) fn()
    else scope.hooks.afterCommit.push(fn)
  }

  /** Runs `fn` when the current transaction is rolled back, where it has written to this stream. */
  onUndone(originatorId: string, fn: () => void): void {
    const scope = this.engine.transactions.current
    if (scope !== undefined) onUndone(scope, originatorId, fn)
  }

  /** Lets the current transaction know of a call that is made in it; outside of one it just runs. */
  watch<T>(call: WatchedCall<T>, work: () => Promise<T>): Promise<T> {
    const { current: scope, escapes } = this.engine.transactions
    if (scope === undefined) return attendance.hasBegun ? watchOutside(escapes, call, work) : work()
    // A whole is over when its lifetime is, and most are wholes.
    const isOver = scope.parent === undefined ? scope.session.life.isOver : scope.isOver
    return isOver ? work() : watchCall(scope, call, work)
  }

  /** Runs work in a transaction: the same as `datastore.transaction`. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return await this.datastore.transaction(work, options)
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists, and by several processes at
   * once. The recorder of an application makes all tables of that: also of snapshots and subject keys. In production they come
   * from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.engine, this.table.createStatements)
    for (const companion of this.#companions) await companion.createTable()
  }

  /** Keeps events for the flush of the current transaction, or writes them at once where there is none. */
  async appendEvents(events: readonly StoredEvent[], given: AppendOptions = {}): Promise<void> {
    const options = this.tellsIds ? given : { ...given, onRecorded: () => given.onRecorded?.([]) }
    this.#assertStorable(events)
    const scope = this.engine.transactions.current
    if (scope === undefined) {
      if (options.again === undefined) return await this.#appendAtOnce({ events, options })
      return await storeAgain([{ events, options }], async (appends) => {
        for (const append of appends) await this.#appendAtOnce(typeof append === 'function' ? await append() : append)
      })
    }
    const appending = notingPosition(scope, options)
    noteWritten(scope, events)
    const pending = this.#pendingIn(scope)
    if (options.unless !== undefined && options.unless.length > 0) {
      this.#assertCheckable(scope)
      this.#assertUnmet(pending, events, options.unless)
    }
    pending.add(events, appending)
    if (options.onLost !== undefined) scope.hooks.afterRollback.push(options.onLost)
    const followers = this.engine.signals?.followers.get(this.table.channel)
    if (followers !== undefined) scope.hooks.afterCommit.push(() => followers.wake())
  }

  async #appendAtOnce({ events, options }: Append): Promise<void> {
    if (options.before !== undefined) await options.before()
    const ids = await this.insertAtOnce(events, options)
    options.onRecorded?.(ids)
  }

  /** Writes events now, after those that are pending in the current transaction. */
  protected insertAtOnce(events: readonly StoredEvent[], options: AppendOptions): Promise<readonly bigint[]> {
    return this.watch({ name: 'insertEvents', owner: this }, () => this.#insert(events, options))
  }

  async #insert(
    events: readonly StoredEvent[],
    { predecessors = [], unless = [] }: AppendOptions,
  ): Promise<readonly bigint[]> {
    this.#assertStorable(events)
    const { engine } = this
    const scope = engine.transactions.current
    if (scope === undefined && events.length > 0) engine.checkOutside(`events of ${events[0]?.originatorId}`)
    if (scope !== undefined) {
      await scope.flush()
      noteWritten(scope, events)
    }
    try {
      const conditions = tagConditions(unless)
      const run = this.#runnerIn(scope, events, conditions)
      const ids = await this.#writer.write(run, events, { predecessors, conditions })
      const followers = engine.signals?.followers.get(this.table.channel)
      if (followers !== undefined) this.afterCommit(() => followers.wake())
      return ids
    } catch (error) {
      engine.telemetry?.writeFailed(error, scope?.session)
      throw error
    }
  }

  /** Why there can be no originator with this id: nothing is asked of the database then, which would end the transaction. */
  #problemOf(originatorId: string): string | undefined {
    if (!isStorableText(originatorId)) return 'a text with a NUL or half of a surrogate pair'
    return this.table.idProblem?.(originatorId)
  }

  /** @throws `DataError` for an id or a topic that the table cannot have */
  #assertStorable(events: readonly StoredEvent[]): void {
    let checked: string | undefined
    for (const event of events) {
      const { originatorId, originatorVersion, topic } = event
      const attempted = (): string => `append ${topic}, version ${originatorVersion} of ${originatorId}`
      assertStorableIds(event, attempted)
      const problem = originatorId === checked ? undefined : this.table.idProblem?.(originatorId)
      checked = originatorId
      if (problem === undefined) continue
      throw new DataError(`Cannot ${attempted()}: the id '${originatorId}' is ${problem}. Nothing was stored.`)
    }
  }

  /**
   * What is pending is stored before these events are, so it counts as if it were.
   *
   * @throws `AppendConditionError` for a condition that is not kept already
   */
  #assertUnmet(pending: PendingEvents, events: readonly StoredEvent[], conditions: readonly AppendCondition[]): void {
    for (const condition of conditions) {
      const met = pending.tagged(condition).some((event) => condition.known?.has(event) !== true)
      if (met) throw conditionMet(condition, events, { position: undefined })
    }
  }

  #pendingIn(scope: Scope<DriverConnection>): PendingEvents {
    scope.assertUsable()
    return scope.buffers.of(this, () => {
      const inPart: InPart = (work) => this.engine.inPart(scope, async (part) => await work(this.#pendingIn(part)))
      const readsOld = async (): Promise<boolean> => this.engine.dialect.readsOldAt(await levelOf(this.engine, scope))
      return new PendingEvents(this.#writer, inPart, readsOld)
    })
  }

  /** What was saved here in a scope and is not written yet. */
  protected pendingOf(scope: Scope<DriverConnection> | undefined): PendingEvents | undefined {
    return scope?.buffers.find<PendingEvents>(this)
  }

  #hasPending(originatorId: string): boolean {
    return this.pendingOf(this.engine.transactions.current)?.has(originatorId) === true
  }

  #runnerIn(
    scope: Scope<DriverConnection> | undefined,
    events: readonly StoredEvent[],
    conditions: readonly TagCondition[],
  ): RunWith {
    const { engine } = this
    if (scope !== undefined) return (work) => scope.execute(work)
    const runner = engine.runner()
    if (runner.inTransaction || !this.table.needsTransaction(events, conditions)) return (work) => work(runner)
    return (work) => engine.atOnce(work)
  }

  /** @throws `NotSupportedError` where a condition cannot be checked on what is stored now */
  #assertCheckable(scope: Scope<DriverConnection>): void {
    const { isolationLevel } = scope.session.options
    // The statement itself refuses one that is there by default.
    if (!this.engine.dialect.logHasHolesAt(isolationLevel, false)) return
    throw new NotSupportedError(
      `Could not decide by tags in a transaction at ${isolationLevel}: it sees only what was there at its beginning. Decide at ReadCommitted: ` +
        'the locks of the tags and the check make it exact.',
    )
  }
}

function checkedOrder(order: string | undefined): LogOrder | undefined {
  if (order === undefined || order === 'floor-lock' || order === 'table-lock') return order
  throw new ProgrammingError(`Could not make a recorder with the order '${order}': it is floor-lock or table-lock.`)
}

/** Lets whoever ends the transaction know the position of the last event, once that is committed. */
function notingPosition(scope: Scope<DriverConnection>, options: AppendOptions): AppendOptions {
  const { log, onRecorded } = options
  if (log === undefined) return options
  return {
    ...options,
    onRecorded(ids) {
      onRecorded?.(ids)
      const last = ids.at(-1)
      if (last !== undefined) scope.hooks.onCommitted.push(() => scope.session.notePosition(log, last))
    },
  }
}

type OpenScope = Scope<DriverConnection>

/** By stream: the scopes of a session that have written to it. */
type Writers = Map<string, Set<OpenScope>>
const writersKey = {}

/** Events are stored in a scope, or wait for its flush. */
function noteWritten(scope: OpenScope, events: readonly StoredEvent[]): void {
  const kept = (scope.session.kept ??= new Map())
  const streams = (kept.get(writersKey) as Writers | undefined) ?? new Map<string, Set<OpenScope>>()
  kept.set(writersKey, streams)
  for (const { originatorId } of events) {
    const scopes = streams.get(originatorId)
    if (scopes === undefined) streams.set(originatorId, new Set([scope]))
    else scopes.add(scope)
  }
}

/** Runs `fn` when something is undone that the transaction around has written to a stream so far. */
function onUndone(scope: OpenScope, originatorId: string, fn: () => void): void {
  const writers = scope.session.kept?.get(writersKey) as Writers | undefined
  const scopes = writers?.get(originatorId) ?? []
  for (const writer of new Set([...scopes].map(stillOpen))) writer.hooks.afterRollback.push(fn)
}

/** What a part has written that has ended well is what is around it. */
function stillOpen(scope: OpenScope): OpenScope {
  return scope.ended && scope.parent !== undefined ? stillOpen(scope.parent) : scope
}
