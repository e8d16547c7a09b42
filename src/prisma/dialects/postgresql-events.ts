/** The statements over one events table on PostgreSQL. */
import { ProgrammingError } from '../../errors.js'
import type {
  DeleteEventsRange,
  SelectEventsRange,
  SinceSnapshot,
  SinceSnapshotRange,
  TaggedRead,
} from '../../persistence/recorder.js'
import { type Notification, type StoredEvent, type StreamPosition, TextEvent } from '../../persistence/stored-event.js'
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
import { statement } from '../driver.js'
import {
  allOrNothing,
  chunksOf,
  eventColumns,
  hasTags,
  isAscii,
  toBigInt,
  toIds,
  toNotification,
  toSinceSnapshot,
  toStoredEvent,
} from './event-rows.js'
import { countByTopic, type Required, TagStatements } from './event-selects.js'
import {
  allTags,
  anyStored,
  areStored,
  insertWithTags,
  lockTags,
  type StreamsTable,
  selectLastVersions,
  selectLogPart,
  selectSinceSnapshot,
  selectStream,
} from './postgresql-event-selects.js'
import { PostgresqlLog } from './postgresql-log.js'
import {
  channelName,
  eventsTableStatements,
  pythonChannelName,
  qualified,
  snapshotsTableStatements,
  tagsTableStatements,
} from './postgresql-tables.js'

/** The driver writes the bytes of several rows as text, which takes five times as long; a state that is larger than this goes alone, as bytes. */
const chunkLimits = { rows: 20_000, bytes: 1024 * 1024 }

/** What the type `uuid` takes. @see PostgreSQL's manual, "UUID Type" */
const uuidText = /^(?:[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}|\{[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}\})$/i

/** A table of events with the log that its ids make, or of snapshots without one. */
export class PostgresqlEventsTable implements EventsTable, StreamsTable {
  readonly createStatements: readonly string[]
  readonly reference: string
  readonly takesText = true
  readonly givesText = true
  readonly idType: string
  readonly streamSelects: Map<number, string> = new Map()
  readonly channel: string
  readonly foreignChannel: string | undefined
  /** Undefined for a table of snapshots. */
  readonly #log: PostgresqlLog | undefined
  readonly #locksTable: boolean
  readonly #tags: string
  readonly #tagStatements: TagStatements
  /** Of what most appends send: making such a text, and hashing it for the name of a prepared statement, takes longer than the rest of an append. */
  readonly #usualInserts = new Map<number, string>()

  constructor(options: EventsTableOptions) {
    const { name, schema, originatorIdType, withLog, notifies, watch, tags } = options
    this.reference = qualified(name, { schema })
    this.idType = originatorIdType
    this.channel = channelName(name, schema)
    this.#locksTable = withLog && options.order === 'table-lock'
    this.foreignChannel = this.#locksTable ? pythonChannelName(name) : undefined
    const channels = [
      ...(notifies ? [this.channel] : []),
      ...(this.foreignChannel === undefined ? [] : [this.foreignChannel]),
    ]
    this.#log = withLog ? new PostgresqlLog({ reference: this.reference, channels, watch }) : undefined
    this.#tags = tags === undefined ? '' : qualified(tags, { schema })
    this.#tagStatements = new TagStatements({
      events: this.reference,
      tags: this.#tags,
      parameter: (args, value, type) => `$${args.push(value)}::${type}`,
      // The planner takes the end of a topic for something rare, and would read the whole table for it, at each check.
      eventOfTag: (events) =>
        ` JOIN LATERAL (SELECT * FROM ${events} WHERE id = t0.notification_id OFFSET 0) AS e ON true`,
      endOfTopic: (topic, length) => `right(${topic}, ${length})`,
      wide: (id) => id,
    })
    const statements = withLog ? eventsTableStatements : snapshotsTableStatements
    this.createStatements = [
      ...statements(name, { schema, originatorIdType }),
      ...(tags === undefined ? [] : tagsTableStatements(tags, { schema })),
    ]
  }

  // What a cast to the type would refuse, and end the transaction with it.
  idProblem(originatorId: string): string | undefined {
    if (this.idType !== 'uuid' || uuidText.test(originatorId)) return undefined
    return "no UUID, which the type of the column asks for: for ids of any text give the recorder originatorIdType: 'text'"
  }

  // Outside of a transaction one event is stored or not, and several are all or nothing by a check in their statement.
  needsTransaction(events: readonly StoredEvent[], conditions: readonly TagCondition[]): boolean {
    return this.#locksTable || conditions.length > 0 || chunksOf(events, chunkLimits).length > 1
  }

  insert(
    runner: StatementRunner | DriverConnection,
    events: readonly StoredEvent[],
    predecessors: readonly StreamPosition[],
    conditions: readonly TagCondition[],
  ): Promise<Inserted | undefined> {
    const required = { predecessors, conditions }
    const chunks = chunksOf(events, chunkLimits)
    const isOneStatement = !this.#locksTable && conditions.length === 0 && chunks.length === 1
    return isOneStatement ? this.#insertAtOnce(runner, events, required) : this.#insertInSteps(runner, chunks, required)
  }

  async #insertInSteps(
    runner: StatementRunner | DriverConnection,
    chunks: ReadonlyArray<readonly StoredEvent[]>,
    { predecessors, conditions }: Required,
  ): Promise<Inserted | undefined> {
    const events = chunks.flat()
    // Held until the end of the transaction, as the Python library holds it.
    if (this.#locksTable) await runner.execute(statement(`LOCK TABLE ${this.reference} IN EXCLUSIVE MODE`))
    if (conditions.some(({ isLocked }) => !isLocked)) await this.lockTags(runner, allTags(events, conditions))
    if (chunks.length === 1 || !('savepoint' in runner)) {
      return await this.#insertAtOnce(runner, events, { predecessors, conditions })
    }
    return await allOrNothing(runner, async () => {
      const notificationIds: bigint[] = []
      let required: Required = { predecessors, conditions }
      for (const chunk of chunks) {
        const inserted = await this.#insertAtOnce(runner, chunk, required)
        if (inserted === undefined) return undefined
        notificationIds.push(...inserted.notificationIds)
        required = nothingRequired
      }
      return { notificationIds }
    })
  }

  async #insertAtOnce(
    runner: StatementRunner,
    events: readonly StoredEvent[],
    required: Required,
  ): Promise<Inserted | undefined> {
    const args: unknown[] = []
    const layout = argumentsOf(events, args)
    const isTagged = this.#tags !== '' && hasTags(events)
    const { inTransaction } = runner
    // Without a transaction the text of several depends on their streams.
    const isUsual = !isTagged && isNothing(required) && (inTransaction || (layout & single) !== 0)
    const key = inTransaction ? layout | together : layout
    const known = isUsual ? this.#usualInserts.get(key) : undefined
    const sql = known ?? (await this.#textOf(runner, events, args, { ...required, layout, isTagged, inTransaction }))
    if (isUsual) this.#usualInserts.set(key, sql)
    const { rows } = await runner.query(statement(sql, args))
    if (rows.length === events.length) return { notificationIds: this.#log !== undefined ? toIds(rows) : [] }
    if (rows.length > 0) await this.#removePart(runner, rows, isTagged ? allTags(events, []) : [])
    return undefined
  }

  async #textOf(
    runner: StatementRunner,
    events: readonly StoredEvent[],
    args: unknown[],
    options: InsertOptions,
  ): Promise<string> {
    const floor = this.#log?.floor(runner) ?? ''
    const floorLock = typeof floor === 'string' ? floor : await floor
    const insert = this.#insertSql(events, args, options)
    if (!options.isTagged) return `${floorLock}${insert}`
    return insertWithTags({ floorLock, insert, args, events, table: this, tags: this.#tags })
  }

  async firstUnwanted(runner: StatementRunner, condition: TagCondition): Promise<bigint | undefined> {
    const { rows } = await runner.query(this.#tagStatements.firstUnwanted(condition))
    return rows[0] === undefined ? undefined : toBigInt(rows[0][0])
  }

  async selectByTags(runner: StatementRunner, queries: readonly TagsRead[]): Promise<TaggedRead[]> {
    return await this.#tagStatements.read(runner, queries)
  }

  async addTags(runner: StatementRunner, tagged: ReadonlyArray<readonly [tag: string, id: bigint]>): Promise<void> {
    const sql = `INSERT INTO ${this.#tags} (tag, notification_id) SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT DO NOTHING`
    await runner.execute(statement(sql, [tagged.map(([tag]) => tag), tagged.map(([, id]) => id)]))
  }

  async lockTags(runner: StatementRunner, tags: readonly string[]): Promise<void> {
    await lockTags(runner, this.reference, tags)
  }

  async select(runner: StatementRunner, originatorId: string, range: SelectEventsRange): Promise<StoredEvent[]> {
    const { rows } = await runner.query(selectStream(this, originatorId, range))
    return rows.map(toStoredEvent)
  }

  async selectSinceSnapshot(
    runner: StatementRunner,
    snapshots: EventsTable,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot> {
    const { rows } = await runner.query(selectSinceSnapshot(this, snapshots.reference, originatorId, range))
    return toSinceSnapshot(rows)
  }

  async delete(runner: StatementRunner, originatorId: string, { gt = -1, lte }: DeleteEventsRange): Promise<void> {
    const sql =
      `DELETE FROM ${this.reference} WHERE originator_id = $1::${this.idType} ` +
      `AND originator_version > $2::bigint AND originator_version <= $3::bigint`
    await runner.execute(statement(sql, [originatorId, gt, lte]))
  }

  async lastVersions(runner: StatementRunner, originatorIds: readonly string[]): Promise<Map<string, number>> {
    const { rows } = await runner.query(selectLastVersions(this, originatorIds))
    return new Map(rows.map(([id, version]) => [String(id), Number(version)]))
  }

  async selectLog(runner: StatementRunner, range: LogRange): Promise<Notification[]> {
    // Asked once more, the end may be a smaller one: whoever takes `to` for the end of what was read would pass over the rest.
    const isFinal = range.isFinal && range.to !== undefined
    const settled = isFinal ? range.to : await this.#settled(runner, false)
    if (range.limit < 1 || settled < range.from) return []
    // A statement of its own: its snapshot is younger than the settled position.
    const { rows } = await runner.query(selectLogPart(this.#tagStatements.tables, range, settled))
    return rows.map(toNotification)
  }

  async lastLogPosition(runner: StatementRunner): Promise<bigint | null> {
    const settled = await this.#settled(runner, true)
    const sql = `SELECT max(id) FROM ${this.reference} WHERE id <= $1::bigint`
    const { rows } = await runner.query(statement(sql, [settled]))
    const last = rows[0]?.[0]
    return last === null || last === undefined ? null : toBigInt(last)
  }

  async countByTopic(runner: StatementRunner): Promise<TopicCount[]> {
    return await countByTopic(runner, this.reference)
  }

  async lastGivenPosition(runner: StatementRunner): Promise<bigint> {
    return (await this.#log?.lastGivenPosition(runner)) ?? 0n
  }

  async greatestId(runner: StatementRunner): Promise<bigint | null> {
    const { rows } = await runner.query(statement(`SELECT max(id) FROM ${this.reference}`))
    const greatest = rows[0]?.[0]
    return greatest === null || greatest === undefined ? null : toBigInt(greatest)
  }

  async findFault(runner: StatementRunner): Promise<TableFault | undefined> {
    return await this.#log?.findFault(runner)
  }

  #insertSql(
    events: readonly StoredEvent[],
    args: unknown[],
    { predecessors, conditions: tagConditions, layout, isTagged, inTransaction }: InsertOptions,
  ): string {
    const rows = (layout & single) !== 0 ? this.#singleRow() : this.#manyRows(layout)
    const conditions: string[] = []
    if (predecessors.length > 0) conditions.push(areStored(this, predecessors, args))
    for (const condition of tagConditions) conditions.push(`NOT ${this.#tagStatements.exists(condition, args)}`)
    // Without a transaction a part must not be stored: nothing is when a stream is seen to have its first position already,
    // and for what cannot be seen yet the statement fails as a whole.
    const counted = inTransaction || events.length === 1
    if (!counted) conditions.push(`NOT ${anyStored(this, firstPositions(events), args)}`)
    const sources = [...(isTagged ? ['tag_locks'] : []), ...(this.#log !== undefined ? ['floor'] : []), ...rows.from]
    return (
      `INSERT INTO ${this.reference} (${eventColumns}) ${rows.select}${sources.length > 0 ? ` FROM ${sources.join(', ')}` : ''}` +
      (conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '') +
      `${rows.order}${counted ? ' ON CONFLICT DO NOTHING' : ''}` +
      ` RETURNING ${this.#log !== undefined ? 'id' : 'originator_id, originator_version'}${isTagged ? ', originator_id, originator_version' : ''}`
    )
  }

  /** The usual case, for which the server has less to plan. */
  #singleRow(): RowSource {
    const select = `SELECT $1::${this.idType}, $2::bigint, $3::text, $4::bytea, $5::jsonb`
    return { select, from: [], order: '' }
  }

  #manyRows(layout: number): RowSource {
    const areTexts = (layout & asTexts) !== 0
    const states = areTexts ? `string_to_array($4::text, E'\\n')` : '$4::bytea[]'
    const metadata = (layout & withMetadata) === 0 ? 'NULL::jsonb[]' : '$5::jsonb[]'
    const rows =
      `unnest($1::${this.idType}[], $2::bigint[], $3::text[], ${states}, ${metadata}) ` +
      `WITH ORDINALITY AS e(${eventColumns}, position)`
    return {
      select: `SELECT ${areTexts ? eventColumns.replace('state', `convert_to(state, 'UTF8')`) : eventColumns}`,
      from: [rows],
      order: ' ORDER BY position',
    }
  }

  /** @throws `ProgrammingError` for a table of snapshots, which nobody reads as a log */
  async #settled(runner: StatementRunner, comparesIds: boolean): Promise<bigint> {
    if (this.#log === undefined) throw new ProgrammingError(`The table ${this.reference} is no log.`)
    return await this.#log.settledPosition(runner, comparesIds)
  }

  async #removePart(
    runner: StatementRunner,
    rows: ReadonlyArray<readonly unknown[]>,
    tags: readonly string[],
  ): Promise<void> {
    if (tags.length > 0) {
      const sql = `DELETE FROM ${this.#tags} WHERE tag = ANY($1::text[]) AND notification_id = ANY($2::bigint[])`
      await runner.execute(statement(sql, [tags, toIds(rows)]))
    }
    if (this.#log !== undefined) {
      const sql = `DELETE FROM ${this.reference} WHERE id = ANY($1::bigint[])`
      await runner.execute(statement(sql, [toIds(rows)]))
      return
    }
    const sql =
      `DELETE FROM ${this.reference} WHERE (originator_id, originator_version) IN ` +
      `(SELECT * FROM unnest($1::${this.idType}[], $2::bigint[]))`
    await runner.execute(statement(sql, [rows.map((row) => row[0]), rows.map((row) => row[1])]))
  }
}

interface InsertOptions extends Required {
  /** Of the arguments of its rows. */
  readonly layout: number
  readonly isTagged: boolean
  readonly inTransaction: boolean
}

const nothingRequired: Required = { predecessors: [], conditions: [] }

/** How the arguments of an insert are laid out, as bits. */
const single = 1
const asTexts = 2
const withMetadata = 4
const together = 8

/** The arguments of all its rows. @returns their layout */
function argumentsOf(events: readonly StoredEvent[], args: unknown[]): number {
  const [event] = events
  if (event !== undefined && events.length === 1) {
    args.push(event.originatorId, event.originatorVersion, event.topic, event.state, metadataOf(event))
    return single
  }
  const texts = textsOf(events)
  args.push(
    events.map((each) => each.originatorId),
    events.map((each) => each.originatorVersion),
    events.map((each) => each.topic),
    texts ?? events.map((each) => each.state),
  )
  const layout = texts === undefined ? 0 : asTexts
  if (!events.some(({ metadata }) => metadata !== undefined)) return layout
  args.push(events.map(metadataOf))
  return layout | withMetadata
}

function isNothing({ predecessors, conditions }: Required): boolean {
  return predecessors.length === 0 && conditions.length === 0
}

/** Where the rows of an insert come from. */
interface RowSource {
  readonly select: string
  readonly from: readonly string[]
  readonly order: string
}

function firstPositions(events: readonly StoredEvent[]): StreamPosition[] {
  const first = new Map<string, StreamPosition>()
  for (const event of events) if (!first.has(event.originatorId)) first.set(event.originatorId, event)
  return [...first.values()]
}

/**
 * All states in one text, a line each: an array of bytes is written in hexadecimal digits, and takes the driver much longer. Only for
 * ASCII, which every encoding of a database has; JSON escapes the ends of lines that are in it.
 */
function textsOf(events: readonly StoredEvent[]): string | undefined {
  const texts: string[] = []
  for (const event of events) {
    if (!(event instanceof TextEvent) || !isAscii(event.text) || event.text.includes('\n')) return undefined
    texts.push(event.text)
  }
  return texts.join('\n')
}

function metadataOf(event: StoredEvent): string | null {
  return event.metadata === undefined ? null : JSON.stringify(event.metadata)
}
