/** The events of one save, and what becomes of those they were collected from. */
import { type EventSource, isAggregate } from '../domain/aggregate.js'
import type { DomainEvent } from '../domain/event.js'
import { ConcurrencyError, ProgrammingError } from '../errors.js'

/** What can be saved: anything with events to collect, single events, and nothing. */
export type Saveable = EventSource | DomainEvent | null | undefined

/** Aggregates that have changed by events that are stored nowhere. */
const strays = new WeakSet<object>()

/** Collects at once: what is triggered later belongs to the next save. */
export class Collected {
  readonly events: readonly DomainEvent[]
  readonly #sources: readonly EventSource[]

  /**
   * @throws `ConcurrencyError` when events that were collected before from one of the objects are not stored; nothing is
   *   collected then
   * @throws `ProgrammingError` for an object that has no events
   */
  constructor(objects: readonly Saveable[]) {
    const present = objects.filter((object) => object !== null && object !== undefined)
    for (const object of present) assertSaveable(object)
    this.#sources = present.filter((object) => 'collectEvents' in object)
    this.events = present.flatMap((object) => ('collectEvents' in object ? object.collectEvents() : [object]))
  }

  /** The events are not stored: those that they came from would go on from what never happened. */
  lose(): void {
    for (const source of this.#sources) if (isAggregate(source)) strays.add(source)
  }
}

function assertSaveable(object: EventSource | DomainEvent): void {
  if (!('collectEvents' in object) && !('originatorVersion' in object)) {
    throw new ProgrammingError('Cannot save an object that is neither an event nor has events to collect')
  }
  if (!isAggregate(object) || !strays.has(object)) return
  const { id, version } = object
  throw new ConcurrencyError(
    `Could not save ${object.constructor.name} ${id}: an earlier save of it was not stored, so it has changes that are nowhere. ` +
      'Get it from the repository again and repeat the command.',
    { originatorId: id, expectedVersion: version },
  )
}
