/** The selects over one events table on PostgreSQL, and the conditions of appends: tags with their locks, and stored positions. */
import { createHash } from 'node:crypto'
import { NotSupportedError } from '../../errors.js'
import type { SelectEventsRange, SinceSnapshotRange } from '../../persistence/recorder.js'
import type { StoredEvent, StreamPosition } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { LogRange, TagCondition } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import { beforeAllVersions, columnsOf, eventColumns, hexMark, notificationColumns } from './event-rows.js'
import { type LogTables, tagJoin } from './event-selects.js'

/** A table of events or snapshots, and the type of its originator ids. */
export interface StreamsTable {
  readonly reference: string
  readonly idType: string
  /** The texts of the selects over one stream that were made so far, by what they have. */
  readonly streamSelects: Map<number, string>
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
export function selectStream(table: StreamsTable, originatorId: string, range: SelectEventsRange): SqlQuery {
  const { gt, lte, desc = false, limit, asText = false } = range
  const args: unknown[] = [originatorId]
  if (gt !== undefined) args.push(gt)
  if (lte !== undefined) args.push(lte)
  if (limit !== undefined) args.push(limit)
  const has = [gt !== undefined, lte !== undefined, limit !== undefined, desc, asText]
  const key = has.reduce((bits, is) => bits * 2 + Number(is), 0)
  let sql = table.streamSelects.get(key)
  if (sql === undefined) {
    sql = streamSelect(table, range)
    table.streamSelects.set(key, sql)
  }
  return statement(sql, args)
}

function streamSelect({ reference, idType }: StreamsTable, range: SelectEventsRange): string {
  let parameter = 1
  let sql = `SELECT ${columnsFor(range)} FROM ${reference} WHERE originator_id = $1::${idType}`
  if (range.gt !== undefined) sql += ` AND originator_version > $${(parameter += 1)}::bigint`
  if (range.lte !== undefined) sql += ` AND originator_version <= $${(parameter += 1)}::bigint`
  sql += ` ORDER BY originator_version ${range.desc === true ? 'DESC' : 'ASC'}`
  return range.limit === undefined ? sql : `${sql} LIMIT $${(parameter += 1)}::bigint`
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

/** Keys for `pg_advisory_xact_lock(int, int)`, sorted, so that two transactions that take several never wait for each other. */
interface TagLockKeys {
  readonly firsts: readonly number[]
  readonly seconds: readonly number[]
}

/** Tells the keys of tags. The form with two integers keeps them apart from those of the log, which have one. */
function tagLockKeys(table: string, tags: Iterable<string>): TagLockKeys {
  const digests = new Map<string, Buffer>()
  for (const tag of tags) {
    const digest = createHash('sha256').update(`${table} ${tag}`).digest().subarray(0, 8)
    digests.set(digest.toString('hex'), digest)
  }
  const sorted = [...digests].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, digest]) => digest)
  return {
    firsts: sorted.map((digest) => digest.readInt32BE(0)),
    seconds: sorted.map((digest) => digest.readInt32BE(4)),
  }
}

/** Counts the locks that it takes, in the order of the keys: a function that gives nothing cannot stand alone for every client. */
function takesLocks(firsts: string, seconds: string): string {
  return `count(pg_advisory_xact_lock(k.a, k.b)::text) FROM unnest(${firsts}::int[], ${seconds}::int[]) AS k(a, b)`
}

/**
 * Takes the locks by a statement of its own: the check that follows it has a younger snapshot, which sees what those have
 * committed that were waited for.
 *
 * @throws `NotSupportedError` where all statements of the transaction have one snapshot
 */
export async function lockTags(runner: StatementRunner, table: string, tags: readonly string[]): Promise<void> {
  const { firsts, seconds } = tagLockKeys(table, tags)
  const level = `current_setting('transaction_isolation')`
  const { rows } = await runner.query(
    statement(`SELECT ${level} AS level, ${takesLocks('$1', '$2')}`, [firsts, seconds]),
  )
  const isolation = String(rows[0]?.[0])
  if (isolation === 'read committed' || isolation === 'read uncommitted') return
  throw new NotSupportedError(
    `Could not check what was decided by tags: the transaction is at ${isolation.toUpperCase()}, and sees only what was there at its ` +
      'beginning. Decide by tags at READ COMMITTED, the default: the locks of the tags and the check make it exact.',
  )
}

/** An insert of events, as it would be without tags but for the source of its locks. */
interface TaggedInsert {
  /** WITH, and the row of the floor. */
  readonly floorLock: string
  /** Selects from `tag_locks` as well, and returns id, originator id and version. */
  readonly insert: string
  /** Of the insert; those of the tags are added. */
  readonly args: unknown[]
  readonly events: readonly StoredEvent[]
  readonly table: StreamsTable
  /** Of the tags, as a statement names it. */
  readonly tags: string
}

/**
 * Stores the tags with the events, and takes their locks before any id is given. Where a condition was to be checked they are held
 * already, and this takes them once more.
 */
export function insertWithTags({ floorLock, insert, args, events, table, tags }: TaggedInsert): string {
  const { firsts, seconds } = tagLockKeys(table.reference, allTags(events, []))
  const locks = takesLocks(`$${args.push(firsts)}`, `$${args.push(seconds)}`)
  const rows = events.flatMap(({ originatorId, originatorVersion, tags: own = [] }) =>
    [...new Set(own)].map((tag) => ({ originatorId, originatorVersion, tag })),
  )
  const ids = args.push(rows.map(({ originatorId }) => originatorId))
  const versions = args.push(rows.map(({ originatorVersion }) => originatorVersion))
  const names = args.push(rows.map(({ tag }) => tag))
  return (
    `${floorLock.trimEnd()}, tag_locks AS MATERIALIZED (SELECT ${locks}), inserted AS (${insert}), ` +
    `tagged AS (INSERT INTO ${tags} (tag, notification_id) SELECT t.tag, i.id FROM inserted AS i JOIN ` +
    `unnest($${ids}::${table.idType}[], $${versions}::bigint[], $${names}::text[]) AS t(originator_id, originator_version, tag) ` +
    `USING (originator_id, originator_version)) SELECT id FROM inserted ORDER BY id`
  )
}

/** The tags of events and conditions, each once. */
export function allTags(events: readonly StoredEvent[], conditions: readonly TagCondition[]): string[] {
  return [...new Set([...events, ...conditions].flatMap(({ tags = [] }) => tags))]
}

/** A table of events, and the type of its ids. */
interface PositionsTable {
  readonly reference: string
  readonly idType: string
}

/** Whether all positions are stored. */
export function areStored(table: PositionsTable, positions: readonly StreamPosition[], args: unknown[]): string {
  const [only, ...others] = positions
  if (only !== undefined && others.length === 0) return isStored(table, only, args)
  return `${countStored(table, positions, args)} = ${positions.length}`
}

/** Whether one of the positions is stored. */
export function anyStored(table: PositionsTable, positions: readonly StreamPosition[], args: unknown[]): string {
  const [only, ...others] = positions
  if (only !== undefined && others.length === 0) return isStored(table, only, args)
  return `(${countStored(table, positions, args)} > 0)`
}

function isStored({ reference, idType }: PositionsTable, position: StreamPosition, args: unknown[]): string {
  const id = args.push(position.originatorId)
  const version = args.push(position.originatorVersion)
  return (
    `EXISTS (SELECT FROM ${reference} AS s WHERE s.originator_id = $${id}::${idType} ` +
    `AND s.originator_version = $${version}::bigint)`
  )
}

/** How many of the positions are stored: looked up one by one in the index, whatever the planner thinks of the table. */
function countStored(
  { reference, idType }: PositionsTable,
  positions: readonly StreamPosition[],
  args: unknown[],
): string {
  const ids = args.push(positions.map((position) => position.originatorId))
  const versions = args.push(positions.map((position) => position.originatorVersion))
  return (
    `(SELECT count(*) FROM unnest($${ids}::${idType}[], $${versions}::bigint[]) AS p(o, v) WHERE (` +
    `SELECT true FROM ${reference} AS s WHERE s.originator_id = p.o AND s.originator_version = p.v))`
  )
}
