/** The selects over an events table for the databases whose parameters are question marks and whose log has no holes. */
import type { SelectEventsRange, SinceSnapshotRange } from '../../persistence/recorder.js'
import type { LogRange } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import {
  beforeAllVersions,
  columnsOf,
  eventColumns,
  type NotificationColumns,
  notificationColumns,
} from './event-rows.js'

/** Reads (a part of) one stream. */
export function selectStream(table: string, originatorId: string, range: SelectEventsRange): SqlQuery {
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
  const sql = `SELECT ${eventColumns} FROM ${table} WHERE ${conditions.join(' AND ')} ${order}`
  if (range.limit === undefined) return statement(sql, args)
  // A number would reach one of the drivers as a floating point value, which LIMIT refuses.
  return statement(`${sql} LIMIT ?`, [...args, BigInt(range.limit)])
}

/** Where a statement reads an originator from its latest snapshot on. */
export interface SinceSnapshotSource {
  readonly events: string
  readonly snapshots: string
  /** Makes a part of a union of a select with a limit. */
  readonly part: (select: string) => string
}

/** Reads the latest snapshot of one originator and the events after it, in any order. */
export function selectSinceSnapshot(
  { events, snapshots, part }: SinceSnapshotSource,
  originatorId: string,
  { lte, limit }: SinceSnapshotRange,
): SqlQuery {
  const ofStream = `originator_id = ?${lte === undefined ? '' : ' AND originator_version <= ?'}`
  const args = lte === undefined ? [originatorId] : [originatorId, lte]
  // Looked up twice: from a common table expression, MariaDB does not see where in the index the events begin, and reads all of them.
  const latest = `SELECT max(originator_version) FROM ${snapshots} WHERE ${ofStream}`
  const page =
    `SELECT ${columnsOf('event')} FROM ${events} WHERE ${ofStream} ` +
    `AND originator_version > coalesce((${latest}), ${beforeAllVersions}) ORDER BY originator_version LIMIT ?`
  const isStored =
    `EXISTS (SELECT 1 FROM ${events} AS stored WHERE stored.originator_id = ? ` +
    'AND stored.originator_version = snapshot.originator_version)'
  return statement(
    `SELECT ${columnsOf('snapshot', isStored)} FROM ${snapshots} AS snapshot WHERE originator_id = ? ` +
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
