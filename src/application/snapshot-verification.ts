/** Compares stored snapshots with what the events say: an event's body that was changed after snapshots were taken shows here. */
import { isDeepStrictEqual } from 'node:util'
import type { Aggregate, AggregateClass } from '../domain/aggregate.js'
import { type Decider, fold, initial } from '../domain/decider.js'
import { rebuild } from '../domain/rebuild.js'
import { restoreSnapshot, type SnapshotKind, type Snapshotted, takeSnapshot } from '../domain/snapshot.js'
import { ProgrammingError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'

/** A snapshot that says something else than the events. */
export interface SnapshotDifference {
  /** The originator's id. */
  readonly id: string
  /** The version that the snapshot is of. */
  readonly version: number
  /** The state that the events come to, as a snapshot has it. */
  readonly expected: unknown
  /** The state that the snapshot gives. */
  readonly actual: unknown
}

/** What a verification has found. */
export interface SnapshotVerification {
  /** How many snapshots were compared. */
  readonly checked: number
  /** How many are not read any more: of another revision, or erased with somebody's data. */
  readonly passedOver: number
  readonly differences: readonly SnapshotDifference[]
}

/** What is verified. An `Application` is one. */
export interface VerifiedApplication {
  eventStore(): Promise<EventStore>
  snapshotStore(): Promise<EventStore>
  aggregates(kind: SnapshotKind): AsyncIterable<string>
}

/** Which snapshots to verify. */
export interface VerifySnapshotsOptions {
  /** Only those of these originators; default: of all of the class or decider. */
  readonly ids?: Iterable<string> | AsyncIterable<string>
}

/**
 * Compares every stored snapshot of a class of aggregates, or of a decider, with the state that is rebuilt from the events
 * alone. One originator is in memory at a time.
 *
 * @throws what rebuilding from the events throws
 */
export async function verifySnapshots<State, Events extends object, Commands extends object>(
  application: VerifiedApplication,
  kind: AggregateClass | Decider<State, Events, Commands>,
  options: VerifySnapshotsOptions = {},
): Promise<SnapshotVerification> {
  const snapshotKind = kind as SnapshotKind // what it is a decider of does not matter here
  const events = await application.eventStore()
  const snapshots = await application.snapshotStore()
  let checked = 0
  let passedOver = 0
  const differences: SnapshotDifference[] = []
  for await (const id of options.ids ?? application.aggregates(snapshotKind)) {
    for (const stored of await snapshots.get(id)) {
      const version = stored.originatorVersion
      const restored = restoreSnapshot(snapshotKind, stored)
      if (restored === undefined) {
        passedOver += 1
        continue
      }
      checked += 1
      const expected = written(events, snapshotKind, await rebuilt(events, snapshotKind, { id, version }))
      const actual = written(events, snapshotKind, restored)
      if (!isDeepStrictEqual(actual, expected)) differences.push({ id, version, expected, actual })
    }
  }
  return { checked, passedOver, differences }
}

async function rebuilt(
  events: EventStore,
  kind: SnapshotKind,
  { id, version }: { readonly id: string; readonly version: number },
): Promise<Snapshotted> {
  let found: Snapshotted | undefined
  await events.readPages(id, { lte: version }, (page) => {
    found =
      typeof kind === 'function'
        ? rebuild(kind, page, found as Aggregate<object> | undefined) // what was made of the pages before
        : fold(kind, (found as ReturnType<typeof initial> | undefined) ?? initial(kind, id), page) // likewise
  })
  if (found !== undefined) return found
  throw new ProgrammingError(`Cannot verify the snapshot of ${id} at version ${version}: it has no events`)
}

/** The state as a snapshot has it, after it was stored and read. */
function written({ mapper }: EventStore, kind: SnapshotKind, originator: Snapshotted): unknown {
  return mapper.transcoder.decode(mapper.transcoder.encode(takeSnapshot(kind, originator).data['state']))
}
