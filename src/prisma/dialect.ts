/** The port to one kind of database: everything that differs between them is behind it. */
import type { EventSourcingError } from '../errors.js'
import type {
  ParkedEvent,
  ProjectionKey,
  ProjectionLease,
  ProjectionMove,
  ProjectionRow,
  ProjectionStateChange,
  ProjectionWanted,
} from '../persistence/projection-recorder.js'
import type {
  DeleteEventsRange,
  IdempotencyClaim,
  IdempotencyKey,
  LogOrder,
  RecordedResponse,
  SelectEventsRange,
  SinceSnapshot,
  SinceSnapshotRange,
  SubjectKey,
  TaggedRead,
  TagQuery,
} from '../persistence/recorder.js'
import type {
  DueTimer,
  PendingTimer,
  SelectTimersOptions,
  StoredTimer,
  TimerFailure,
} from '../persistence/side-recorders.js'
import type { Notification, StoredEvent, StreamPosition, Tracking } from '../persistence/stored-event.js'
import type { Damage } from '../transaction/connection.js'
import type { IsolationLevel } from '../transaction/options.js'
import type { Overwriting } from './bulk-update.js'
import type { Connections, DriverConnection, StatementRunner } from './connections.js'
import type { DriverErrorFacts, SqlDriverAdapterFactory, SqlQuery, SqlQueryable } from './driver.js'
import type { LogWatch } from './log-signals.js'

/** How the database keeps what was committed: `full` through a loss of power, `normal` through a crash of the process. */
export type Durability = 'full' | 'normal'

/** What the connections of a datastore are made from. */
export interface ConnectionSettings {
  readonly factory: SqlDriverAdapterFactory
  readonly durability: Durability
  /** The deadline of a transaction that sets none: the server's own guards are set a little beyond it. */
  readonly deadlineMs: number
  /** How long a transaction, or a statement by itself, that says nothing else may wait for a connection. */
  readonly maxWaitMs: number
  /** How many may wait for one. */
  readonly maxWaiting: number
  /** How many connections the pool can have, where its user tells it. */
  readonly poolSize: number | undefined
  readonly dialect: Dialect
}

/** Which type the column of originator ids has. */
export type OriginatorIdType = 'uuid' | 'text'

/** One table of events or snapshots. */
export interface EventsTableOptions {
  readonly name: string
  /** The schema that the table is in; default: the connection's. */
  readonly schema?: string | undefined
  readonly originatorIdType: OriginatorIdType
  /** Whether the table is a log with notification ids; a table of snapshots is not. */
  readonly withLog: boolean
  /** The table of the tags of its events; undefined where there are none. */
  readonly tags?: string | undefined
  /** Whether an insert notifies who listens to the table's channel, once it is committed. */
  readonly notifies: boolean
  /** Where there is a choice; default `floor-lock`. */
  readonly order?: LogOrder | undefined
  /** Records how far the log is final, as reads of it show. */
  readonly watch?: LogWatch | undefined
  /** The name of the driver adapter, where it is known. */
  readonly adapterName?: string | undefined
}

/** The events of one topic in a log. */
export interface TopicCount {
  readonly topic: string
  readonly events: number
  /** How many streams begin with one of them. */
  readonly streams: number
}

/** A table of events or snapshots. */
export interface ViewedTable {
  readonly name: string
  /** The schema that it is in; undefined for the connection's. */
  readonly schema: string | undefined
  /** Whether it has positions. */
  readonly withLog: boolean
}

/** Why a table cannot take events, whatever they are. */
export interface TableFault {
  /** Completes "Could not append …: ", and says what to do. */
  readonly message: string
  /** Whether the database, as it is, cannot carry the log at all; else its ids are wrong. */
  readonly isRefusal: boolean
}

/** Which part of a log to read; all bounds are inclusive. */
export interface LogRange {
  readonly from: bigint
  readonly to: bigint | undefined
  /** Whether the log was said to be final up to `to`. */
  readonly isFinal: boolean
  readonly limit: number
  readonly topics: readonly string[]
  /** Only events that have all of them; empty for all. */
  readonly tags: readonly string[]
}

/** Events that must not be there when others are written. */
export interface TagCondition extends TagQuery {
  /** Only those with a greater id; null for all. */
  readonly after: bigint | null
  /** Ids that do not count. */
  readonly except: readonly bigint[]
  /** Whether the transaction has the locks of its tags since before it was read. */
  readonly isLocked: boolean
}

/** Which events to read by their tags. */
export interface TagsRead extends TagQuery {
  /** Only those with a greater id; null for all. */
  readonly after: bigint | null
  readonly limit: number | undefined
  readonly newestFirst: boolean
}

/** What an insert came to. */
export interface Inserted {
  /** In the order of the events; empty for a table without a log. */
  readonly notificationIds: bigint[]
}

/** The statements over one table of events. */
export interface EventsTable {
  /** What stands for the table in a statement. */
  readonly reference: string
  /** Whether states cross to the database faster as text. */
  readonly takesText: boolean
  /** Whether they come from it faster so. */
  readonly givesText: boolean
  /** Completes "the id … is": why the table cannot have an originator with this id; undefined where it can. Left out where it can have any. */
  idProblem?(originatorId: string): string | undefined
  /** Whether these events need more than one statement, or one that could store only a part. */
  needsTransaction(events: readonly StoredEvent[], conditions: readonly TagCondition[]): boolean
  /**
   * Stores all events with their tags, if none of their positions is taken, all predecessors are stored, and no event is that a
   * condition excludes.
   *
   * @returns undefined in the other case: nothing of the events is stored then, and a transaction goes on
   */
  insert(
    runner: StatementRunner | DriverConnection,
    events: readonly StoredEvent[],
    predecessors: readonly StreamPosition[],
    conditions: readonly TagCondition[],
  ): Promise<Inserted | undefined>
  /** The first event that a condition excludes, after an insert has come to nothing. */
  firstUnwanted(runner: StatementRunner, condition: TagCondition): Promise<bigint | undefined>
  /** Reads events by their tags, each query by itself, all as of one moment. */
  selectByTags(runner: StatementRunner | DriverConnection, queries: readonly TagsRead[]): Promise<TaggedRead[]>
  /** Adds tags to events that are stored; those that they have are passed over. */
  addTags(runner: StatementRunner, tagged: ReadonlyArray<readonly [tag: string, id: bigint]>): Promise<void>
  /** Keeps others from storing events with these tags until the end of the transaction. */
  lockTags(runner: StatementRunner | DriverConnection, tags: readonly string[]): Promise<void>
  select(runner: StatementRunner, originatorId: string, range: SelectEventsRange): Promise<StoredEvent[]>
  /** Reads the latest snapshot and the events after it. @param snapshots - a table of this database, with the same type of originator ids */
  selectSinceSnapshot(
    runner: StatementRunner,
    snapshots: EventsTable,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot>
  /** Deletes a part of a stream. */
  delete(runner: StatementRunner, originatorId: string, range: DeleteEventsRange): Promise<void>
  /** The last version of each of the streams that has events. */
  lastVersions(runner: StatementRunner, originatorIds: readonly string[]): Promise<Map<string, number>>
  /** Reads what is final of the log. */
  selectLog(runner: StatementRunner, range: LogRange): Promise<Notification[]>
  /** How many events of each topic there are, and how many streams begin with one of them; in the order of the topics. */
  countByTopic(runner: StatementRunner): Promise<TopicCount[]>
  /** The last position that is final, null for an empty log. */
  lastLogPosition(runner: StatementRunner): Promise<bigint | null>
  /** The last id that was given out, whatever has become of it; 0 for none. */
  lastGivenPosition(runner: StatementRunner): Promise<bigint>
  /** The greatest id that is committed, final or not; where it is not there, that is `lastLogPosition`. */
  greatestId?(runner: StatementRunner): Promise<bigint | null>
  /** Looks for what keeps the table from taking events, after an insert has come to nothing. */
  findFault(runner: StatementRunner): Promise<TableFault | undefined>
  /** What an insert notifies, and what tells this table from others of the database. */
  readonly channel: string
  /** What others notify who write the table, where they may. */
  readonly foreignChannel?: string | undefined
  /** The statements that make the table, harmless where it exists. */
  readonly createStatements: readonly string[]
}

/** One table of tracking positions, of subject keys, of idempotency keys, or of messages. */
export interface TrackingTableOptions {
  readonly name: string
  /** The schema that the table is in; default: the connection's. */
  readonly schema?: string | undefined
}

/** The statements over one table of tracking positions. */
export interface TrackingTable {
  /**
   * Moves the position of one upstream application on, by one statement that compares and writes.
   *
   * @returns false when the position is there already or beyond; nothing is changed then
   */
  advance(runner: StatementRunner, tracking: Tracking): Promise<boolean>
  /** All positions. */
  all(runner: StatementRunner): Promise<Tracking[]>
  /** The position of one upstream application, null when it has none. */
  lastPosition(runner: StatementRunner, applicationName: string): Promise<bigint | null>
  /** The statements that make the table, harmless where it exists. */
  readonly createStatements: readonly string[]
}

/** The statements over one table of subject keys. */
export interface SubjectKeysTable {
  /** The keys of those that have one. */
  select(runner: StatementRunner, subjects: readonly string[]): Promise<SubjectKey[]>
  /** Stores the keys of those that have none, and gives for each the one that is stored; for this it has to be in a transaction. */
  insert(runner: StatementRunner, keys: readonly SubjectKey[]): Promise<SubjectKey[]>
  /** Deletes a key; false where there is none. */
  delete(runner: StatementRunner, subject: string): Promise<boolean>
  /** The statements that make the table, harmless where it exists. */
  readonly createStatements: readonly string[]
}

/** The statements over one table of messages that were processed. */
export interface InboxTable {
  /** Notes a message; false where it is there. Another transaction that has noted it is waited for. */
  insert(runner: StatementRunner, source: string, id: string): Promise<boolean>
  /** Deletes messages that were received before, at most so many. @returns how many it has deleted */
  deleteOlder(runner: StatementRunner, olderThanMs: number, limit: number): Promise<number>
  /** The statements that make the table, harmless where it exists. */
  readonly createStatements: readonly string[]
}

/** The names of the tables of projections. */
export interface ProjectionTableNames {
  readonly projections: string
  readonly projectionStates: string
  readonly parkedEvents: string
}

/** The tables of the projections of one application. */
export interface ProjectionTablesOptions {
  readonly names: ProjectionTableNames
  /** The schema that the tables are in; default: the connection's. */
  readonly schema?: string | undefined
}

/** The statements over the tables of projections: those of a `ProjectionRecorder`, one by one. */
export interface ProjectionTables {
  rows(runner: StatementRunner): Promise<ProjectionRow[]>
  wanted(runner: StatementRunner, name: string, version: number): Promise<ProjectionWanted | undefined>
  add(runner: StatementRunner, key: ProjectionKey, partitions: number, position?: bigint): Promise<void>
  /** Divides a projection anew, in the runner's transaction; false where it is not paused, or its parts differ in their positions. */
  repartition(
    runner: StatementRunner,
    projection: Omit<ProjectionKey, 'partition'>,
    partitions: number,
  ): Promise<boolean>
  claim(
    runner: StatementRunner,
    key: ProjectionKey,
    owner: string,
    lease: { readonly leaseMs: number; readonly isSeized: boolean },
  ): Promise<ProjectionLease | undefined>
  /** Keeps others from changing the row of a part, until the end of the transaction. */
  lock(runner: StatementRunner, key: ProjectionKey): Promise<void>
  renew(
    runner: StatementRunner,
    owner: string,
    names: readonly string[],
    lease: { readonly leaseMs: number; readonly wanted: ProjectionWanted | undefined },
  ): Promise<number>
  release(runner: StatementRunner, key: ProjectionKey, epoch: bigint): Promise<void>
  supersede(runner: StatementRunner, name: string, version: number): Promise<void>
  /** Moves a position on, and renews the lease. @returns false where position or epoch is another */
  advance(runner: StatementRunner, key: ProjectionKey, move: ProjectionMove): Promise<boolean>
  reposition(runner: StatementRunner, key: ProjectionKey, epoch: bigint, position: bigint): Promise<boolean>
  change(runner: StatementRunner, name: string, version: number, change: ProjectionStateChange): Promise<void>
  park(runner: StatementRunner, name: string, version: number, event: Omit<ParkedEvent, 'parkedAt'>): Promise<void>
  parked(runner: StatementRunner, name: string, version: number): Promise<ParkedEvent[]>
  unpark(runner: StatementRunner, name: string, version: number, notificationId?: bigint): Promise<number>
  /** The statements that make the tables, harmless where they exist. */
  readonly createStatements: readonly string[]
}

/** The table of the timers of one application. */
export interface TimersTableOptions extends TrackingTableOptions {
  /** Whether what sets a timer notifies who listens to the table's channel, once it is committed. */
  readonly notifies: boolean
}

/** The statements over a table of timers: those of a `TimerRecorder`, one by one. */
export interface TimersTable {
  /** What setting a timer notifies. */
  readonly channel: string
  /** At which the transactions run that take timers; undefined for the default. */
  readonly isolationLevel: IsolationLevel | undefined
  set(runner: StatementRunner, timer: StoredTimer): Promise<void>
  clear(runner: StatementRunner, id: string): Promise<boolean>
  /** Timers that are due, without those that another transaction has: nobody else is given them until the end of this one. */
  take(runner: StatementRunner, topics: readonly string[], limit: number): Promise<DueTimer[]>
  remove(runner: StatementRunner, ids: readonly string[]): Promise<void>
  reserve(runner: StatementRunner, id: string, forMs: number): Promise<void>
  extend(runner: StatementRunner, timer: Pick<DueTimer, 'id' | 'epoch'>, forMs: number): Promise<boolean>
  finish(runner: StatementRunner, timer: Pick<DueTimer, 'id' | 'epoch'>): Promise<void>
  fail(runner: StatementRunner, timer: Pick<DueTimer, 'id' | 'epoch'>, failure: TimerFailure): Promise<void>
  nextInMs(runner: StatementRunner, topics: readonly string[]): Promise<number | undefined>
  select(runner: StatementRunner, options: SelectTimersOptions): Promise<PendingTimer[]>
  /** How many there are that have been due for longer than so many milliseconds and are still to be tried, by topic. */
  late(runner: StatementRunner, forMs: number): Promise<Array<{ readonly topic: string; readonly count: number }>>
  retry(runner: StatementRunner, only: { readonly id?: string; readonly topics?: readonly string[] }): Promise<number>
  /** The statements that make the table, harmless where it exists. */
  readonly createStatements: readonly string[]
}

/** What is stored under an idempotency key. */
export interface RecordedAnswer {
  readonly fingerprint: Uint8Array
  readonly response: RecordedResponse
}

/** The statements over one table of idempotency keys. */
export interface IdempotencyKeysTable {
  /**
   * Takes a key for the transaction that the runner is in: nobody else does until its end.
   *
   * @returns what is stored under the key and has not expired, where that is so; the key is not taken then. `in use` where
   * another transaction has the key: with as little waiting as the database allows
   */
  claim(runner: StatementRunner, claim: IdempotencyClaim): Promise<'claimed' | 'in use' | RecordedAnswer>
  /** Stores the answer under a key that was claimed; false where there is none. */
  complete(runner: StatementRunner, key: IdempotencyKey, response: RecordedResponse): Promise<boolean>
  /** Deletes the answers that have data of a person. @returns how many there were */
  deleteOf(runner: StatementRunner, subject: string): Promise<number>
  /** Deletes keys that have expired, at most so many. @returns how many it has deleted; fewer than `limit` when it met all */
  deleteExpired(runner: StatementRunner, limit: number): Promise<number>
  /** The statements that make the table, harmless where it exists. */
  readonly createStatements: readonly string[]
}

/**
 * What a statement does to the transaction that it is sent in: `controls` begins, ends or divides transactions, `commits` has the
 * transaction committed first, and what `mayCommit` shows only afterwards whether it has.
 */
export type StatementEffect = 'none' | 'controls' | 'commits' | 'mayCommit'

/** One kind of database. */
export interface Dialect {
  readonly name: string
  /** Whether one transaction at a time can write: one that is opened inside another is refused then, since it would wait for ever. */
  readonly singleWriter: boolean
  /** Whether tables can be in named schemas. */
  readonly hasSchemas: boolean
  /**
   * Whether a transaction at this isolation level sees one snapshot in which a log may have holes that are filled later.
   * Such a transaction reads the log outside of its snapshot.
   */
  logHasHolesAt(isolationLevel: IsolationLevel | undefined, readOnly: boolean): boolean
  /** Whether a transaction at this level (undefined: by default) goes on to read what was there before, when it has met something newer. */
  readsOldAt(isolationLevel: IsolationLevel | undefined): boolean
  connections(settings: ConnectionSettings): Connections
  /**
   * Asks a connection for the isolation level that it has by default, where reads by themselves see at `level` what they see in a
   * transaction of that level; not there where no level is like that.
   */
  readonly readsAloneAt?: { readonly query: string; readonly level: string }
  /** Statements to send right after BEGIN for what the adapter cannot be asked for. */
  afterBegin(options: { readonly isolationLevel: IsolationLevel | undefined; readonly readOnly: boolean }): SqlQuery[]
  /** Statements that make the server end, after so many milliseconds, what the library failed to end; for a connection or for one transaction. */
  guards(limitMs: number, reach: 'session' | 'transaction'): SqlQuery[]
  /** Statements for each new connection that not every server knows, by which it ends what nobody waits for any more. */
  courtesies(limitMs: number): SqlQuery[]
  /** What a failed statement leaves of its transaction. */
  damageOf(error: unknown, facts: DriverErrorFacts | undefined): Damage
  /** What the statements in a text do to a transaction: the worst counts. */
  effectOf(sql: string): StatementEffect
  /** Asks whether a transaction is gone after a statement of it that failed, where the failure does not say so; not there where it always does. */
  hasEndedAfter?(connection: SqlQueryable, facts: DriverErrorFacts | undefined): Promise<boolean>
  /** Turns the facts into the error that callers see; undefined where the kind alone decides. */
  translate(facts: DriverErrorFacts, message: string, cause: unknown): EventSourcingError | undefined
  /** Whether a failed COMMIT, or a failed statement without a transaction, may have been carried out all the same. */
  mayHaveCommitted(error: unknown, facts: DriverErrorFacts | undefined): boolean
  /** Turns the statements that make tables into such as may be run by several processes at once, each to be sent as it is. */
  creationScripts(statements: readonly string[]): readonly string[]
  /** The statement that makes a connection listen to a channel; undefined where the database sends no notifications. */
  readonly listenStatement: ((channel: string) => string) | undefined
  eventsTable(options: EventsTableOptions): EventsTable
  trackingTable(options: TrackingTableOptions): TrackingTable
  subjectKeysTable(options: TrackingTableOptions): SubjectKeysTable
  idempotencyKeysTable(options: TrackingTableOptions): IdempotencyKeysTable
  inboxTable(options: TrackingTableOptions): InboxTable
  projectionTables(options: ProjectionTablesOptions): ProjectionTables
  /** The statements that make a view of a table of events, or snapshots, in which states are JSON. */
  readableView(table: ViewedTable): string[]
  timersTable(options: TimersTableOptions): TimersTable
  /** How an insert changes rows that exist, by one key alone; undefined where any unique key would do that. */
  readonly overwriting: Overwriting | undefined
  /** For tables beside those in use; undefined where a connection has one place for tables. */
  readonly shadow: ShadowDialect | undefined
  /** For who looks whether a database is in order. */
  readonly inspector: Inspector
  /** For the test kit. */
  readonly faults: FaultDialect
}

/** Connections that a server could end. */
interface ServerConnections {
  /** Asks a connection for its id. */
  readonly idQuery: SqlQuery
  /** Ends another connection; refused to users who may not. */
  endQuery(connectionId: unknown): SqlQuery
}

/** What differs between databases. */
export interface FaultDialect {
  /** Reads all rows of a table; what is before a dot in its name is its schema. */
  rowsQuery(table: string): SqlQuery
  /** Undefined where the database is a file: no connection is lost there, and every answer comes. */
  readonly server: ServerConnections | undefined
  /**
   * Rejects as a statement does that has to give way to another transaction, and leaves the connection as that would.
   *
   * @param atCommit - whether it happens in place of COMMIT, after which no transaction is left
   */
  giveWay(connection: SqlQueryable, atCommit: boolean): Promise<never>
}

/** For what has to be refused: when the database accepts it, the kit has lost its footing. */
export async function refused(connection: SqlQueryable, query: SqlQuery): Promise<never> {
  await connection.executeRaw(query)
  throw new TypeError(`The database has accepted what it was to refuse: ${query.sql}`)
}

/** One thing that was looked at. */
export interface Finding {
  /** What was looked at, such as `sequence`. */
  readonly check: string
  /** On which table, migration or server. */
  readonly subject: string
  readonly status: 'ok' | 'warning' | 'error'
  readonly message: string
  /** What to do. */
  readonly cure?: string
}

/** Runs a statement. */
export type Query = (sql: string, args?: unknown[]) => Promise<unknown[][]>

/** Where a table is. */
export interface TablePlace {
  readonly table: string
  readonly schema: string | undefined
}

/** What is known of a database of one kind. */
export interface Inspector {
  /** The columns of a table; none where there is no table. */
  columns(query: Query, place: TablePlace): Promise<string[]>
  /** The columns of each unique index, or primary key, in their order. */
  uniqueKeys(query: Query, place: TablePlace): Promise<string[][]>
  /** How the columns are declared that a table of Python's library lacks. */
  readonly addedColumns: { readonly metadata: string; readonly recorded_at: string }
  /** Looks, for about half a second, who writes a log besides this library, and what keeps it from being final. */
  writers(query: Query, place: TablePlace, order: LogOrder | undefined): Promise<Finding[]>
}

/** The columns of an index, from rows of its name and one of its columns. */
export function keysOf(rows: ReadonlyArray<readonly unknown[]>): string[][] {
  const keys = new Map<string, string[]>()
  for (const [name, column] of rows) {
    const key = keys.get(String(name)) ?? []
    keys.set(String(name), [...key, String(column)])
  }
  return [...keys.values()]
}

/** The tables that have a shadow, parents first. */
export interface ShadowTables {
  /** The schema or database of those in use. */
  readonly live: string
  /** Where those like them are. */
  readonly shadow: string
  readonly tables: readonly string[]
}

/** A foreign key that refers to one of the tables from outside. */
export interface OutsideReference {
  readonly table: string
  readonly to: string
}

/** What a shadow takes. Each statement stands for itself: where one fails, what was made before stays. */
export interface ShadowDialect {
  /** How a statement names a table of a schema or database. */
  qualified(schema: string, table: string): string
  /** How a statement that Prisma makes names the schema or database, up to the dot. */
  quoted(schema: string): string
  /** Where the client's tables are, when its adapter does not say so. */
  defaultSchema(runner: StatementRunner): Promise<string>
  exists(runner: StatementRunner, shadow: string): Promise<boolean>
  /** Makes the schema or database; fails where it exists. */
  create(runner: StatementRunner, shadow: string): Promise<void>
  /** Makes tables like those in use, with the foreign keys between them, and views of all others that can only be read. */
  furnish(runner: StatementRunner, tables: ShadowTables): Promise<void>
  /** The foreign keys of other tables to these. */
  outsideReferences(runner: StatementRunner, tables: ShadowTables): Promise<OutsideReference[]>
  /** Deletes the rows in use, and copies those of the shadow. */
  replaceRows(runner: StatementRunner, tables: ShadowTables): Promise<void>
  /** Removes the schema or database with everything in it; harmless where there is none. */
  drop(runner: StatementRunner, shadow: string): Promise<void>
}
