/** Writes events into one table, and explains it when another writer was first. */
import { ConcurrencyError, IntegrityError, NotSupportedError } from '../errors.js'
import { conditionMet } from '../persistence/append-conditions.js'
import type { StoredEvent, StreamPosition } from '../persistence/stored-event.js'
import type { StatementRunner } from './connections.js'
import type { EventsTable, TagCondition } from './dialect.js'
import { readDriverError } from './driver-error.js'
import type { Engine } from './engine.js'
import { translateError, translateLoneWriteError } from './translate-error.js'

/** Gives a runner to a piece of work: with a turn in a transaction, or without. */
export type RunWith = <T>(work: (runner: StatementRunner) => Promise<T>) => Promise<T>

/** The writing half of a recorder. */
export class EventsWriter {
  readonly #engine: Engine
  readonly #table: EventsTable

  constructor(engine: Engine, table: EventsTable) {
    this.#engine = engine
    this.#table = table
  }

  /** Whether one statement stores all events or none, also outside of a transaction. */
  isOneStatement(events: readonly StoredEvent[], conditions: readonly TagCondition[]): boolean {
    return !this.#table.needsTransaction(events, conditions)
  }

  /**
   * Stores all events or none.
   *
   * @returns the notification ids, in the order of the events
   * @throws `ConcurrencyError` when a position is taken or a predecessor is missing
   * @throws `AppendConditionError` when an event is stored that a condition excludes
   */
  async write(
    run: RunWith,
    events: readonly StoredEvent[],
    { predecessors = [], conditions = [] }: Requirements,
  ): Promise<readonly bigint[]> {
    if (events.length === 0) return []
    const { dialect } = this.#engine
    let conflict: unknown
    let isAlone = false
    try {
      const inserted = await run((runner) => {
        isAlone = !runner.inTransaction
        return this.#table.insert(runner, events, predecessors, conditions)
      })
      if (inserted !== undefined) return inserted.notificationIds
    } catch (error) {
      if (readDriverError(error)?.kind !== 'UniqueConstraintViolation') {
        const translate = isAlone ? translateLoneWriteError : translateError
        throw translate(dialect, error, `append ${describe(events)}`)
      }
      conflict = error
    }
    try {
      conflict = await this.#explain(run, { events, predecessors, conditions }, conflict)
    } catch (error) {
      throw translateError(dialect, error, `append ${describe(events)}`)
    }
    throw conflict
  }

  async #explain(run: RunWith, { events, predecessors, conditions }: Attempted, cause: unknown): Promise<Error> {
    for (const condition of conditions) {
      const id = await run((runner) => this.#table.firstUnwanted(runner, condition))
      if (id !== undefined) return conditionMet(condition, events, { position: id, cause })
    }
    const firstVersions = new Map<string, number>()
    for (const event of events) {
      if (!firstVersions.has(event.originatorId)) firstVersions.set(event.originatorId, event.originatorVersion)
    }
    const lastVersions = await run((runner) => this.#table.lastVersions(runner, [...firstVersions.keys()]))
    for (const { originatorId, originatorVersion: expectedVersion } of predecessors) {
      const actualVersion = lastVersions.get(originatorId)
      if ((actualVersion ?? 0) >= expectedVersion) continue
      return conflictOn(originatorId, { expectedVersion, actualVersion, cause })
    }
    for (const [originatorId, firstVersion] of firstVersions) {
      const expectedVersion = firstVersion - 1
      const actualVersion = lastVersions.get(originatorId)
      const fits = actualVersion === undefined ? firstVersion <= 1 : actualVersion === expectedVersion
      if (!fits) return conflictOn(originatorId, { expectedVersion, actualVersion, cause })
    }
    const fault = await run((runner) => this.#table.findFault(runner))
    if (fault !== undefined) {
      const message = `Could not append ${describe(events)}: ${fault.message} Nothing was stored.`
      return fault.isRefusal ? new NotSupportedError(message, { cause }) : new IntegrityError(message, { cause })
    }
    return new IntegrityError(
      `Could not append ${describe(events)}: a position is given twice in it. Nothing was stored.`,
      { cause },
    )
  }
}

/** What was to be stored, and after what. */
interface Attempted {
  readonly events: readonly StoredEvent[]
  readonly predecessors: readonly StreamPosition[]
  readonly conditions: readonly TagCondition[]
}

/** What has to be there, and what must not, when events are written. */
export interface Requirements {
  readonly predecessors?: readonly StreamPosition[]
  readonly conditions?: readonly TagCondition[]
}

function conflictOn(
  originatorId: string,
  details: { readonly expectedVersion: number; readonly actualVersion: number | undefined; readonly cause: unknown },
): ConcurrencyError {
  const { expectedVersion, actualVersion } = details
  const found = actualVersion === undefined ? 'it has no events' : `it has version ${actualVersion}`
  return new ConcurrencyError(
    `Could not append version ${expectedVersion + 1} to stream ${originatorId}: ${found}. Nothing was stored. ` +
      'Another writer was first, or the aggregate was changed in a transaction that was rolled back: load it again and repeat the command.',
    { originatorId, ...details },
  )
}

function describe(events: readonly StoredEvent[]): string {
  const first = events[0]
  if (first === undefined) return 'no events'
  const streams = new Set(events.map((event) => event.originatorId)).size
  const where =
    streams === 1 ? `stream ${first.originatorId}` : `${streams} streams, the first of them ${first.originatorId}`
  return `${events.length} event${events.length === 1 ? '' : 's'} to ${where}`
}
