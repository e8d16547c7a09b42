/** Compares stored snapshots with what the events say: an event's body that was changed after snapshots were taken shows here. */
import { isDeepStrictEqual } from 'node:util'
import type { Aggregate, AggregateClass } from '../domain/aggregate.js'
import { type Decider, type DeciderState, fold, initial } from '../domain/decider.js'
import type { DomainEvent } from '../domain/event.js'
import { rebuild } from '../domain/rebuild.js'
import { restoreSnapshot, type SnapshotKind, type Snapshotted, subjectsIn, takeSnapshot } from '../domain/snapshot.js'
import { PersistenceError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import type { SelectEventsRange } from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'

/** A snapshot that says something else than the events. */
export interface SnapshotDifference {
  /** The originator's id. */
  readonly id: string
  /** The version that the snapshot is of. */
  readonly version: number
  /**
   * The state that the events come to, as a snapshot has it; the error where they cannot be applied, and undefined where they
   * end before that version.
   */
  readonly expected: unknown
  /** The state that the snapshot gives; the error where it cannot be read. */
  readonly actual: unknown
  /** Whether personal data are in one of the two, which do not belong into logs. */
  readonly isPersonal: boolean
}

/** How many snapshots were verified. */
export interface SnapshotCounts {
  /** How many snapshots were compared. */
  readonly checked: number
  /** How many are not read any more: of another revision, or erased with somebody's data. */
  readonly passedOver: number
}

/** What a verification has found. */
export interface SnapshotVerification extends SnapshotCounts {
  /** In the order of the originators, and of the versions of each. */
  readonly differences: readonly SnapshotDifference[]
}

/** What is verified. An `Application` is one. */
export interface VerifiedApplication {
  /** Its events. */
  eventStore(): Promise<EventStore>
  /** Its snapshots. */
  snapshotStore(): Promise<EventStore>
  /** The ids of a class or decider. */
  aggregates(kind: SnapshotKind): AsyncIterable<string>
}

/** Which snapshots to verify. */
export interface VerifySnapshotsOptions {
  /** Only those of these originators; default: of all of the class or decider. */
  readonly ids?: Iterable<string> | AsyncIterable<string>
}

/**
 * Compares every stored snapshot of a class of aggregates, or of a decider, with the state that is rebuilt from the events
 * alone. The events of an originator are read once, a page at a time, and its snapshots one by one.
 *
 * @throws `PersistenceError` where the database fails, and nothing for what is wrong with events and snapshots: those are
 *   differences
 */
export async function verifySnapshots<State, Events extends object, Commands extends object>(
  application: VerifiedApplication,
  kind: AggregateClass | Decider<State, Events, Commands>,
  options: VerifySnapshotsOptions = {},
): Promise<SnapshotVerification> {
  const differences: SnapshotDifference[] = []
  const onDifference = (difference: SnapshotDifference): unknown => differences.push(difference)
  const counts = await verifyEach(application, kind, { ...options, onDifference })
  return { ...counts, differences }
}

/** The same for more differences than what fits into memory: each is given to `onDifference` as it is found. */
export async function verifyEach(
  application: VerifiedApplication,
  kind: SnapshotKind,
  {
    ids,
    onDifference,
  }: VerifySnapshotsOptions & { readonly onDifference: (difference: SnapshotDifference) => unknown },
): Promise<SnapshotCounts> {
  const events = await application.eventStore()
  const snapshots = await application.snapshotStore()
  let checked = 0
  let passedOver = 0
  for await (const id of ids ?? application.aggregates(kind)) {
    const history = new History(events, kind, id)
    for await (const stored of snapshotsOf(snapshots, id)) {
      const version = stored.originatorVersion
      let isPersonal = false
      const actual = await attempt(async () => {
        const [snapshot] = await snapshots.toDomainEvents([stored])
        isPersonal = snapshot?.personal !== undefined
        return snapshot === undefined ? undefined : restored(snapshots, kind, snapshot)
      })
      if (actual === undefined) {
        passedOver += 1
        continue
      }
      checked += 1
      const expected = await history.stateAt(version)
      // Two errors that are alike say nothing about the state.
      if ('state' in actual && isDeepStrictEqual(actual, expected)) continue
      const found = { expected: contentOf(expected), actual: contentOf(actual) }
      onDifference({ id, version, ...found, isPersonal: isPersonal || history.isPersonal })
    }
  }
  return { checked, passedOver }
}

/** What an originator is like at one version, as a snapshot has it, or why that cannot be told. */
type Found = { readonly state: unknown } | { readonly error: unknown }

function contentOf(found: Found | undefined): unknown {
  return found !== undefined && 'error' in found ? found.error : found?.state
}

/** The snapshots of an originator, oldest first. Each may be as large as all of its events. */
async function* snapshotsOf({ recorder }: EventStore, id: string): AsyncGenerator<StoredEvent, void, undefined> {
  let range: SelectEventsRange = { limit: 1 }
  for (;;) {
    const [stored] = await recorder.selectEvents(id, range)
    if (stored === undefined) return
    yield stored
    range = { gt: stored.originatorVersion, limit: 1 }
  }
}

function restored(store: EventStore, kind: SnapshotKind, snapshot: DomainEvent): Found | undefined {
  const originator = restoreSnapshot(kind, snapshot)
  return originator === undefined ? undefined : { state: written(store, kind, originator) }
}

/** What the events of one originator come to, asked for by rising versions: none of them is read twice. */
class History {
  readonly #events: EventStore
  readonly #kind: SnapshotKind
  readonly #id: string
  #originator: Snapshotted | undefined

  constructor(events: EventStore, kind: SnapshotKind, id: string) {
    this.#events = events
    this.#kind = kind
    this.#id = id
  }

  /** Whether the events that were read have personal data. */
  get isPersonal(): boolean {
    return this.#originator !== undefined && subjectsIn(this.#originator).size > 0
  }

  /** @returns undefined where the events end before the version */
  async stateAt(version: number): Promise<Found | undefined> {
    return await attempt(async () => {
      await this.#readTo(version)
      if (this.#originator?.version !== version) return undefined
      return { state: written(this.#events, this.#kind, this.#originator) }
    })
  }

  async #readTo(version: number): Promise<void> {
    const kind = this.#kind
    const before = this.#originator
    const range = { ...(before === undefined ? {} : { gt: before.version }), lte: version }
    await this.#events.readPages(this.#id, range, (page) => {
      const begun = this.#originator
      this.#originator =
        typeof kind === 'function'
          ? rebuild(kind, page, begun as Aggregate<object> | undefined) // made of the pages before
          : fold(kind, (begun as DeciderState<unknown> | undefined) ?? initial(kind, this.#id), page) // likewise
    })
  }
}

/** Takes what is wrong with what is stored, or with the program, as a finding. A failure of the database is none. */
async function attempt(find: () => Promise<Found | undefined>): Promise<Found | undefined> {
  try {
    return await find()
  } catch (error) {
    if (error instanceof PersistenceError) throw error
    return { error }
  }
}

/** The state as a snapshot has it, after it was stored and read. */
function written({ mapper }: EventStore, kind: SnapshotKind, originator: Snapshotted): unknown {
  return mapper.transcoder.decode(mapper.transcoder.encode(takeSnapshot(kind, originator).data['state']))
}
