/** The statements over one events table on MariaDB and MySQL, and the counter that keeps its log in order. */
import { NotSupportedError } from '../../errors.js'
import type {
  DeleteEventsRange,
  SelectEventsRange,
  SinceSnapshot,
  SinceSnapshotRange,
  TaggedRead,
} from '../../persistence/recorder.js'
import type { Notification, StoredEvent, StreamPosition } from '../../persistence/stored-event.js'
import type { DriverConnection, StatementRunner } from '../connections.js'
import type {
  EventsTable,
  EventsTableOptions,
  Inserted,
  LogRange,
  TableFault,
  TagCondition,
  TagsRead,
  TopicCount,
} from '../dialect.js'
import { readDriverError, type SqlQuery, statement } from '../driver.js'
import type { LogWatch } from '../log-signals.js'
import {
  allOrNothing,
  chunksOf,
  eventColumns,
  hasTags,
  partsOf,
  toBigInt,
  toNotification,
  toSinceSnapshot,
  toStoredEvent,
  toText,
} from './event-rows.js'
import {
  countByTopic,
  type Required,
  selectLogPart,
  selectSinceSnapshot,
  selectStream,
  TagStatements,
  taggedIds,
} from './event-selects.js'
import {
  eventsTableStatements,
  positionsTable,
  setInsertId,
  snapshotsTableStatements,
  tagsTableStatements,
} from './mariadb-tables.js'

/** A statement may have 65,535 parameters and, by default, 16 MiB. */
const chunkLimits = { rows: 4_000, bytes: 8 * 1024 * 1024 }

/**
 * The column's collation takes "Dog.Added" and "dog.added" for one. A time as text, which the driver gives as it is: it moves a time by
 * its option `timezone`.
 */
const logExpressions = { topic: 'CAST(topic AS BINARY)', recordedAt: 'CAST(recorded_at AS CHAR)' }

/** How many positions or ids one statement lists. */
const longestList = 1_000

/** What the column of originator ids takes, in bytes. */
const longestId = 255

/** The tables that each transaction has taken ids for. */
const written = new WeakMap<DriverConnection, Set<string>>()

/**
 * Ids come from one counter row for each log. A flush locks it, late, just before COMMIT: so the ids have no gaps and
 * their order is the order of the commits.
 */
export class MariadbEventsTable implements EventsTable {
  readonly createStatements: readonly string[]
  readonly channel: string
  readonly reference: string
  readonly takesText = false
  readonly givesText = false
  readonly #withLog: boolean
  readonly #tagStatements: TagStatements
  readonly #watch: LogWatch | undefined

  constructor({ name, originatorIdType, withLog, watch, tags }: EventsTableOptions) {
    this.channel = name
    this.reference = `\`${name}\``
    this.#withLog = withLog
    this.#watch = watch
    const statements = withLog ? eventsTableStatements : snapshotsTableStatements
    this.createStatements = [
      ...statements(name, { originatorIdType }),
      ...(tags === undefined ? [] : tagsTableStatements(tags)),
    ]
    this.#tagStatements = new TagStatements({
      events: this.reference,
      tags: `\`${tags ?? ''}\``,
      parameter(args, value) {
        args.push(value)
        return '?'
      },
      // The column's collation takes "Added" and "added" for one.
      endOfTopic: (topic, length) => `CAST(RIGHT(${topic}, ${length}) AS BINARY)`,
      wide: (id) => id,
    })
  }

  idProblem(originatorId: string): string | undefined {
    return Buffer.byteLength(originatorId) > longestId ? `longer than ${longestId} bytes` : undefined
  }

  needsTransaction(events: readonly StoredEvent[]): boolean {
    return this.#withLog || chunksOf(events, chunkLimits).length > 1
  }

  async insert(
    runner: StatementRunner | DriverConnection,
    events: readonly StoredEvent[],
    predecessors: readonly StreamPosition[],
    conditions: readonly TagCondition[],
  ): Promise<Inserted | undefined> {
    if (!this.#withLog) {
      // What is stored stays stored, so looking first is as good as looking in the same statement.
      for (const part of partsOf(predecessors, longestList))
        if (!(await this.#areStored(runner, part))) return undefined
      return (await this.#insertRows(runner, events, undefined)) ? { notificationIds: [] } : undefined
    }
    if (chunksOf(events, chunkLimits).length > 1 && 'savepoint' in runner) {
      return await allOrNothing(runner, () => this.#insertIntoLog(runner, events, { predecessors, conditions }))
    }
    return await this.#insertIntoLog(runner, events, { predecessors, conditions })
  }

  // A locking read: the snapshot of the transaction may be older than what others have stored.
  async firstUnwanted(runner: StatementRunner, condition: TagCondition): Promise<bigint | undefined> {
    const { rows } = await runner.query(this.#tagStatements.firstUnwanted(condition, latest(runner)))
    return rows[0] === undefined ? undefined : toBigInt(rows[0][0])
  }

  async selectByTags(runner: StatementRunner | DriverConnection, queries: readonly TagsRead[]): Promise<TaggedRead[]> {
    // Who holds the counter keeps all others from writing: for a locking read nobody waits, then, and it misses nothing.
    return await this.#tagStatements.read(runner, queries, this.#holdsCounter(runner) ? latest(runner) : '')
  }

  async addTags(runner: StatementRunner, tagged: ReadonlyArray<readonly [tag: string, id: bigint]>): Promise<void> {
    const known = ' ON DUPLICATE KEY UPDATE tag = VALUES(tag)'
    for (const insert of this.#tagStatements.inserts(tagged, known)) await runner.execute(insert)
  }

  /** All who write this log take its counter, so that is the lock of every tag. */
  async lockTags(runner: StatementRunner | DriverConnection): Promise<void> {
    this.#noteCounter(runner)
    await runner.execute(
      statement(
        `INSERT INTO ${positionsTable} (log, notification_id) VALUES (?, 0) ON DUPLICATE KEY UPDATE notification_id = notification_id`,
        [this.channel],
      ),
    )
  }

  async select(runner: StatementRunner, originatorId: string, range: SelectEventsRange): Promise<StoredEvent[]> {
    const query = selectStream(this.reference, originatorId, range)
    const locking = range.latest === true ? latest(runner) : ''
    const { rows } = await runner.query(statement(`${query.sql}${locking}`, query.args))
    return rows.map(toStoredEvent)
  }

  async selectSinceSnapshot(
    runner: StatementRunner,
    snapshots: EventsTable,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot> {
    // A derived table, as SQLite wants it, would be written to a temporary one.
    const part = (select: string): string => `(${select})`
    const source = { events: this.reference, snapshots: snapshots.reference, part }
    const { rows } = await runner.query(selectSinceSnapshot(source, originatorId, range))
    return toSinceSnapshot(rows)
  }

  async delete(runner: StatementRunner, originatorId: string, { gt = -1, lte }: DeleteEventsRange): Promise<void> {
    const sql = `DELETE FROM ${this.reference} WHERE originator_id = ? AND originator_version > ? AND originator_version <= ?`
    await runner.execute(statement(sql, [originatorId, gt, lte]))
  }

  // A locking read: the snapshot of the transaction may be older than what it has met.
  async lastVersions(runner: StatementRunner, originatorIds: readonly string[]): Promise<Map<string, number>> {
    const versions = new Map<string, number>()
    for (const ids of partsOf(originatorIds, longestList)) {
      const sql =
        `SELECT originator_id, max(originator_version) FROM ${this.reference} ` +
        `WHERE originator_id IN (${ids.map(() => '?').join(', ')}) GROUP BY originator_id LOCK IN SHARE MODE`
      const { rows } = await runner.query(statement(sql, [...ids]))
      for (const [id, version] of rows) versions.set(toText(id), Number(version))
    }
    return versions
  }

  async selectLog(runner: StatementRunner | DriverConnection, range: LogRange): Promise<Notification[]> {
    if (range.limit < 1) return []
    await this.#checkIds(runner)
    const query = selectLogPart(this.#tagStatements.tables, range, logExpressions)
    // A transaction sees its own events, and below them may miss what others have stored since its snapshot. A locking read
    // misses nothing, and waits for nobody: who has taken ids keeps all others from it until its end.
    const missesOthers = this.#holdsCounter(runner)
    const { rows } = await runner.query(missesOthers ? statement(`${query.sql} LOCK IN SHARE MODE`, query.args) : query)
    return rows.map(toNotification)
  }

  /** Ids are given in the order of the commits, and those of a rollback are given again. */
  async countByTopic(runner: StatementRunner): Promise<TopicCount[]> {
    return await countByTopic(runner, this.reference)
  }

  /** Where the counter is behind the table, as after an import, the table counts. */
  async lastGivenPosition(runner: StatementRunner): Promise<bigint> {
    const sql =
      `SELECT greatest(coalesce((SELECT max(id) FROM ${this.reference}), 0), ` +
      `coalesce((SELECT notification_id FROM ${positionsTable} WHERE log = ?), 0))`
    const { rows } = await runner.query(statement(sql, [this.channel]))
    return toBigInt(rows[0]?.[0] ?? 0)
  }

  async lastLogPosition(runner: StatementRunner): Promise<bigint | null> {
    const { rows } = await runner.query(statement(`SELECT max(id) FROM ${this.reference}`))
    const last = rows[0]?.[0]
    return last === null || last === undefined ? null : toBigInt(last)
  }

  async findFault(runner: StatementRunner): Promise<TableFault | undefined> {
    // The snapshot of a transaction may be older than what its insert has met; who only looks waits for nobody.
    return this.#withLog ? await this.#compareIds(runner, runner.inTransaction ? ' LOCK IN SHARE MODE' : '') : undefined
  }

  /** Warns of a counter that is behind, before anything collides. */
  async #checkIds(runner: StatementRunner): Promise<void> {
    if (this.#watch?.isCheckDue === true) this.#watch.checked((await this.#compareIds(runner, ''))?.message)
  }

  /** @param seesLatest - ends a select that is to see more than the snapshot of the transaction */
  async #compareIds(runner: StatementRunner, seesLatest: string): Promise<TableFault | undefined> {
    // One statement, so that both are seen as of one moment.
    const sql =
      `SELECT notification_id, (SELECT max(id) FROM ${this.reference}${seesLatest}) FROM ${positionsTable} ` +
      `WHERE log = ?${seesLatest}`
    const { rows } = await runner.query(statement(sql, [this.channel]))
    const [counter, end] = rows[0] ?? []
    // One that is missing is made by the first insert, from what the table has.
    if (counter === undefined) return undefined
    const greatest = toBigInt(end ?? 0)
    if (greatest <= toBigInt(counter)) return undefined
    return {
      message:
        `the row '${this.channel}' of ${positionsTable} stands at ${toBigInt(counter)}, and the table ${this.reference} has ids up to ${greatest}, ` +
        `as after an import with ids or a restore: new ids collide with those, or come below what readers have passed. Run UPDATE ` +
        `${positionsTable} SET notification_id = (SELECT max(id) FROM ${this.reference}) WHERE log = '${this.channel}'.`,
      isRefusal: false,
    }
  }

  async #insertIntoLog(
    runner: StatementRunner | DriverConnection,
    events: readonly StoredEvent[],
    { predecessors, conditions }: Required,
  ): Promise<Inserted | undefined> {
    const count = events.length
    await this.#checkIds(runner)
    this.#noteCounter(runner)
    // A statement has room for some; the others are looked for before. What is stored stays stored.
    const [first = [], ...others] = [...partsOf(predecessors, longestList)]
    for (const part of others) if (!(await this.#areStored(runner, part))) return undefined
    const last = await this.#takeIds(runner, count, first)
    if (last === undefined) return undefined
    const firstId = last - BigInt(count) + 1n
    const notificationIds = events.map((_, index) => firstId + BigInt(index))
    // After the counter is taken: whoever comes later sees what this one stores.
    const isRefused = await this.#tagStatements.meetsAny(runner, conditions, latest(runner))
    if (!isRefused && (await this.#insertRows(runner, events, firstId))) {
      if (hasTags(events)) {
        for (const insert of this.#tagStatements.inserts(taggedIds(events, notificationIds)))
          await runner.execute(insert)
      }
      return { notificationIds }
    }
    // The transaction goes on, so the ids are given back: the row is still locked.
    await runner.execute(
      statement(`UPDATE ${positionsTable} SET notification_id = notification_id - ? WHERE log = ?`, [
        count,
        this.channel,
      ]),
    )
    return undefined
  }

  #holdsCounter(runner: StatementRunner | DriverConnection): boolean {
    return 'savepoint' in runner && written.get(runner)?.has(this.reference) === true
  }

  #noteCounter(runner: StatementRunner | DriverConnection): void {
    if (!('savepoint' in runner)) return
    if (runner.openAround?.some((outer) => written.get(outer)?.has(this.reference)) === true) throw numberedAround()
    written.set(runner, (written.get(runner) ?? new Set()).add(this.reference))
  }

  /** Moves the counter on, if the predecessors are stored; the first insert into a log makes it. @returns the last of the ids */
  async #takeIds(
    runner: StatementRunner,
    count: number,
    predecessors: readonly StreamPosition[],
  ): Promise<bigint | undefined> {
    const args: unknown[] = [this.channel, count]
    let condition = ''
    if (predecessors.length > 0) {
      condition = ` WHERE ${this.#countOf(predecessors, args)} = ${predecessors.length}`
    }
    // One statement also for a counter that is missing: looking first would lock a gap that others insert into.
    const last = await setInsertId(
      runner,
      `INSERT INTO ${positionsTable} (log, notification_id) SELECT ?, LAST_INSERT_ID(?) FROM DUAL${condition} ` +
        `ON DUPLICATE KEY UPDATE notification_id = LAST_INSERT_ID(notification_id + ?)`,
      [...args, count],
    )
    return last === BigInt(count) ? await this.#firstIds(runner, count) : last
  }

  /** A counter that begins, in a log that was filled by other means, goes on from there. */
  async #firstIds(runner: StatementRunner, count: number): Promise<bigint | undefined> {
    const end = await this.lastLogPosition(runner)
    if (end === null) return BigInt(count)
    const sql = `UPDATE ${positionsTable} SET notification_id = LAST_INSERT_ID(?) WHERE log = ?`
    return await setInsertId(runner, sql, [end + BigInt(count), this.channel])
  }

  async #areStored(runner: StatementRunner, positions: readonly StreamPosition[]): Promise<boolean> {
    const args: unknown[] = []
    const { rows } = await runner.query(statement(`SELECT ${this.#countOf(positions, args)}`, args))
    return Number(rows[0]?.[0]) === positions.length
  }

  #countOf(positions: readonly StreamPosition[], args: unknown[]): string {
    for (const position of positions) args.push(position.originatorId, position.originatorVersion)
    const list = positions.map(() => '(?, ?)').join(', ')
    return `(SELECT count(*) FROM ${this.reference} WHERE (originator_id, originator_version) IN (${list}))`
  }

  /** @returns false when a position is taken; none of the rows is stored then */
  async #insertRows(
    runner: StatementRunner,
    events: readonly StoredEvent[],
    firstId: bigint | undefined,
  ): Promise<boolean> {
    let id = firstId
    try {
      for (const chunk of chunksOf(events, chunkLimits)) {
        await runner.execute(this.#insertStatement(chunk, id))
        if (id !== undefined) id += BigInt(chunk.length)
      }
      return true
    } catch (error) {
      if (readDriverError(error)?.kind === 'UniqueConstraintViolation') return false
      throw error
    }
  }

  #insertStatement(events: readonly StoredEvent[], firstId: bigint | undefined): SqlQuery {
    const args: unknown[] = []
    let id = firstId
    for (const event of events) {
      if (id !== undefined) {
        args.push(id)
        id += 1n
      }
      const metadata = event.metadata === undefined ? null : JSON.stringify(event.metadata)
      args.push(event.originatorId, event.originatorVersion, event.topic, event.state, metadata)
    }
    const row = firstId === undefined ? '(?, ?, ?, ?, ?, utc_timestamp(3))' : '(?, ?, ?, ?, ?, ?, utc_timestamp(3))'
    const columns = firstId === undefined ? eventColumns : `id, ${eventColumns}`
    const rows = Array.from(events, () => row).join(', ')
    return statement(`INSERT INTO ${this.reference} (${columns}, recorded_at) VALUES ${rows}`, args)
  }
}

/** Ends a select that is to see what was committed after the snapshot of its transaction. */
function latest({ inTransaction }: StatementRunner): string {
  return inTransaction ? ' LOCK IN SHARE MODE' : ''
}

function numberedAround(): NotSupportedError {
  return new NotSupportedError(
    'Could not save events in a second transaction inside the current one (propagation "requiresNew", or "notSupported"): the current ' +
      'one has written events of the same log, and this database numbers those of one transaction after those of the other, so this ' +
      'would wait for ever. Save them in the current one ("nested" may fail alone), or in tx.afterCommit.',
  )
}
