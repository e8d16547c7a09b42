/** The repository: aggregates and the states of deciders, from their stored events. */
import type { Aggregate, AggregateClass } from '../domain/aggregate.js'
import { eventsOf } from '../domain/aggregate-events.js'
import { type Decider, type DeciderState, fold, initial } from '../domain/decider.js'
import type { DomainEvent } from '../domain/event.js'
import { rebuild } from '../domain/rebuild.js'
import type { SnapshotKind, Snapshotted } from '../domain/snapshot.js'
import { AggregateNotFoundError } from '../errors.js'
import type { SelectEventsRange } from '../persistence/recorder.js'

/** Where a repository reads; an `EventStore` is one. */
export interface EventReader {
  /** Reads the events of one originator, oldest first, in pages that are never empty. */
  readPages(
    originatorId: string,
    range: Pick<SelectEventsRange, 'gt' | 'lte'>,
    visit: (page: readonly DomainEvent[]) => void,
  ): Promise<void>
  /** Whether an originator has any events. */
  has(originatorId: string): Promise<boolean>
}

/** Where a repository looks first; `Snapshots` is one. */
export interface SnapshotReader {
  /** The originator as a snapshot up to the version has it, undefined where there is none. */
  latest(kind: SnapshotKind, id: string, version: number | undefined): Promise<Snapshotted | undefined>
}

/** Which state of an originator to get. */
export interface GetOptions {
  /** The version to stop at; default the latest. A version that is still to come gives the latest, too. */
  readonly version?: number
}

/** Reads aggregates and deciders by id. */
export class Repository {
  readonly #events: EventReader
  readonly #snapshots: SnapshotReader | undefined

  constructor(events: EventReader, snapshots?: SnapshotReader) {
    this.#events = events
    this.#snapshots = snapshots
  }

  /**
   * Rebuilds an aggregate.
   *
   * @param aggregateClass - the class that its events are of
   * @throws `AggregateNotFoundError` when there are no events with this id, or none up to the version
   * @throws `TopicError` when the stream has an event that the class does not know
   * @throws `MapperError` when a stored state cannot be read
   */
  get<A extends Aggregate<object>>(aggregateClass: AggregateClass<A>, id: string, options?: GetOptions): Promise<A>
  /**
   * Folds the events of a decider's originator into its state.
   *
   * @throws as for an aggregate
   */
  get<State, Events extends object, Commands extends object>(
    decider: Decider<State, Events, Commands>,
    id: string,
    options?: GetOptions,
  ): Promise<DeciderState<State>>
  async get(
    kind: AggregateClass | Decider<unknown, object, object>,
    id: string,
    options: GetOptions = {},
  ): Promise<unknown> {
    const { version } = options
    let found = await this.#snapshots?.latest(kind, id, version)
    const range = {
      ...(found === undefined ? {} : { gt: found.version }),
      ...(version === undefined ? {} : { lte: version }),
    }
    await this.#events.readPages(id, range, (events) => {
      // What was found is of the kind that is asked for: it was made from the page before.
      if (typeof kind === 'function') found = rebuild(kind, events, found as Aggregate<object> | undefined)
      else found = fold(kind, (found as DeciderState<unknown> | undefined) ?? initial(kind, id), events)
    })
    if (found === undefined) throw notFound(nameOf(kind), id, version)
    return found
  }

  /**
   * Whether `get` would find the aggregate, or the decider's originator.
   *
   * Ids belong to one class: what has this id is taken to be of this one.
   */
  async has<State, Events extends object, Commands extends object>(
    _kind: AggregateClass | Decider<State, Events, Commands>,
    id: string,
  ): Promise<boolean> {
    return await this.#events.has(id)
  }
}

function nameOf(kind: AggregateClass | { readonly name: string }): string {
  return typeof kind === 'function' ? eventsOf(kind.prototype).className : kind.name
}

function notFound(name: string, id: string, version: number | undefined): AggregateNotFoundError {
  const at = version === undefined ? '' : ` at version ${version}`
  const why = version === undefined ? 'nothing was saved with this id' : 'it has no events up to that version'
  return new AggregateNotFoundError(`Cannot find ${name} ${id}${at}: ${why}`)
}
