/** Turns rows as the adapters give them into records, alike for all databases, and cuts events into parts that one statement can take. */
import { isUtf8 } from 'node:buffer'
import { InternalError } from '../../errors.js'
import type { SinceSnapshot } from '../../persistence/recorder.js'
import { type Notification, type StoredEvent, sizeOf, TextEvent } from '../../persistence/stored-event.js'
import type { DriverConnection } from '../connections.js'
import type { Inserted } from '../dialect.js'

/** The columns of a stored event, in the order in which every select lists them. */
export const eventColumns = 'originator_id, originator_version, topic, state, metadata'

/**
 * The columns of a row that is a snapshot or an event: a statement may give its snapshot anywhere among the events.
 *
 * @param isStored - for a snapshot: a condition that the event at its version is stored
 * @param columns - `eventColumns`, or the same with the state as text
 */
export function columnsOf(kind: 'snapshot' | 'event', isStored = '', columns: string = eventColumns): string {
  const mark = kind === 'event' ? '0' : `CASE WHEN ${isStored} THEN 1 ELSE 2 END`
  return `${columns}, ${mark} AS is_snapshot`
}

/** Less than every version. */
export const beforeAllVersions: number = Number.MIN_SAFE_INTEGER - 1

/** What stands for the columns of a notification that a driver does not give as they are. */
export interface NotificationColumns {
  /** For a driver that does not read integers beyond 2^53. */
  readonly id?: string
  /** For one that moves a time by the time zone of the session: the time in UTC as a text without a zone, or in milliseconds since 1970. */
  readonly recordedAt?: string
}

/** The columns of a notification. */
export function notificationColumns({ id = 'id', recordedAt = 'recorded_at' }: NotificationColumns = {}): string {
  return `${eventColumns}, ${id}, ${recordedAt}`
}

/** Reads a row of `eventColumns`. */
export function toStoredEvent(row: readonly unknown[]): StoredEvent {
  return eventOf(row, typeof row[3] === 'string' ? stateOfText(row[3]) : toBytes(row[3]))
}

/** Reads a row of `eventColumns` whose state is the text that its bytes are in UTF-8. */
export function toTextEvent(row: readonly unknown[]): StoredEvent {
  return eventOf(row, String(row[3]))
}

function eventOf(row: readonly unknown[], state: string | Uint8Array): StoredEvent {
  const metadata = row[4] === null || row[4] === undefined ? undefined : toJSONObject(row[4])
  const known = { originatorId: toText(row[0]), originatorVersion: Number(row[1]), topic: String(row[2]), metadata }
  if (typeof state === 'string') return new TextEvent(known, state)
  const { originatorId, originatorVersion, topic } = known
  const event = { originatorId, originatorVersion, topic, state }
  return metadata === undefined ? event : { ...event, metadata }
}

/** Begins a state in hexadecimal digits, where one was asked for as text. */
export const hexMark = '\\x'

/** Whether each character of a text is one byte of UTF-8. Counting the bytes is several times as quick as a regular expression. */
export function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

/** @param text - each character a byte, or hexadecimal digits. @returns bytes where they are no UTF-8 */
function stateOfText(text: string): string | Uint8Array {
  if (text.startsWith(hexMark)) return toBytes(Buffer.from(text.slice(hexMark.length), 'hex'))
  if (isAscii(text)) return text
  const bytes = Buffer.from(text, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : toBytes(bytes)
}

/** Reads rows of `columnsOf`. No database promises the order in which it gives the parts of a union. */
export function toSinceSnapshot(
  rows: ReadonlyArray<readonly unknown[]>,
  toEvent: (row: readonly unknown[]) => StoredEvent = toStoredEvent,
): SinceSnapshot {
  const isSnapshot = (row: readonly unknown[]): boolean => Number(row[5]) > 0
  const snapshot = rows.find(isSnapshot)
  const events = rows.filter((row) => !isSnapshot(row)).map((row) => toEvent(row))
  return {
    snapshot: snapshot === undefined ? undefined : toEvent(snapshot),
    isAhead: snapshot !== undefined && Number(snapshot[5]) === 2,
    events: events.sort((a, b) => a.originatorVersion - b.originatorVersion),
  }
}

/** Reads a row of `notificationColumns`. */
export function toNotification(row: readonly unknown[]): Notification {
  const notification = {
    id: toBigInt(row[5]),
    originatorId: toText(row[0]),
    originatorVersion: Number(row[1]),
    topic: String(row[2]),
    state: toBytes(row[3]),
    recordedAt: toDate(row[6]),
  }
  const metadata = row[4]
  return metadata === null || metadata === undefined
    ? notification
    : { ...notification, metadata: toJSONObject(metadata) }
}

/** Reads an originator id, which one of the databases keeps as bytes. */
export function toText(value: unknown): string {
  if (typeof value === 'string') return value
  return value instanceof Uint8Array ? decoder.decode(value) : String(value)
}

const decoder = new TextDecoder()

/** Reads an id or a count, which an adapter gives as a number, a text or a bigint. */
export function toBigInt(value: unknown): bigint {
  if (typeof value === 'bigint' || typeof value === 'number' || typeof value === 'string') return BigInt(value)
  throw new InternalError(`The database gave ${typeof value} where an integer was expected.`)
}

/** Sorted, since a database may give the ids of one statement in any order, and hands them out in the order of its rows. */
export function toIds(rows: ReadonlyArray<readonly unknown[]>): bigint[] {
  return rows.map((row) => toBigInt(row[0])).sort((a, b) => (a < b ? -1 : 1))
}

/** Reads a column of bytes. */
export function toBytes(value: unknown): Uint8Array {
  // Plain bytes, not one driver's kind of them; a view, since states are decoded soon and a copy would cost as much again.
  if (value instanceof Uint8Array) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  throw new InternalError(`The database gave ${typeof value} where bytes were expected.`)
}

/** Reads a column of JSON that holds an object. */
export function toJSONObject(value: unknown): Readonly<Record<string, unknown>> {
  const parsed: unknown = typeof value === 'string' ? JSON.parse(value) : value
  if (typeof parsed === 'object' && parsed !== null) return { ...parsed }
  throw new InternalError(`The database gave ${typeof parsed} where a JSON object was expected.`)
}

/** Reads a column of times. */
export function toDate(value: unknown): Date {
  if (value instanceof Date) return value
  if (typeof value === 'bigint' || typeof value === 'number') return new Date(Number(value))
  const text = String(value)
  if (/^-?\d+$/.test(text)) return new Date(Number(text))
  // A time without a zone is in UTC: that is how it was written.
  return new Date(/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text.replace(' ', 'T')}Z`)
}

/** Whether there is anything to do about tags. */
export function hasTags(events: ReadonlyArray<{ readonly tags?: readonly string[] }>): boolean {
  return events.some(({ tags }) => tags !== undefined && tags.length > 0)
}

/** What a statement can take: rows, and bytes of state. */
interface ChunkLimits {
  readonly rows: number
  readonly bytes: number
}

/** The events in order, in parts within the limits; an event that is larger than them goes alone. */
export function chunksOf(events: readonly StoredEvent[], limits: ChunkLimits): ReadonlyArray<readonly StoredEvent[]> {
  if (events.length === 1) return [events]
  const chunks: Array<readonly StoredEvent[]> = []
  let start = 0
  let bytes = 0
  for (const [index, event] of events.entries()) {
    const full = index - start >= limits.rows || bytes + sizeOf(event) > limits.bytes
    if (full && index > start) {
      chunks.push(events.slice(start, index))
      start = index
      bytes = 0
    }
    bytes += sizeOf(event)
  }
  if (start < events.length) chunks.push(start === 0 ? events : events.slice(start))
  return chunks
}

/** Yields the items in order, in parts of this length at most. */
export function* partsOf<T>(items: readonly T[], length: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += length) yield items.slice(start, start + length)
}

/** Runs several statements of one insert so that none stays stored when they come to nothing. */
export async function allOrNothing(
  connection: DriverConnection,
  insert: () => Promise<Inserted | undefined>,
): Promise<Inserted | undefined> {
  const savepoint = 'es_chunks'
  await connection.savepoint(savepoint)
  let inserted: Inserted | undefined
  try {
    inserted = await insert()
  } catch (error) {
    // Where the failure has ended the transaction there is no savepoint any more: that it is missing explains nothing.
    await connection.rollbackTo(savepoint).catch(() => undefined)
    throw error
  }
  if (inserted === undefined) await connection.rollbackTo(savepoint)
  else await connection.release(savepoint)
  return inserted
}
