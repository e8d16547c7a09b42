/** What a save does: it stores the events of some objects together, with the snapshots that are due, and fills the cache. */
import { type DomainEvent, isEnded } from '../domain/event.js'
import { restoreSnapshot, type SnapshotKind, type Snapshotted, subjectsIn, takeSnapshot } from '../domain/snapshot.js'
import { snapshotsDue } from '../domain/snapshot-policy.js'
import { hasAllTags, type Tag } from '../domain/tags.js'
import { ProgrammingError } from '../errors.js'
import type { EventStore, PutOptions, Recording } from '../persistence/event-store.js'
import type { AppendCondition } from '../persistence/recorder.js'
import { currentMetadata, withMetadata } from '../transaction/ambient-metadata.js'
import { Collected, type Saveable } from './collected.js'
import type { Infrastructure } from './infrastructure.js'
import type { SavedOriginator } from './originator-cache.js'
import { getOriginator, type Repository } from './repository.js'

/** A projection whose rows are written in the transaction of a save; `defineProjection` makes them. */
export interface InlineProjection {
  /** What it is called in messages. */
  readonly name: string
  /** Those that its events have, all of them; undefined for any. */
  readonly tags?: readonly Tag[] | undefined
  /** What makes it a reaction, which is refused here. */
  readonly reaction?: object | undefined
  /** Handles events in order, in the current transaction, before they are written. */
  readonly apply: (
    events: ReadonlyArray<{ readonly event: DomainEvent; readonly position: bigint | undefined }>,
  ) => Promise<unknown>
}

/** What is asked of a save beside its objects. */
interface SaveRequest {
  /** Gives the conditions, when they are needed. */
  readonly unless?: (() => Promise<readonly AppendCondition[]>) | undefined
  /** Gives what is saved instead where another writer was first. */
  readonly again?: (() => Promise<Saveable>) | undefined
}

/** Who takes part in each save. */
interface SaveListeners {
  /** Handle its events in its transaction. */
  readonly inline: readonly InlineProjection[]
  /** Told what it has stored, once that is committed; it costs a hook of each transaction. */
  readonly onRecorded: ((recordings: readonly Recording[]) => void) | undefined
}

/** Saves what belongs to one application. */
export class Saves<Client> {
  readonly #infrastructure: Infrastructure<Client>
  readonly #repository: Repository
  readonly #snapshots: Snapshots
  readonly #inline: readonly InlineProjection[]
  readonly #onRecorded: ((recordings: readonly Recording[]) => void) | undefined

  /** @throws `ProgrammingError` for a reaction among the inline projections */
  constructor(
    infrastructure: Infrastructure<Client>,
    repository: Repository,
    snapshots: Snapshots,
    { inline, onRecorded }: SaveListeners,
  ) {
    const reaction = inline.find((each) => each.reaction !== undefined)
    if (reaction !== undefined) {
      throw new ProgrammingError(
        `Could not set up an application with the reaction '${reaction.name}' inline: it acts on what is stored. Give it to a ProjectionRunner, in \`projections\`.`,
      )
    }
    this.#infrastructure = infrastructure
    this.#repository = repository
    this.#snapshots = snapshots
    this.#inline = inline
    this.#onRecorded = onRecorded
  }

  /**
   * Stores the pending events of all objects, or nothing; see `Application.save`.
   *
   * @param request - what is asked of it
   */
  async save(objects: readonly Saveable[], request: SaveRequest = {}): Promise<Recording[]> {
    const collected = new Collected(objects, (id) => this.#repository.cache?.lose(id))
    if (collected.events.length === 0) return []
    const saving = collected.inOrder(() => this.#storing(collected, request))
    const tell = this.#onRecorded
    if (tell === undefined) return await saving
    const recordings = await saving
    this.#infrastructure.afterCommit(() => tell(recordings))
    return recordings
  }

  /** What stores the events, with the snapshots and the cached states of now. */
  #storing(collected: Collected, { unless, again }: SaveRequest): () => Promise<Recording[]> {
    const { cache } = this.#repository
    const { originators } = collected
    // What is decided again may be another state: the next save takes the snapshot that is due.
    const due =
      again === undefined
        ? originators.flatMap((each) => (each.kind.snapshots === undefined ? [] : this.#snapshots.due(each)))
        : []
    const cached = cache?.captured(originators) ?? []
    const { ahead } = this.#snapshots
    const isPlain =
      due.length === 0 && (ahead.size === 0 || !originators.some(({ originator }) => ahead.has(originator.id)))
    const isAlone = isPlain && this.#inline.length === 0
    const put = (): Promise<Recording[]> => this.#put(collected, unless, again)
    if (isAlone && cache === undefined) return put
    return async () => {
      const work = isPlain ? put : async () => await this.#putWithSnapshots(collected, due, put)
      const recordings = isAlone ? await put() : await this.#together(work)
      // What is decided again may be another state.
      if (again === undefined) cache?.keep(cached)
      else for (const { originator } of originators) cache?.lose(originator.id)
      return recordings
    }
  }

  #put(collected: Collected, unless: SaveRequest['unless'], again: SaveRequest['again']): Promise<Recording[]> {
    if (unless !== undefined) return this.#putLater(collected, unless, again)
    const options = this.#putOptions(collected, undefined, again)
    const store = this.#infrastructure.eventStore()
    return store instanceof Promise
      ? store.then(async (loaded) => await loaded.put(collected.events, options))
      : store.put(collected.events, options)
  }

  async #putLater(
    collected: Collected,
    unless: NonNullable<SaveRequest['unless']>,
    again: SaveRequest['again'],
  ): Promise<Recording[]> {
    const store = await this.#infrastructure.eventStore()
    const conditions = await unless()
    return await store.put(collected.events, this.#putOptions(collected, conditions, again))
  }

  #putOptions(
    collected: Collected,
    unless: readonly AppendCondition[] | undefined,
    again: SaveRequest['again'],
  ): PutOptions {
    const ambient = again && currentMetadata()
    return {
      onLost: () => collected.lose(),
      shown: collected.shown,
      before: this.#inline.length === 0 ? undefined : () => this.#project(collected.events),
      unless,
      again:
        again &&
        (() =>
          withMetadata(ambient ?? {}, async () => {
            // Whoever has them goes on from what never happened.
            collected.lose()
            const anew = new Collected([await again()], (id) => this.#repository.cache?.lose(id))
            return { events: anew.events, options: this.#putOptions(anew, unless, again) }
          })),
    }
  }

  /** Lets the inline projections handle events that are about to be written. */
  async #project(events: readonly DomainEvent[]): Promise<void> {
    for (const { tags = [], apply } of this.#inline) {
      const given = events.filter((event) => hasAllTags(event, tags)).map((event) => ({ event, position: undefined }))
      if (given.length > 0) await apply(given)
    }
  }

  async #putWithSnapshots(
    collected: Collected,
    due: readonly DueSnapshot[],
    put: () => Promise<Recording[]>,
  ): Promise<Recording[]> {
    const recordings = await put()
    for (const { originator, events } of collected.originators) {
      await this.#snapshots.giveUpAhead(originator, events.length)
    }
    for (const each of due) {
      const snapshot =
        'snapshot' in each
          ? each.snapshot
          : takeSnapshot(
              each.kind,
              await getOriginator(this.#repository, each.kind, each.id, { version: each.version }),
            )
      await this.#snapshots.put(each.kind, snapshot)
    }
    return recordings
  }

  async #together(work: () => Promise<Recording[]>): Promise<Recording[]> {
    await this.#infrastructure.eventStore()
    const { recorder } = this.#infrastructure
    return recorder.hasTransactions === false ? await work() : await recorder.transaction(work)
  }
}

/** A snapshot that a save has to take: of the state as it is now, or of an earlier version. */
type DueSnapshot =
  | { readonly kind: SnapshotKind; readonly snapshot: DomainEvent }
  | { readonly kind: SnapshotKind; readonly id: string; readonly version: number }

/** Takes snapshots, into a store of their own. */
export class Snapshots {
  readonly #store: () => Promise<EventStore>
  readonly #isEnabled: boolean | undefined
  /** The originators that have a snapshot of a version that is not stored. */
  readonly ahead: Set<string> = new Set()

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
    this.ahead.add(originatorId)
  }

  /** Gives such snapshots up, in the transaction of a save that goes on from the version before them. */
  async giveUpAhead({ id, version }: Snapshotted, eventCount: number): Promise<void> {
    if (!this.ahead.delete(id)) return
    const { recorder } = await this.#store()
    await recorder.deleteEvents?.(id, { gt: version - eventCount, lte: Number.MAX_SAFE_INTEGER })
  }

  /**
   * What a save of new events of one originator has to take; the state as it is now is captured at once.
   *
   * @throws `DataError` for a state that could not be read again, whether a snapshot is due or not
   */
  due({ kind, originator, events }: SavedOriginator): DueSnapshot[] {
    const { snapshots: policy } = kind
    const eventCount = events.length
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
