/** The keys of events in a projection: which part they belong to, and which of them wait behind an event that was put aside. */
import type { ProjectionKey, ProjectionRecorder } from '../persistence/projection-recorder.js'
import type { PositionedEvent } from './handlers.js'
import type { Projection } from './projection.js'

/** Which part of a projection the events of a key belong to: the same for the same key, on every machine. @see http://www.isthe.com/chongo/tech/comp/fnv/ */
export function partitionOf(key: string, partitions: number): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < key.length; index += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193)
  }
  return (hash >>> 0) % partitions
}

interface ParkedKeysHost {
  readonly projection: Projection
  readonly key: ProjectionKey
  readonly recorder: ProjectionRecorder
}

/** What `onError: 'park'` keeps in order. */
export class ParkedKeys {
  readonly #host: ParkedKeysHost
  /** Whether there may be any: nobody but this work makes the first. */
  #mayExist = true

  constructor(host: ParkedKeysHost) {
    this.#host = host
  }

  /** Puts an event aside, in the current transaction. */
  async add(
    notificationId: bigint,
    key: string,
    failed: { readonly attempts: number; readonly error: unknown },
  ): Promise<void> {
    const { name, version } = this.#host.key
    this.#mayExist = true
    const { attempts } = failed
    await this.#host.recorder.park(name, version, { notificationId, key, attempts, error: reasonOf(failed.error) })
  }

  /** Puts those events aside, in the current transaction, whose key has one that was put aside before. @returns the others */
  async withoutBlocked(events: readonly PositionedEvent[]): Promise<readonly PositionedEvent[]> {
    const { free, waiting } = await this.sorted(events)
    for (const { position, key, behind } of waiting) {
      await this.add(position, key, { attempts: 0, error: `it waits behind event ${behind}` })
    }
    return free
  }

  /** Tells which events are to wait behind one of their key that was put aside. */
  async sorted(events: readonly PositionedEvent[]): Promise<SortedEvents> {
    const { projection, recorder, key } = this.#host
    if (projection.onError !== 'park' || !this.#mayExist || events.length === 0) return { free: events, waiting: [] }
    const parked = await recorder.parked(key.name, key.version)
    this.#mayExist = parked.length > 0
    if (!this.#mayExist) return { free: events, waiting: [] }
    const firstOf = new Map<string, bigint>()
    for (const { key: parkedKey, notificationId } of parked) {
      if (!firstOf.has(parkedKey)) firstOf.set(parkedKey, notificationId)
    }
    const free: PositionedEvent[] = []
    const waiting: WaitingEvent[] = []
    for (const each of events) {
      const eventKey = projection.keyOf(each.event)
      const behind = firstOf.get(eventKey)
      if (behind === undefined || each.position === undefined) free.push(each)
      else waiting.push({ each, position: each.position, key: eventKey, behind })
    }
    return { free, waiting }
  }
}

/** An event that is to be put aside, since one of its key was. */
export interface WaitingEvent {
  readonly each: PositionedEvent
  readonly position: bigint
  readonly key: string
  /** The first of its key that was put aside. */
  readonly behind: bigint
}

/** Events, and those of them that have to wait. */
export interface SortedEvents {
  readonly free: readonly PositionedEvent[]
  readonly waiting: readonly WaitingEvent[]
}

/** What is said of a failure, in a few lines that every database can keep: whatever was thrown, it must not keep its event from being put aside. */
export function reasonOf(error: unknown): string {
  return textOf(error).slice(0, 2_000).replaceAll('\0', '\\0').toWellFormed()
}

function textOf(error: unknown): string {
  try {
    if (error instanceof Error) return `${error.name}: ${error.message === '' ? 'without a message' : error.message}`
    const text = String(error)
    return typeof error === 'string' && text !== ''
      ? text
      : `Something else than an Error was thrown: ${text === '' ? 'an empty text' : text}. Throw an Error that says what has failed.`
  } catch {
    return 'Something was thrown that cannot be shown as a text.'
  }
}
