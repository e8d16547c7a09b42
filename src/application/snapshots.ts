/** The snapshots of an application: which kinds have them, when they are taken, and how many are kept. */
import { isEnded } from '../domain/ended.js'
import type { DomainEvent } from '../domain/event.js'
import { restoreSnapshot, type SnapshotKind, type Snapshotted, subjectsIn, takeSnapshot } from '../domain/snapshot.js'
import { snapshotsDue } from '../domain/snapshot-policy.js'
import { ProgrammingError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'

/** A snapshot that a save has to take: of the state as it is now, or of an earlier version. */
export type DueSnapshot =
  | { readonly kind: SnapshotKind; readonly snapshot: DomainEvent }
  | { readonly kind: SnapshotKind; readonly id: string; readonly version: number }

/** Takes snapshots, into a store of their own. */
export class Snapshots {
  readonly #store: () => Promise<EventStore>
  readonly #isEnabled: boolean | undefined
  readonly #ahead = new Set<string>()

  /** @param isEnabled - for all kinds or for none; undefined: for those that have a policy */
  constructor(store: () => Promise<EventStore>, isEnabled: boolean | undefined) {
    this.#store = store
    this.#isEnabled = isEnabled
  }

  /** Whether a kind has snapshots in this application. */
  isFor(kind: SnapshotKind): boolean {
    return this.#isEnabled ?? kind.snapshots !== undefined
  }

  /** @throws `ProgrammingError` when a kind has no snapshots here */
  assertFor(kind: SnapshotKind): void {
    if (this.isFor(kind)) return
    const { name } = kind
    throw new ProgrammingError(
      `Cannot take a snapshot of a ${name}: snapshots are off. Give the class a static, or the decider a member, snapshots: { every: 100 }; ` +
        'or the application the option snapshots: true; or set IS_SNAPSHOTTING_ENABLED=yes.',
    )
  }

  /** Notes that an originator has a snapshot of a version that is not stored: when it is, it will be another one. */
  noteAhead(originatorId: string): void {
    this.#ahead.add(originatorId)
  }

  /** Gives such snapshots up, in the transaction of a save that goes on from the version before them. */
  async giveUpAhead({ id, version }: Snapshotted, eventCount: number): Promise<void> {
    if (!this.#ahead.delete(id)) return
    const { recorder } = await this.#store()
    await recorder.deleteEvents?.(id, { gt: version - eventCount, lte: Number.MAX_SAFE_INTEGER })
  }

  /** Whether there is anything to give up. */
  isAhead({ id }: Snapshotted): boolean {
    return this.#ahead.has(id)
  }

  /**
   * What a save of new events of one originator has to take; the state as it is now is captured at once.
   *
   * @throws `DataError` for a state that could not be read again, whether a snapshot is due or not
   */
  due(kind: SnapshotKind, originator: Snapshotted, eventCount: number): DueSnapshot[] {
    const { snapshots: policy } = kind
    // Nobody goes on from what has ended.
    if (policy === undefined || !this.isFor(kind) || eventCount === 0 || isEnded(originator)) return []
    // Not when the first one is due: that is in production, and nothing could be saved then.
    const snapshot = takeSnapshot(kind, originator)
    const { id, version: after } = originator
    // With personal data the state may be older than the forgetting of a person: it is rebuilt from what can be read.
    const isOfNow = (version: number): boolean => version === after && subjectsIn(originator).size === 0
    return snapshotsDue(policy, { before: after - eventCount, after }).map((version) =>
      isOfNow(version) ? { kind, snapshot } : { kind, id, version },
    )
  }

  /**
   * Stores a snapshot, in a transaction at its flush, and gives up those that the policy does not keep. A good one that is
   * there already stays.
   */
  async put(kind: SnapshotKind, snapshot: DomainEvent): Promise<void> {
    const store = await this.#store()
    const { originatorId, originatorVersion } = snapshot
    const itself = { gt: originatorVersion - 1, lte: originatorVersion }
    for (const existing of await store.get(originatorId, itself)) {
      if (restoreSnapshot(kind, existing) !== undefined) return
      await store.recorder.deleteEvents?.(originatorId, itself)
    }
    const stored = await store.toStoredCopy(snapshot)
    // Somebody was forgotten meanwhile: the next one will do without.
    if (stored === undefined) return
    await (store.recorder.appendEvents?.([stored]) ?? store.recorder.insertEvents([stored]))
    const keep = kind.snapshots?.keep
    if (keep !== undefined) await prune(store, originatorId, keep)
  }
}

async function prune({ recorder }: EventStore, originatorId: string, keep: number): Promise<void> {
  const kept = await recorder.selectEvents(originatorId, { desc: true, limit: keep })
  const oldest = kept.at(-1)
  if (oldest === undefined || kept.length < keep) return
  await recorder.deleteEvents?.(originatorId, { lte: oldest.originatorVersion - 1 })
}
