/** The statements over one events table on SQLite. */
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
import { type SqlQuery, statement } from '../driver.js'
import {
  allOrNothing,
  chunksOf,
  eventColumns,
  hasTags,
  toBigInt,
  toIds,
  toNotification,
  toSinceSnapshot,
  toStoredEvent,
  toTextEvent,
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
import { eventsTableStatements, snapshotsTableStatements, tagsTableStatements } from './sqlite-tables.js'

/** SQLite takes 32,766 parameters in a statement: six for an event, one for all predecessors. */
const chunkLimits = { rows: 4_000, bytes: 64 * 1024 * 1024 }

/** A text is read in half of the time that bytes take. */
const textColumns = eventColumns.replace('state', 'CAST(state AS TEXT)')

/** Whether a state is in its text what it is in its bytes: for what is no UTF-8 there is this character. */
function isWhole(row: readonly unknown[]): boolean {
  return !String(row[3]).includes('\ufffd')
}

/** One of the drivers refuses to read integers beyond 2^53. */
const idAsText = 'CAST(id AS TEXT)'

/** Ids are rowids, given in the order of the commits, since one transaction writes at a time. */
export class SqliteEventsTable implements EventsTable {
  readonly createStatements: readonly string[]
  readonly channel: string
  readonly reference: string
  readonly takesText = false
  readonly givesText: boolean
  readonly #withLog: boolean
  readonly #hasTags: boolean
  readonly #tagStatements: TagStatements

  constructor({ name, originatorIdType, withLog, tags, adapterName }: EventsTableOptions) {
    // libsql ends the process at a text that is no UTF-8.
    this.givesText = adapterName === '@prisma/adapter-better-sqlite3'
    this.channel = name
    this.reference = `"${name}"`
    this.#withLog = withLog
    const statements = withLog ? eventsTableStatements : snapshotsTableStatements
    this.createStatements = [
      ...statements(name, { originatorIdType }),
      ...(tags === undefined ? [] : tagsTableStatements(tags)),
    ]
    this.#hasTags = tags !== undefined
    this.#tagStatements = new TagStatements({
      events: this.reference,
      tags: `"${tags ?? ''}"`,
      parameter(args, value) {
        args.push(value)
        return '?'
      },
      endOfTopic: (topic, length) => `substr(${topic}, -${length})`,
      wide: (id) => `CAST(${id} AS TEXT)`,
    })
  }

  needsTransaction(events: readonly StoredEvent[]): boolean {
    return (this.#hasTags && hasTags(events)) || chunksOf(events, chunkLimits).length > 1
  }

  insert(
    runner: StatementRunner | DriverConnection,
    events: readonly StoredEvent[],
    predecessors: readonly StreamPosition[],
    conditions: readonly TagCondition[],
  ): Promise<Inserted | undefined> {
    const chunks = chunksOf(events, chunkLimits)
    const insert = (): Promise<Inserted | undefined> => this.#insertChunks(runner, chunks, { predecessors, conditions })
    return chunks.length > 1 && 'savepoint' in runner ? allOrNothing(runner, insert) : insert()
  }

  async firstUnwanted(runner: StatementRunner, condition: TagCondition): Promise<bigint | undefined> {
    const { rows } = await runner.query(this.#tagStatements.firstUnwanted(condition))
    return rows[0] === undefined ? undefined : toBigInt(rows[0][0])
  }

  async selectByTags(runner: StatementRunner, queries: readonly TagsRead[]): Promise<TaggedRead[]> {
    return await this.#tagStatements.read(runner, queries)
  }

  async addTags(runner: StatementRunner, tagged: ReadonlyArray<readonly [tag: string, id: bigint]>): Promise<void> {
    for (const insert of this.#tagStatements.inserts(tagged, ' ON CONFLICT DO NOTHING')) await runner.execute(insert)
  }

  // A transaction is the one that writes from its first statement on.
  async lockTags(runner: StatementRunner): Promise<void> {
    await runner.query(statement('SELECT 1'))
  }

  async #insertChunks(
    runner: StatementRunner,
    chunks: ReadonlyArray<readonly StoredEvent[]>,
    requirements: Required,
  ): Promise<Inserted | undefined> {
    const notificationIds: bigint[] = []
    let required = requirements
    for (const chunk of chunks) {
      const { rows } = await runner.query(this.#insertStatement(chunk, required))
      if (rows.length < chunk.length) return undefined
      if (this.#withLog) notificationIds.push(...toIds(rows))
      required = { predecessors: [], conditions: [] }
    }
    const events = chunks.flat()
    if (this.#hasTags && hasTags(events)) {
      for (const insert of this.#tagStatements.inserts(taggedIds(events, notificationIds))) await runner.execute(insert)
    }
    return { notificationIds }
  }

  async select(runner: StatementRunner, originatorId: string, range: SelectEventsRange): Promise<StoredEvent[]> {
    if (range.asText === true && this.givesText) {
      const { rows } = await runner.query(selectStream(this.reference, originatorId, range, textColumns))
      if (rows.every(isWhole)) return rows.map(toTextEvent)
    }
    const { rows } = await runner.query(selectStream(this.reference, originatorId, range))
    return rows.map(toStoredEvent)
  }

  async selectSinceSnapshot(
    runner: StatementRunner,
    snapshots: EventsTable,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot> {
    const part = (select: string): string => `SELECT * FROM (${select})`
    const source = { events: this.reference, snapshots: snapshots.reference, part }
    if (range.asText === true && this.givesText) {
      const asText = selectSinceSnapshot({ ...source, columns: textColumns }, originatorId, range)
      const { rows } = await runner.query(asText)
      if (rows.every(isWhole)) return toSinceSnapshot(rows, toTextEvent)
    }
    const { rows } = await runner.query(selectSinceSnapshot(source, originatorId, range))
    return toSinceSnapshot(rows)
  }

  async delete(runner: StatementRunner, originatorId: string, { gt = -1, lte }: DeleteEventsRange): Promise<void> {
    const sql = `DELETE FROM ${this.reference} WHERE originator_id = ? AND originator_version > ? AND originator_version <= ?`
    await runner.execute(statement(sql, [originatorId, gt, lte]))
  }

  async lastVersions(runner: StatementRunner, originatorIds: readonly string[]): Promise<Map<string, number>> {
    const sql =
      `SELECT originator_id, max(originator_version) FROM ${this.reference} ` +
      `WHERE originator_id IN (SELECT value FROM json_each(?)) GROUP BY originator_id`
    const { rows } = await runner.query(statement(sql, [JSON.stringify(originatorIds)]))
    return new Map(rows.map(([id, version]) => [String(id), Number(version)]))
  }

  async selectLog(runner: StatementRunner, range: LogRange): Promise<Notification[]> {
    if (range.limit < 1) return []
    const { rows } = await runner.query(selectLogPart(this.#tagStatements.tables, range, { id: idAsText }))
    return rows.map(toNotification)
  }

  async countByTopic(runner: StatementRunner): Promise<TopicCount[]> {
    return await countByTopic(runner, this.reference)
  }

  /** Ids are given in the order of the commits, and those of a rollback are given again. Those of events that were deleted are not. */
  async lastGivenPosition(runner: StatementRunner): Promise<bigint> {
    const sql =
      `SELECT CAST(max(coalesce((SELECT max(id) FROM ${this.reference}), 0), ` +
      `coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)) AS TEXT)`
    const { rows } = await runner.query(statement(sql, [this.channel]))
    return toBigInt(rows[0]?.[0] ?? 0)
  }

  async lastLogPosition(runner: StatementRunner): Promise<bigint | null> {
    const { rows } = await runner.query(statement(`SELECT CAST(max(id) AS TEXT) FROM ${this.reference}`))
    const last = rows[0]?.[0]
    return last === null || last === undefined ? null : toBigInt(last)
  }

  // The database itself gives ids above all that the table has, or has had.
  async findFault(): Promise<TableFault | undefined> {
    return undefined
  }

  #insertStatement(events: readonly StoredEvent[], { predecessors, conditions }: Required): SqlQuery {
    const recordedAt = new Date().toISOString().replace('Z', '+00:00')
    const args: unknown[] = []
    for (const event of events) {
      const metadata = event.metadata === undefined ? null : JSON.stringify(event.metadata)
      args.push(event.originatorId, event.originatorVersion, event.topic, event.state, metadata, recordedAt)
    }
    const rows = Array.from(events, () => '(?, ?, ?, ?, ?, ?)').join(', ')
    let source = `VALUES ${rows}`
    if (predecessors.length > 0 || conditions.length > 0) {
      const required = predecessors.length > 0 ? [this.#areStored(predecessors, args)] : []
      for (const condition of conditions) required.push(`NOT ${this.#tagStatements.exists(condition, args)}`)
      source = `SELECT * FROM (VALUES ${rows}) WHERE ${required.join(' AND ')}`
    }
    const returned = this.#withLog ? idAsText : 'originator_version'
    return statement(
      `INSERT INTO ${this.reference} (${eventColumns}, recorded_at) ${source} RETURNING ${returned}`,
      args,
    )
  }

  #areStored(positions: readonly StreamPosition[], args: unknown[]): string {
    const [only, ...others] = positions
    if (only !== undefined && others.length === 0) {
      args.push(only.originatorId, only.originatorVersion)
      return `EXISTS (SELECT 1 FROM ${this.reference} WHERE originator_id = ? AND originator_version = ?)`
    }
    // However many they are, they are one parameter.
    args.push(JSON.stringify(positions.map((position) => [position.originatorId, position.originatorVersion])))
    return (
      `(SELECT count(*) FROM json_each(?) AS p WHERE EXISTS (SELECT 1 FROM ${this.reference} AS s WHERE ` +
      `s.originator_id = json_extract(p.value, '$[0]') AND s.originator_version = json_extract(p.value, '$[1]'))) = ${positions.length}`
    )
  }
}
