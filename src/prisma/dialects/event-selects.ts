/** The selects over an events table, by streams, the log and tags, alike on all databases but for what a dialect says. */
import type { SelectEventsRange, SinceSnapshotRange, TaggedRead } from '../../persistence/recorder.js'
import type { StreamPosition } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { LogRange, TagCondition, TagsRead, TopicCount } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import {
  beforeAllVersions,
  columnsOf,
  eventColumns,
  type NotificationColumns,
  notificationColumns,
  partsOf,
  toBigInt,
  toStoredEvent,
} from './event-rows.js'

/** Reads (a part of) one stream. @param columns - `eventColumns`, or the same with the state as text */
export function selectStream(
  table: string,
  originatorId: string,
  range: SelectEventsRange,
  columns: string = eventColumns,
): SqlQuery {
  const conditions = ['originator_id = ?']
  const args: unknown[] = [originatorId]
  if (range.gt !== undefined) {
    conditions.push('originator_version > ?')
    args.push(range.gt)
  }
  if (range.lte !== undefined) {
    conditions.push('originator_version <= ?')
    args.push(range.lte)
  }
  const order = `ORDER BY originator_version ${range.desc === true ? 'DESC' : 'ASC'}`
  const sql = `SELECT ${columns} FROM ${table} WHERE ${conditions.join(' AND ')} ${order}`
  if (range.limit === undefined) return statement(sql, args)
  // A number would reach one of the drivers as a floating point value, which LIMIT refuses.
  return statement(`${sql} LIMIT ?`, [...args, BigInt(range.limit)])
}

/** Where a statement reads an originator from its latest snapshot on. */
interface SinceSnapshotSource {
  readonly events: string
  readonly snapshots: string
  /** Makes a part of a union of a select with a limit. */
  readonly part: (select: string) => string
  /** Default `eventColumns`; or the same with the state as text. */
  readonly columns?: string
}

/** Reads the latest snapshot of one originator and the events after it, in any order. */
export function selectSinceSnapshot(
  { events, snapshots, part, columns }: SinceSnapshotSource,
  originatorId: string,
  { lte, limit }: SinceSnapshotRange,
): SqlQuery {
  const ofStream = `originator_id = ?${lte === undefined ? '' : ' AND originator_version <= ?'}`
  const args = lte === undefined ? [originatorId] : [originatorId, lte]
  // Looked up twice: from a common table expression, MariaDB does not see where in the index the events begin, and reads all of them.
  const latest = `SELECT max(originator_version) FROM ${snapshots} WHERE ${ofStream}`
  const page =
    `SELECT ${columnsOf('event', '', columns)} FROM ${events} WHERE ${ofStream} ` +
    `AND originator_version > coalesce((${latest}), ${beforeAllVersions}) ORDER BY originator_version LIMIT ?`
  const isStored =
    `EXISTS (SELECT 1 FROM ${events} AS stored WHERE stored.originator_id = ? ` +
    'AND stored.originator_version = snapshot.originator_version)'
  return statement(
    `SELECT ${columnsOf('snapshot', isStored, columns)} FROM ${snapshots} AS snapshot WHERE originator_id = ? ` +
      `AND originator_version = (${latest}) UNION ALL ${part(page)}`,
    [originatorId, originatorId, ...args, ...args, ...args, BigInt(limit)],
  )
}

/**
 * Reads a part of the log.
 *
 * @param expressions - what stands for columns in the result, and for the topic in comparisons; default: the columns
 */
export function selectLogPart(
  { events, tags }: LogTables,
  range: LogRange,
  { topic = 'topic', ...columns }: NotificationColumns & { readonly topic?: string } = {},
): SqlQuery {
  const conditions = ['id >= ?']
  const joined = range.tags.map((_tag, index) => tagJoin(tags, index, ['?', '?']))
  const args: unknown[] = [...range.tags.flatMap((tag) => [tag, range.from]), range.from]
  if (range.to !== undefined) {
    conditions.push('id <= ?')
    args.push(range.to)
  }
  if (range.topics.length > 0) {
    conditions.push(`${topic} IN (${range.topics.map(() => '?').join(', ')})`)
    args.push(...range.topics)
  }
  // By the tags' key, which one of these databases does not take for the same: it would read all of a tag, and sort it.
  const order = range.tags.length > 0 ? 't0.notification_id' : 'id'
  args.push(BigInt(range.limit))
  return statement(
    `SELECT ${notificationColumns(columns)} FROM ${events}${joined.join('')} WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT ?`,
    args,
  )
}

/** The tables of a log, as a statement names them. */
export interface LogTables {
  readonly events: string
  readonly tags: string
}

/** Narrows a read of the log to a tag: the rows of one tag stand in the order of the log, and are read from the same position. */
export function tagJoin(tags: string, index: number, [tag, from]: readonly [tag: string, from: string]): string {
  const name = `t${index}`
  return ` JOIN ${tags} AS ${name} ON ${name}.notification_id = id AND ${name}.tag = ${tag} AND ${name}.notification_id >= ${from}`
}

/** What has to be there, and what must not, when events are written. */
export interface Required {
  readonly predecessors: readonly StreamPosition[]
  readonly conditions: readonly TagCondition[]
}

/** What differs between databases. */
interface TagSyntax extends LogTables {
  /** Puts a value into a statement. */
  readonly parameter: (args: unknown[], value: unknown, type: 'text' | 'bigint') => string
  /** Joins the event `e` of a row `t0` of the tags; default: a plain join, which the database finds by itself by the key of the events. */
  readonly eventOfTag?: (events: string) => string
  /** The end of a topic, so many characters long. */
  readonly endOfTopic: (topic: string, length: string) => string
  /** For a driver that does not read integers beyond 2^53. */
  readonly wide: (id: string) => string
}

/** Reads events by their tags, and looks for those that must not be there. */
export class TagStatements {
  readonly #syntax: TagSyntax

  constructor(syntax: TagSyntax) {
    this.#syntax = syntax
  }

  /** What a read of the log by tags needs. */
  get tables(): LogTables {
    return this.#syntax
  }

  /** A condition that is true where there is an event that must not be there. */
  exists(condition: TagCondition, args: unknown[]): string {
    return `EXISTS (SELECT 1 ${this.#matching(condition, args)})`
  }

  /** The first event that must not be there. @param locking - ends a select that is to see the latest */
  firstUnwanted(condition: TagCondition, locking: string = ''): SqlQuery {
    const { wide } = this.#syntax
    const args: unknown[] = []
    const from = this.#matching(condition, args)
    return statement(
      `SELECT ${wide('t0.notification_id')} AS id ${from} ORDER BY t0.notification_id LIMIT 1${locking}`,
      args,
    )
  }

  /** Whether there is an event that must not be there. @param locking - ends selects that are to see the latest */
  async meetsAny(runner: StatementRunner, conditions: readonly TagCondition[], locking: string): Promise<boolean> {
    if (conditions.length === 0) return false
    const args: unknown[] = []
    const parts = conditions.map((condition) => `(SELECT 1 ${this.#matching(condition, args)} LIMIT 1${locking})`)
    return (await runner.query(statement(parts.join(' UNION ALL '), args))).rows.length > 0
  }

  /** Reads each query by itself, with the last position of its first tag: all in one statement, so as of one moment. */
  async read(runner: StatementRunner, queries: readonly TagsRead[], locking: string = ''): Promise<TaggedRead[]> {
    const args: unknown[] = []
    const parts = queries.map((query, index) => this.#part(query, { args, index, locking }))
    const { rows } = await runner.query(statement(parts.join(' UNION ALL '), args))
    const found = queries.map(() => ({
      events: [] as Array<{ event: ReturnType<typeof toStoredEvent>; id: bigint }>,
      after: null as bigint | null,
    }))
    for (const row of rows) {
      const [id, last, index] = row.slice(5)
      const read = found[Number(index)]
      if (read === undefined) continue
      if (last !== null && last !== undefined) read.after = toBigInt(last)
      if (id !== null && id !== undefined) read.events.push({ event: toStoredEvent(row), id: toBigInt(id) })
    }
    // No database promises the order in which it gives the parts of a union.
    for (const { events } of found) events.sort((a, b) => (a.id < b.id ? -1 : 1))
    return found
  }

  /** Stores tags of events that have their ids. */
  *inserts(tagged: ReadonlyArray<readonly [tag: string, id: bigint]>, ending: string = ''): Generator<SqlQuery> {
    const { tags } = this.#syntax
    for (const part of partsOf(tagged, longestInsert)) {
      const rows = part.map(() => '(?, ?)').join(', ')
      yield statement(`INSERT INTO ${tags} (tag, notification_id) VALUES ${rows}${ending}`, part.flat())
    }
  }

  #part(query: TagsRead, { args, index, locking }: PartPlace): string {
    const { tags, parameter, wide } = this.#syntax
    const [tag] = query.tags
    const last = `SELECT max(notification_id) AS last FROM ${tags} WHERE tag = ${parameter(args, tag, 'text')}${locking}`
    const matching = this.#matching({ ...query, except: [] }, args, true)
    const limit = query.limit === undefined ? '' : ` LIMIT ${parameter(args, query.limit, 'bigint')}`
    const order = `ORDER BY t0.notification_id${query.newestFirst ? ' DESC' : ''}`
    // Every part has a row, also where nothing matches: the last position is in it.
    return (
      `SELECT ${aliasedColumns('q')}, ${wide('q.id')} AS id, ${wide('m.last')} AS last, ${index} AS query FROM (${last}) AS m ` +
      `LEFT JOIN (SELECT ${aliasedColumns('e')}, e.id ${matching} ${order}${limit}${locking}) AS q ON 1 = 1`
    )
  }

  /** FROM and WHERE of the events that a query asks for. */
  #matching(
    { tags: asked, types, after, except }: Omit<TagCondition, 'isLocked'>,
    args: unknown[],
    withEvents: boolean = false,
  ): string {
    const { events, tags, parameter } = this.#syntax
    const [first, ...others] = asked
    let from = `FROM ${tags} AS t0`
    for (const [index, tag] of others.entries()) {
      const name = `t${index + 1}`
      from += ` JOIN ${tags} AS ${name} ON ${name}.notification_id = t0.notification_id AND ${name}.tag = ${parameter(args, tag, 'text')}`
    }
    if (withEvents || types.length > 0)
      from += this.#syntax.eventOfTag?.(events) ?? ` JOIN ${events} AS e ON e.id = t0.notification_id`
    let where = ` WHERE t0.tag = ${parameter(args, first, 'text')}`
    if (after !== null) where += ` AND t0.notification_id > ${parameter(args, after, 'bigint')}`
    if (except.length > 0) {
      where += ` AND t0.notification_id NOT IN (${except.map((id) => parameter(args, id, 'bigint')).join(', ')})`
    }
    return `${from}${where}${this.#ofTypes(types, args)}`
  }

  #ofTypes(types: readonly string[], args: unknown[]): string {
    if (types.length === 0) return ''
    const { endOfTopic, parameter } = this.#syntax
    const conditions = types.map((type) => {
      const end = `.${type}`
      return `${endOfTopic('e.topic', String(Array.from(end).length))} = ${parameter(args, end, 'text')}`
    })
    return ` AND (${conditions.join(' OR ')})`
  }
}

function aliasedColumns(alias: string): string {
  return eventColumns
    .split(', ')
    .map((column) => `${alias}.${column}`)
    .join(', ')
}

interface PartPlace {
  readonly args: unknown[]
  readonly index: number
  readonly locking: string
}

/** Rows of one statement: SQLite takes 32,766 parameters. */
const longestInsert = 10_000

/** The tags of events with their ids. */
export function taggedIds(
  events: ReadonlyArray<{ readonly tags?: readonly string[] }>,
  ids: readonly bigint[],
): Array<readonly [tag: string, id: bigint]> {
  return events.flatMap(({ tags = [] }, index) => {
    const id = ids[index]
    return id === undefined ? [] : [...new Set(tags)].map((tag) => [tag, id] as const)
  })
}

/** Counts the events of each topic, on every database. */
export async function countByTopic(runner: StatementRunner, table: string): Promise<TopicCount[]> {
  const isFirst = 'CASE WHEN originator_version <= 1 THEN 1 ELSE 0 END'
  const sql = `SELECT topic, COUNT(*), SUM(${isFirst}) FROM ${table} GROUP BY topic ORDER BY topic`
  const { rows } = await runner.query(statement(sql))
  return rows.map(([topic, events, streams]) => ({
    topic: String(topic),
    events: Number(events),
    streams: Number(streams),
  }))
}
