/** Recorders of events that break one promise each, so that the contracts can show that they notice. */
import {
  type AggregateRecorder,
  ConcurrencyError,
  InMemoryAggregateRecorder,
  InMemoryApplicationRecorder,
  IntegrityError,
  type Notification,
  PersistenceError,
  type StoredEvent,
} from '../../src/index.js'
import type {
  AppendOptions,
  DeleteEventsRange,
  SelectEventsRange,
  SelectNotificationsOptions,
  SinceSnapshot,
  SinceSnapshotRange,
} from '../../src/recorders.js'
import type { SinceSnapshotRecorders } from '../../src/testing/index.js'

type Constructor<T> = new () => T

const delay = async (ms: number): Promise<void> => {
  await new Promise((resolve) => setTimeout(resolve, ms))
}

/** The promises that recorders with and without a log break alike. */
export function brokenAggregates(
  Base: Constructor<InMemoryAggregateRecorder>,
): Record<string, () => InMemoryAggregateRecorder> {
  class Changed extends Base {
    /** How what is read is changed. */
    change = (events: StoredEvent[], _id: string, _range: SelectEventsRange): StoredEvent[] => events
    override async selectEvents(id: string, range: SelectEventsRange = {}): Promise<StoredEvent[]> {
      return this.change(await super.selectEvents(id, range), id, range)
    }
  }
  const changed = (change: Changed['change']) => (): Changed => Object.assign(new Changed(), { change })
  const eachChanged = (change: (event: StoredEvent) => Partial<StoredEvent>) =>
    changed((events) => events.map((event) => ({ ...event, ...change(event) })))

  class StoresAPart extends Base {
    override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[] | null> {
      const ids: bigint[] = []
      for (const event of events) ids.push(...((await super.insertEvents([event])) ?? []))
      return Base === InMemoryAggregateRecorder ? null : ids
    }
    override async appendEvents(events: readonly StoredEvent[], options?: AppendOptions): Promise<void> {
      for (const event of events) await super.appendEvents([event], options)
    }
  }
  class SwallowsConflicts extends Base {
    override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[] | null> {
      return await super.insertEvents(events).catch(() => [])
    }
  }
  class TellsNoConflict extends Base {
    override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[] | null> {
      return await super.insertEvents(events).catch((error: unknown) => {
        throw new IntegrityError('duplicate key', { cause: error })
      })
    }
  }
  class WantsAnOrder extends Base {
    readonly #last = new Map<string, number>()
    override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[] | null> {
      for (const { originatorId, originatorVersion } of events) {
        if (originatorVersion < 1 || (this.#last.get(originatorId) ?? 0) > originatorVersion) {
          throw new PersistenceError('out of order')
        }
        this.#last.set(originatorId, originatorVersion)
      }
      return await super.insertEvents(events)
    }
  }
  class OneStream extends Base {
    readonly #all: StoredEvent[] = []
    override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[] | null> {
      const ids = await super.insertEvents(events)
      this.#all.push(...events)
      return ids
    }
    override async selectEvents(): Promise<StoredEvent[]> {
      return [...this.#all]
    }
  }
  return {
    'stores a part of an insert that fails': () => new StoresAPart(),
    'takes events of a taken position without a word': () => new SwallowsConflicts(),
    'tells a conflict as any violation': () => new TellsNoConflict(),
    'wants versions from 1 in order': () => new WantsAnOrder(),
    'has one stream for all': () => new OneStream(),
    'gives events newest first': changed((events, _id, { desc }) => (desc === true ? events : events.toReversed())),
    'finds an event of any originator': changed((events, id) =>
      events.length > 0 ? events : [{ originatorId: id, originatorVersion: 1, topic: '', state: new Uint8Array() }],
    ),
    'forgets the last event': changed((events) => events.slice(0, -1)),
    'includes the version that a range begins after': changed((events, id, { gt }) =>
      gt === undefined ? events : [...events, { ...stub, originatorId: id, originatorVersion: gt }],
    ),
    'gives the buffers of a driver': eachChanged(({ state }) => ({ state: Buffer.from(state) })),
    'cuts states at 64 KiB': eachChanged(({ state }) => ({ state: state.slice(0, 65_535) })),
    'makes up metadata': eachChanged(() => ({ metadata: {} })),
    'changes the case of ids': eachChanged(({ originatorId }) => ({ originatorId: originatorId.toUpperCase() })),
  }
}

const stub = { topic: '', state: new Uint8Array() }

/** Gives ids, although it has no log. */
export class GivesIds extends InMemoryAggregateRecorder {
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    await super.insertEvents(events)
    return events.map((_, index) => BigInt(index + 1))
  }
}

/** Break the promises of `appendEvents`. */
export const brokenAppends: Record<string, () => InMemoryApplicationRecorder> = {
  'appends nothing': () =>
    new (class extends InMemoryApplicationRecorder {
      override async appendEvents(): Promise<void> {}
    })(),
  'leaves gaps': () =>
    new (class extends InMemoryApplicationRecorder {
      override async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
        await super.appendEvents(events, { ...options, predecessors: [] })
      }
    })(),
  'tells ids of what is not stored': () =>
    new (class extends InMemoryApplicationRecorder {
      override async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
        options.onRecorded?.(events.map((_, index) => BigInt(index + 1)))
        await super.appendEvents(events, { predecessors: options.predecessors ?? [] })
      }
    })(),
}

/** Break the promises of `deleteEvents`. */
export const brokenDeletes: Record<string, () => InMemoryAggregateRecorder> = {
  'deletes nothing': () =>
    new (class extends InMemoryAggregateRecorder {
      override async deleteEvents(): Promise<void> {}
    })(),
  'deletes from the beginning': () =>
    new (class extends InMemoryAggregateRecorder {
      override async deleteEvents(id: string, { lte }: DeleteEventsRange): Promise<void> {
        await super.deleteEvents(id, { lte })
      }
    })(),
}

/** Reads since a snapshot in another way than it is asked to, or changes what it finds. */
class OtherSinceSnapshot extends InMemoryAggregateRecorder {
  ask = (range: SinceSnapshotRange): SinceSnapshotRange => range
  change = (found: SinceSnapshot): SinceSnapshot => found
  override async selectSinceSnapshot(
    snapshots: AggregateRecorder,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot | undefined> {
    const found = await super.selectSinceSnapshot(snapshots, originatorId, this.ask(range))
    return found && this.change(found)
  }
}

/** Gives what another recorder of snapshots gives, one after the other. */
class ReadsAnySnapshots extends InMemoryAggregateRecorder {
  order: Pick<SelectEventsRange, 'desc'> = { desc: true }
  distance = 0
  override async selectSinceSnapshot(
    snapshots: AggregateRecorder,
    originatorId: string,
    range: SinceSnapshotRange,
  ): Promise<SinceSnapshot | undefined> {
    const [snapshot] = await snapshots.selectEvents(originatorId, { ...range, ...this.order, limit: 1 })
    const after = snapshot === undefined ? {} : { gt: snapshot.originatorVersion + this.distance }
    return { snapshot, events: await this.selectEvents(originatorId, { ...range, ...after }) }
  }
}

const withSnapshots = (events: InMemoryAggregateRecorder): SinceSnapshotRecorders => ({
  events,
  snapshots: new InMemoryAggregateRecorder(),
})
const findingOther = (change: OtherSinceSnapshot['change']) => (): SinceSnapshotRecorders =>
  withSnapshots(Object.assign(new OtherSinceSnapshot(), { change }))
const readingOther = (ask: OtherSinceSnapshot['ask']) => (): SinceSnapshotRecorders =>
  withSnapshots(Object.assign(new OtherSinceSnapshot(), { ask }))

/** Break the promises of `selectSinceSnapshot`. */
export const brokenSinceSnapshots: Record<string, () => SinceSnapshotRecorders> = {
  'finds no snapshot': findingOther(({ events }) => ({ snapshot: undefined, events })),
  'finds events only where there is a snapshot': findingOther(({ snapshot, events }) => ({
    snapshot,
    events: snapshot === undefined ? [] : events,
  })),
  'takes 0 as the version before all events': findingOther(({ snapshot, events }) => ({
    snapshot,
    events: events.filter(({ originatorVersion }) => originatorVersion > 0),
  })),
  'gives events newest first': findingOther(({ snapshot, events }) => ({ snapshot, events: events.toReversed() })),
  'loses metadata': findingOther(({ snapshot, events }) => ({
    snapshot,
    events: events.map(({ originatorId, originatorVersion, topic, state }) => ({
      originatorId,
      originatorVersion,
      topic,
      state,
    })),
  })),
  'loses the end of the range': readingOther(({ limit }) => ({ limit })),
  'loses the limit': readingOther((range) => ({ ...range, limit: 1_000 })),
  'counts the snapshot among the events': readingOther((range) => ({ ...range, limit: range.limit - 1 })),
  'takes the first snapshot': () => withSnapshots(Object.assign(new ReadsAnySnapshots(), { order: {} })),
  'gives the event of the snapshot, too': () => withSnapshots(Object.assign(new ReadsAnySnapshots(), { distance: -1 })),
  'gives what it has not read at once': () => withSnapshots(new ReadsAnySnapshots()),
}

/** Reads the log with other bounds than it is asked for, or changes what it finds. */
class OtherLog extends InMemoryApplicationRecorder {
  ask = (start: bigint | null, limit: number, options: SelectNotificationsOptions): LogQuestion => [
    start,
    limit,
    options,
  ]
  change = (notifications: Notification[], _limit: number): Notification[] => notifications
  override async selectNotifications(
    start: bigint | null,
    limit: number,
    options: SelectNotificationsOptions = {},
  ): Promise<Notification[]> {
    return this.change(await super.selectNotifications(...this.ask(start, limit, options)), limit)
  }
}

type LogQuestion = [bigint | null, number, SelectNotificationsOptions]

const asking = (ask: OtherLog['ask']) => (): OtherLog => Object.assign(new OtherLog(), { ask })
const changing = (change: OtherLog['change']) => (): OtherLog => Object.assign(new OtherLog(), { change })

/** Makes events visible in another order than that of their ids. */
class HasHoles extends InMemoryApplicationRecorder {
  readonly #hidden = new Set<bigint>()
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    const ids = await super.insertEvents(events)
    for (const id of ids) this.#hidden.add(id)
    await delay(Number(ids[0] ?? 0n) % 3)
    for (const id of ids) this.#hidden.delete(id)
    return ids
  }
  override async selectNotifications(
    start: bigint | null,
    limit: number,
    options?: SelectNotificationsOptions,
  ): Promise<Notification[]> {
    const all = await super.selectNotifications(start, limit, options)
    return all.filter(({ id }) => !this.#hidden.has(id))
  }
}

class OtherIds extends InMemoryApplicationRecorder {
  other = (ids: bigint[]): bigint[] => ids
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    return this.other(await super.insertEvents(events))
  }
}

class OtherEnd extends InMemoryApplicationRecorder {
  end = (max: bigint | null): bigint | null => max
  override async maxNotificationId(): Promise<bigint | null> {
    return this.end(await super.maxNotificationId())
  }
}

class RefusesWhileBusy extends InMemoryApplicationRecorder {
  #isBusy = false
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    if (this.#isBusy) throw new PersistenceError('the database is locked')
    this.#isBusy = true
    await delay(0)
    this.#isBusy = false
    return await super.insertEvents(events)
  }
}

class RepeatsIds extends InMemoryApplicationRecorder {
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    const ids = await super.insertEvents(events)
    return ids.map((id) => (id > 3n ? 3n : id))
  }
}

class WantsEvents extends InMemoryApplicationRecorder {
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    if (events.length === 0) throw new PersistenceError('syntax error at end of input')
    return await super.insertEvents(events)
  }
}

/** Break the promises of a log. */
export const brokenLogs: Record<string, () => InMemoryApplicationRecorder> = {
  'gives the log backwards': changing((notifications) => notifications.toReversed()),
  'loses the filter by topic': asking((start, limit, options) => [start, limit, { ...options, topics: [] }]),
  'takes no topics as no events': asking((start, limit, options) => [
    start,
    options.topics?.length === 0 ? 0 : limit,
    options,
  ]),
  'includes the start always': asking((start, limit, options) => [
    start,
    limit,
    { ...options, inclusiveOfStart: true },
  ]),
  'loses the stop': asking((start, limit, options) => [start, limit, { ...options, stop: 2n ** 63n - 1n }]),
  'gives one more than asked for': asking((start, limit, options) => [start, limit + 1, options]),
  'takes a start below 1 as the end': asking((start, limit, options) =>
    start !== null && start < 1n ? [100n, limit, options] : [start, limit, options],
  ),
  'rounds its bounds': asking((start, limit, options) => [
    // As 32 bits.
    start === null ? null : BigInt.asIntN(32, start),
    limit,
    options,
  ]),
  'forgets when events were recorded': changing((notifications) =>
    notifications.map((notification) => ({ ...notification, recordedAt: new Date(0) })),
  ),
  'makes up metadata': changing((notifications) => notifications.map((each) => ({ ...each, metadata: {} }))),
  'finds something in an empty log': changing((notifications) =>
    notifications.length > 0
      ? notifications
      : [{ ...stub, originatorId: '', originatorVersion: 1, id: 1n, recordedAt: new Date() }],
  ),
  'makes events visible out of order': () => new HasHoles(),
  'gives ids backwards': () => Object.assign(new OtherIds(), { other: (ids: bigint[]) => ids.toReversed() }),
  'gives ids from 0': () => Object.assign(new OtherIds(), { other: (ids: bigint[]) => ids.map((id) => id - 1n) }),
  'says that the log ends too early': () =>
    Object.assign(new OtherEnd(), { end: (max: bigint | null) => (max === null ? 0n : max - 1n) }),
  'refuses writers while one writes': () => new RefusesWhileBusy(),
  'gives ids again': () => new RepeatsIds(),
  'refuses an empty list': () => new WantsEvents(),
}

/** A conflict that knows nothing of its stream. */
export class TellsWrongStream extends InMemoryApplicationRecorder {
  override async appendEvents(events: readonly StoredEvent[], options?: AppendOptions): Promise<void> {
    await super.appendEvents(events, options).catch((cause: unknown) => {
      throw new ConcurrencyError('conflict', { cause, originatorId: '', expectedVersion: 0 })
    })
  }
}
