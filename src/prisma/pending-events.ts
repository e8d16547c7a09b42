/** Events that were saved in a transaction and wait for its flush, and how they are written: it explains when another writer was first. */
import { ConcurrencyError, IntegrityError, NotSupportedError } from '../errors.js'
import {
  type Append,
  type AppendCondition,
  type AppendOptions,
  conditionMet,
  isAskedFor,
  type SelectEventsRange,
  storeAgain,
  type TagQuery,
} from '../persistence/recorder.js'
import { type StoredEvent, type StreamPosition, withBytes } from '../persistence/stored-event.js'
import type { Statements } from '../transaction/connection.js'
import type { PendingWork, Run, Written } from '../transaction/endings.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { EventsTable, TagCondition } from './dialect.js'
import { readDriverError } from './driver.js'
import type { Engine } from './engine.js'
import { translateError, translateLoneWriteError } from './translate-error.js'

/** Runs work in a part of a scope that can fail alone. */
export type InPart = (work: (part: PendingEvents) => Promise<void>) => Promise<void>

/** The pending events of one recorder in one scope. */
export class PendingEvents implements PendingWork<DriverConnection> {
  readonly #writer: EventsWriter
  readonly #inPart: InPart
  readonly #readsOld: () => Promise<boolean>
  #appends: Append[] = []
  /** Like the next one it is read often, so it is a field: only this class writes it. */
  eventCount = 0
  needsPreparation = false

  /**
   * @param inPart - runs work in a part of the scope, with the pending events of that
   * @param readsOld - whether the transaction goes on to read what was there before a conflict
   */
  constructor(writer: EventsWriter, inPart: InPart, readsOld: () => Promise<boolean>) {
    this.#writer = writer
    this.#readsOld = readsOld
    this.#inPart = inPart
  }

  async prepare(): Promise<void> {
    const readsOld = await this.#readsOld()
    const taken = this.#take()
    const appends = readsOld ? taken.map(madeOnce) : taken
    try {
      await storeAgain(appends, (all) =>
        this.#inPart(async (part) => {
          for (const append of all) {
            const { events, options } = typeof append === 'function' ? await append() : append
            const { before, again: _again, ...others } = options
            await before?.()
            part.add(events, others)
          }
        }),
      )
    } catch (error) {
      tellLost(appends)
      throw error
    }
  }

  get isOneStatement(): boolean {
    return this.#writer.isOneStatement(this.#events, conditionsOf(this.#appends))
  }

  add(events: readonly StoredEvent[], options: AppendOptions): void {
    if (events.length === 0) return
    this.#appends.push({ events, options })
    this.eventCount += events.length
    if (options.before !== undefined || options.again !== undefined) this.needsPreparation = true
  }

  clear(): void {
    if (this.eventCount > 0) tellLost(this.#take())
  }

  #take(): Append[] {
    const taken = this.#appends
    this.#appends = []
    this.eventCount = 0
    this.needsPreparation = false
    return taken
  }

  async flush(run: Run<Statements<DriverConnection>>): Promise<Written> {
    const events = this.#events
    const appends = this.#take()
    let ids: readonly bigint[]
    try {
      ids = await this.#writer.write(run, events, {
        predecessors: predecessorsOutside(appends),
        conditions: conditionsOf(appends),
      })
    } catch (error) {
      tellLost(appends)
      throw error
    }
    noteIds(events, ids)
    return { stored: () => tellRecorded(appends, ids), lost: () => tellLost(appends) }
  }

  get #events(): readonly StoredEvent[] {
    const [first, ...others] = this.#appends
    return first === undefined || others.length > 0 ? this.#appends.flatMap(({ events }) => events) : first.events
  }

  /** Those that a query asks for. */
  tagged(query: TagQuery): StoredEvent[] {
    return this.#appends.flatMap(({ events }) => events.filter((event) => isAskedFor(event, query)))
  }

  /** Whether a read of this stream would miss something. */
  has(originatorId: string): boolean {
    return this.#appends.some(({ events }) => events.some((event) => event.originatorId === originatorId))
  }

  /** Adds what is pending to what was read of a stream. */
  mergeInto(stored: StoredEvent[], originatorId: string, range: SelectEventsRange): StoredEvent[] {
    const pending = this.#appends
      .flatMap(({ events }) => events)
      .filter((event) => event.originatorId === originatorId && isWithin(event.originatorVersion, range))
    if (pending.length === 0) return stored
    const direction = range.desc === true ? -1 : 1
    const merged = [...stored, ...(range.asText === true ? pending : pending.map(withBytes))].sort(
      (a, b) => direction * (a.originatorVersion - b.originatorVersion),
    )
    return range.limit === undefined ? merged : merged.slice(0, range.limit)
  }
}

/** What runs before the events reads for itself: where it would read what was there before the conflict, that stays. */
function madeOnce(append: Append): Append {
  const { again: _again, ...options } = append.options
  return options.before === undefined ? append : { events: append.events, options }
}

/** The ids of tagged events, for who has read them before they had any. */
const idsOfTagged = new WeakMap<StoredEvent, bigint>()

function noteIds(events: readonly StoredEvent[], ids: readonly bigint[]): void {
  for (const [index, event] of events.entries()) {
    const id = ids[index]
    if (event.tags !== undefined && id !== undefined) idsOfTagged.set(event, id)
  }
}

/** Conditions as a statement checks them: what is pending is not in the table, and what was may be by now. */
export function tagConditions(conditions: readonly AppendCondition[]): TagCondition[] {
  return conditions.map(({ tags, types, after, known = [], isLocked = false }) => {
    const except = [...known].flatMap((event) => idsOfTagged.get(event) ?? [])
    return { tags, types, after, except, isLocked }
  })
}

function conditionsOf(appends: readonly Append[]): TagCondition[] {
  const conditions = appends.flatMap(({ options }) => options.unless ?? [])
  return conditions.length === 0 ? [] : tagConditions(conditions)
}

function tellRecorded(appends: readonly Append[], ids: readonly bigint[]): void {
  let start = 0
  for (const { events, options } of appends) {
    options.onRecorded?.(ids.slice(start, start + events.length))
    start += events.length
  }
}

function tellLost(appends: readonly Append[]): void {
  for (const { options } of appends) options.onLost?.()
}

/** What must be stored already: predecessors that are not among the pending events themselves. */
function predecessorsOutside(appends: readonly Append[]): readonly StreamPosition[] {
  const predecessors = appends.flatMap(({ options }) => options.predecessors ?? [])
  // Those of one append are before all of its events.
  if (predecessors.length === 0 || appends.length === 1) return predecessors
  const pending = new Set(appends.flatMap(({ events }) => events.map(keyOf)))
  return predecessors.filter((position) => !pending.has(keyOf(position)))
}

function keyOf({ originatorId, originatorVersion }: StreamPosition): string {
  return `${originatorVersion} ${originatorId}`
}

function isWithin(version: number, { gt, lte }: SelectEventsRange): boolean {
  return (gt === undefined || version > gt) && (lte === undefined || version <= lte)
}

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
interface Requirements {
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
