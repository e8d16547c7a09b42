/** The events of one save, and what becomes of those they were collected from. */
import { described } from '../checked-options.js'
import {
  Aggregate,
  type AggregateClass,
  type EventSource,
  isAggregate,
  isOfAnotherCopy,
  tryRecordOf,
} from '../domain/aggregate.js'
import { type DeciderState, deciderOf, shownSubjects } from '../domain/decider.js'
import { type DomainEvent, domainEvent, type EventMetadata } from '../domain/event.js'
import type { Snapshotted } from '../domain/snapshot.js'
import { ConcurrencyError, ProgrammingError } from '../errors.js'
import { ambientMetadata } from '../transaction/ambient-metadata.js'
import type { SavedOriginator } from './originator-cache.js'

/** What can be saved: anything with events to collect, single events, and nothing. */
export type Saveable = EventSource | DomainEvent | null | undefined

/** Aggregates that have changed by events that are stored nowhere. */
const strays = new WeakSet<object>()

/** The last save of each object that is still going on. */
const saves = new WeakMap<object, Collected>()

/** Collects at once: what is triggered later belongs to the next save. */
export class Collected {
  readonly events: DomainEvent[] = []
  /** Those that are aggregates, or states of deciders. */
  readonly originators: SavedOriginator[] = []

  /** The persons whose data the objects had from the store. */
  readonly shown: Set<string> = new Set()

  readonly #sources: EventSource[] = []
  readonly #onLost: (originatorId: string) => void
  #saving: Promise<unknown> | undefined

  /**
   * @param onLost - called with each originator whose events are not stored
   * @throws `ConcurrencyError` when events that were collected before from one of the objects are not stored; nothing is
   *   collected then
   * @throws `ProgrammingError` for an object that has no events
   */
  constructor(objects: readonly Saveable[], onLost: (originatorId: string) => void) {
    this.#onLost = onLost
    const present = objects.filter((object) => object !== null && object !== undefined)
    for (const object of present) assertSaveable(object)
    const ambient = ambientMetadata.get()
    for (const object of present) {
      if ('collectEvents' in object) this.#collect(object, ambient)
      else this.events.push(ambient === undefined ? object : annotated(object, ambient))
    }
  }

  /**
   * Stores the events. Saves of one object that overlap are stored in the order of their calls, since each builds on the one
   * before.
   *
   * @param prepare - called at once, while the objects are as they were collected; gives what stores the events
   * @throws `ConcurrencyError` when an earlier save of one of the objects goes on, and fails; what `prepare` and the store throw
   */
  inOrder<T>(prepare: () => () => Promise<T>): Promise<T> {
    const earlier: Array<Promise<unknown>> = []
    for (const source of this.#sources) {
      const before = saves.get(source)
      if (before !== undefined && before.#saving !== undefined) earlier.push(before.#saving)
      saves.set(source, this)
    }
    const saving = this.#stored(earlier, prepare)
    this.#saving = saving
    return saving
  }

  async #stored<T>(earlier: readonly Promise<unknown>[], prepare: () => () => Promise<T>): Promise<T> {
    try {
      const store = prepare()
      if (earlier.length > 0) {
        await Promise.allSettled(earlier)
        for (const source of this.#sources) assertNoStray(source)
      }
      return await store()
    } catch (error) {
      this.lose()
      throw error
    } finally {
      for (const source of this.#sources) if (saves.get(source) === this) saves.delete(source)
    }
  }

  /** The events are not stored: those that they came from would go on from what never happened. */
  lose(): void {
    for (const { originator } of this.originators) {
      if (isAggregate(originator)) strays.add(originator)
      this.#onLost(originator.id)
    }
  }

  #collect(source: EventSource, ambient: EventMetadata | undefined): void {
    const isOfClass = source instanceof Aggregate
    // The class of an aggregate is one of aggregates.
    const kind = isOfClass ? (source.constructor as AggregateClass) : deciderOf(source)
    // What a decider decided is a state of it.
    const originator = kind === undefined ? undefined : (source as Snapshotted)
    const shown = isOfClass
      ? tryRecordOf(source)?.shown
      : originator && shownSubjects(originator as DeciderState<unknown>)
    if (shown !== undefined) for (const subject of shown) this.shown.add(subject)
    const collected = source.collectEvents()
    if (collected.length > 0) this.#sources.push(source)
    const events = ambient === undefined ? collected : collected.map((event) => annotated(event, ambient))
    for (const event of events) this.events.push(event)
    if (kind !== undefined && originator !== undefined) this.originators.push({ kind, originator, events })
  }
}

/** What an event says itself counts before what is said around its save. */
function annotated(event: DomainEvent, ambient: EventMetadata): DomainEvent {
  return domainEvent({ ...event, metadata: { ...ambient, ...event.metadata } })
}

function assertSaveable(object: EventSource | DomainEvent): void {
  if (typeof object !== 'object' || !('collectEvents' in object || 'originatorVersion' in object)) {
    throw new ProgrammingError(
      `Could not save ${described(object)}: give aggregates, what a decider has decided, or events, each as an argument of its own: save(dog, owner).`,
    )
  }
  if (!(object instanceof Aggregate) && isOfAnotherCopy(object)) throw copyError(`save ${object.constructor.name}`)
  if (strays.has(object)) assertNoStray(object)
}

/** @param what - completes "Could not" */
export function copyError(what: string): ProgrammingError {
  return new ProgrammingError(
    `Could not ${what}: it extends Aggregate of another copy of eventsourcing-prisma. Is the package installed twice? See npm ls eventsourcing-prisma.`,
  )
}

/** An aggregate has events of a transaction that was rolled back. */
export function markStray(aggregate: object): void {
  strays.add(aggregate)
}

function assertNoStray(object: EventSource | DomainEvent): void {
  if (!strays.has(object) || !isAggregate(object)) return
  const { id, version } = object
  throw new ConcurrencyError(
    `Could not save ${object.constructor.name} ${id}: it has changes that are nowhere, from an earlier save that was not stored or a transaction that was rolled back. ` +
      'Get it from the repository again and repeat the command.',
    { originatorId: id, expectedVersion: version },
  )
}
