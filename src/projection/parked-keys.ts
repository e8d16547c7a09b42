/** The keys of a projection whose events wait behind one that was put aside. */
import type { ProjectionKey, ProjectionRecorder } from '../persistence/projection-recorder.js'
import type { PositionedEvent } from './handlers.js'
import type { Projection } from './projection.js'

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
    const { projection, recorder, key } = this.#host
    if (projection.onError !== 'park' || !this.#mayExist || events.length === 0) return events
    const parked = await recorder.parked(key.name, key.version)
    this.#mayExist = parked.length > 0
    if (!this.#mayExist) return events
    const firstOf = new Map<string, bigint>()
    for (const { key: parkedKey, notificationId } of parked) {
      if (!firstOf.has(parkedKey)) firstOf.set(parkedKey, notificationId)
    }
    const free: PositionedEvent[] = []
    for (const each of events) {
      const eventKey = projection.keyOf(each.event)
      const first = firstOf.get(eventKey)
      if (first === undefined || each.position === undefined) free.push(each)
      else await this.add(each.position, eventKey, { attempts: 0, error: `it waits behind event ${first}` })
    }
    return free
  }
}

/** What is said of a failure, in a few lines. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return text.slice(0, 2_000)
}
