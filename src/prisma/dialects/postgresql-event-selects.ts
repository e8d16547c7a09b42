/** The selects over one events table on PostgreSQL. */
import type { SelectEventsRange, SinceSnapshotRange } from '../../persistence/recorder.js'
import type { LogRange } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import { beforeAllVersions, columnsOf, eventColumns, hexMark, notificationColumns } from './event-rows.js'
import { type LogTables, tagJoin } from './event-selects.js'

/** A table of events or snapshots, and the type of its originator ids. */
export interface StreamsTable {
  readonly reference: string
  readonly idType: string
}

/**
 * A state as text: the driver gives bytes as hexadecimal digits, twice as many, and takes long to read them. Each byte becomes the
 * character of that number, which never fails, unlike a conversion from UTF-8; only zero is none, and JSON does not have it. What does
 * not look like JSON, and all states of a database in another encoding, come as digits.
 */
const stateAsText =
  `CASE WHEN getdatabaseencoding() = 'UTF8' AND substring(state FROM 1 FOR 1) = '{'::bytea AND position(E'\\\\000'::bytea IN state) = 0 ` +
  `THEN convert_from(state, 'LATIN1') ELSE E'\\${hexMark}' || encode(state, 'hex') END AS state`

const textColumns = eventColumns.replace(' state,', ` ${stateAsText},`)

function columnsFor({ asText }: { readonly asText?: boolean }): string {
  return asText === true ? textColumns : eventColumns
}

/** Reads (a part of) one stream. */
export function selectStream(
  { reference, idType }: StreamsTable,
  originatorId: string,
  range: SelectEventsRange,
): SqlQuery {
  const args: unknown[] = [originatorId]
  let sql = `SELECT ${columnsFor(range)} FROM ${reference} WHERE originator_id = $1::${idType}`
  if (range.gt !== undefined) sql += ` AND originator_version > $${args.push(range.gt)}::bigint`
  if (range.lte !== undefined) sql += ` AND originator_version <= $${args.push(range.lte)}::bigint`
  sql += ` ORDER BY originator_version ${range.desc === true ? 'DESC' : 'ASC'}`
  if (range.limit !== undefined) sql += ` LIMIT $${args.push(range.limit)}::bigint`
  return statement(sql, args)
}

/** Reads the latest snapshot of one originator and the events after it, in any order. */
export function selectSinceSnapshot(
  { reference, idType }: StreamsTable,
  snapshots: string,
  originatorId: string,
  range: SinceSnapshotRange,
): SqlQuery {
  const { lte, limit } = range
  const columns = columnsFor(range)
  const args: unknown[] = [originatorId, limit]
  const ofStream = `originator_id = $1::${idType}`
  const upTo = lte === undefined ? '' : ` AND originator_version <= $${args.push(lte)}::bigint`
  const isStored = `EXISTS (SELECT 1 FROM ${reference} AS stored WHERE stored.${ofStream} AND stored.originator_version = snapshot.originator_version)`
  return statement(
    `WITH snapshot AS (SELECT ${eventColumns} FROM ${snapshots} WHERE ${ofStream}${upTo} ORDER BY originator_version DESC LIMIT 1) ` +
      `SELECT ${columnsOf('snapshot', isStored, columns)} FROM snapshot UNION ALL (SELECT ${columnsOf('event', '', columns)} FROM ${reference} WHERE ${ofStream} ` +
      `AND originator_version > coalesce((SELECT originator_version FROM snapshot), ${beforeAllVersions})${upTo} ` +
      `ORDER BY originator_version LIMIT $2::bigint)`,
    args,
  )
}

/** Reads the last version of each of the streams that has events. */
export function selectLastVersions({ reference, idType }: StreamsTable, originatorIds: readonly string[]): SqlQuery {
  const sql =
    `SELECT originator_id, max(originator_version) FROM ${reference} ` +
    `WHERE originator_id = ANY($1::${idType}[]) GROUP BY originator_id`
  return statement(sql, [originatorIds])
}

/**
 * In milliseconds since 1970: as it is, one driver gives the time in the zone of the session and takes it for UTC. Whole
 * milliseconds first, since the seconds are a floating-point number before PostgreSQL 14.
 */
const recordedAt = `round(extract(epoch FROM date_trunc('milliseconds', recorded_at)) * 1000)::bigint`

/** So many events behind the end of a read may be walked through for nothing: that is soon done. */
const shortWay = 10_000n

/**
 * Reads a part of the log, up to the position that it is settled to.
 *
 * On a table without statistics the planner expects few rows from two bounds, and from a comparison with topics, and would sort all that
 * follow instead of walking the index: the end stands outside, unless it is far before the settled position, and the topics in a
 * CASE, of which it knows nothing.
 */
export function selectLogPart({ events, tags }: LogTables, range: LogRange, settled: bigint): SqlQuery {
  const { from, limit, to = settled, topics } = range
  const isNear = settled - to < shortWay
  const args: unknown[] = [from, isNear && to < settled ? to : settled, limit]
  const stop = isNear ? '' : ` AND id <= $${args.push(to)}::bigint`
  const byTopic =
    topics.length > 0 ? ` AND CASE WHEN topic = ANY($${args.push(topics)}::text[]) THEN true ELSE false END` : ''
  const joined = range.tags
    .map((tag, index) => tagJoin(tags, index, [`$${args.push(tag)}::text`, '$1::bigint']))
    .join('')
  return statement(
    `SELECT * FROM (SELECT ${notificationColumns({ recordedAt })} FROM ${events}${joined} WHERE id >= $1::bigint${stop}${byTopic} ` +
      `ORDER BY id LIMIT $3::bigint) AS page WHERE id <= $2::bigint ORDER BY id`,
    args,
  )
}
