/** Cuts events into parts that one statement can take. */
import type { StoredEvent } from '../../persistence/stored-event.js'
import { sizeOf } from '../../persistence/text-event.js'
import type { DriverConnection } from '../connections.js'
import type { Inserted } from '../dialect.js'

/** What a statement can take: rows, and bytes of state. */
export interface ChunkLimits {
  readonly rows: number
  readonly bytes: number
}

/** Yields the events in order, in parts within the limits; an event that is larger than them goes alone. */
export function* chunksOf(events: readonly StoredEvent[], limits: ChunkLimits): Generator<readonly StoredEvent[]> {
  let start = 0
  let bytes = 0
  for (const [index, event] of events.entries()) {
    const full = index - start >= limits.rows || bytes + sizeOf(event) > limits.bytes
    if (full && index > start) {
      yield events.slice(start, index)
      start = index
      bytes = 0
    }
    bytes += sizeOf(event)
  }
  if (start < events.length) yield events.slice(start)
}

/** Yields the items in order, in parts of this length at most. */
export function* partsOf<T>(items: readonly T[], length: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += length) yield items.slice(start, start + length)
}

/** Whether `chunksOf` gives more than one part. */
export function needsChunks(events: readonly StoredEvent[], limits: ChunkLimits): boolean {
  if (events.length < 2) return false
  const parts = chunksOf(events, limits)
  parts.next()
  return parts.next().done !== true
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
