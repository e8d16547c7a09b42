/** The selects over an events table for the databases whose parameters are question marks and whose log has no holes. */
import type { SelectEventsRange } from '../../persistence/recorder.js'
import type { LogRange } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import { eventColumns, notificationColumnsWith } from './event-rows.js'

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

/**
 * Reads a part of the log.
 *
 * @param expressions - what stands for the id in the result, and for the topic in comparisons; default: the columns
 */
export function selectLogPart(
  table: string,
  range: LogRange,
  { id = 'id', topic = 'topic' }: { readonly id?: string; readonly topic?: string } = {},
): SqlQuery {
  const conditions = ['id >= ?']
  const args: unknown[] = [range.from]
  if (range.to !== undefined) {
    conditions.push('id <= ?')
    args.push(range.to)
  }
  if (range.topics.length > 0) {
    conditions.push(`${topic} IN (${range.topics.map(() => '?').join(', ')})`)
    args.push(...range.topics)
  }
  args.push(BigInt(range.limit))
  return statement(
    `SELECT ${notificationColumnsWith(id)} FROM ${table} WHERE ${conditions.join(' AND ')} ORDER BY id LIMIT ?`,
    args,
  )
}
