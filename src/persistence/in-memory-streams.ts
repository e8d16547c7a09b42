/** Events in memory, by originator: what the in-memory recorders keep them in. */
import { ConcurrencyError } from '../errors.js'
import type { DeleteEventsRange, SelectEventsRange } from './recorder.js'
import type { Metadata, StoredEvent, StreamPosition } from './stored-event.js'

/** The events of all originators, each originator's in the order of their versions. */
export class InMemoryStreams {
  readonly #streams = new Map<string, StoredEvent[]>()

  /**
   * Adds all events or none.
   *
   * @returns the events as they are kept, in the order given
   * @throws `ConcurrencyError` when a position is taken, or one of the predecessors is not
   */
  add(events: readonly StoredEvent[], predecessors: readonly StreamPosition[] = []): StoredEvent[] {
    for (const predecessor of predecessors) this.#requireStored(predecessor)
    const positions = new Set<string>()
    for (const { originatorId, originatorVersion } of events) {
      const position = `${originatorVersion} ${originatorId}`
      if (positions.has(position) || this.#has(originatorId, originatorVersion)) {
        throw this.#conflict(originatorId, originatorVersion - 1, `version ${originatorVersion} is stored already`)
      }
      positions.add(position)
    }
    const kept = events.map(copyOf)
    for (const event of kept) this.#insert(event)
    return kept
  }

  /** Copies of the events in a range, oldest first unless the range says otherwise. */
  select(originatorId: string, range: SelectEventsRange = {}): StoredEvent[] {
    const { gt, lte, desc = false, limit } = range
    const stream = this.#streams.get(originatorId) ?? []
    const from = gt === undefined ? 0 : firstAfter(stream, gt)
    const to = lte === undefined ? stream.length : firstAfter(stream, lte)
    const selected = stream.slice(from, Math.max(from, to))
    if (desc) selected.reverse()
    return (limit === undefined ? selected : selected.slice(0, Math.max(0, limit))).map(copyOf)
  }

  /** Forgets the events in a range. */
  delete(originatorId: string, { gt, lte }: DeleteEventsRange): void {
    const stream = this.#streams.get(originatorId) ?? []
    const from = gt === undefined ? 0 : firstAfter(stream, gt)
    stream.splice(from, Math.max(0, firstAfter(stream, lte) - from))
  }

  #has(originatorId: string, version: number): boolean {
    const stream = this.#streams.get(originatorId) ?? []
    return stream[firstAfter(stream, version) - 1]?.originatorVersion === version
  }

  #requireStored({ originatorId, originatorVersion }: StreamPosition): void {
    if (this.#has(originatorId, originatorVersion)) return
    throw this.#conflict(
      originatorId,
      originatorVersion,
      `version ${originatorVersion}, which they follow, is not stored`,
    )
  }

  #insert(event: StoredEvent): void {
    let stream = this.#streams.get(event.originatorId)
    if (stream === undefined) {
      stream = []
      this.#streams.set(event.originatorId, stream)
    }
    stream.splice(firstAfter(stream, event.originatorVersion), 0, event)
  }

  #conflict(originatorId: string, expectedVersion: number, reason: string): ConcurrencyError {
    const actualVersion = this.#streams.get(originatorId)?.at(-1)?.originatorVersion
    return new ConcurrencyError(
      `Cannot store events of ${originatorId}: ${reason}. Read the originator again and repeat the command.`,
      { originatorId, expectedVersion, actualVersion },
    )
  }
}

/** A copy that shares nothing with the original, as if it had come from a database. */
export function copyOf(event: StoredEvent): StoredEvent {
  const { originatorId, originatorVersion, topic, state, metadata } = event
  const copy = { originatorId, originatorVersion, topic, state: new Uint8Array(state) }
  // Through JSON, since that is what the column of a database holds.
  return metadata === undefined ? copy : { ...copy, metadata: JSON.parse(JSON.stringify(metadata)) as Metadata }
}

/** The index of the first event with a greater version. */
function firstAfter(stream: readonly StoredEvent[], version: number): number {
  let low = 0
  let high = stream.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const event = stream[middle]
    if (event !== undefined && event.originatorVersion <= version) low = middle + 1
    else high = middle
  }
  return low
}
