/** What a recorder promises that has the optional members of an aggregate recorder, and what one of subject keys promises. */
import { ConcurrencyError } from '../errors.js'
import type {
  AggregateRecorder,
  DeleteEventsRange,
  SinceSnapshot,
  SubjectKey,
  SubjectKeyRecorder,
} from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'
import {
  type Cases,
  contentOf,
  declareCases,
  expectError,
  type MakeRecorder,
  type Subject,
  storedEvent,
  storedEvents,
  type TestFramework,
  versionsOf,
} from './test-framework.js'

/** A recorder that stores events on behalf of a save. */
export type AppendingRecorder = AggregateRecorder & Required<Pick<AggregateRecorder, 'appendEvents'>>

/** A recorder that deletes events: one for snapshots. */
export type DeletingRecorder = AggregateRecorder & Required<Pick<AggregateRecorder, 'deleteEvents'>>

/** A recorder that reads an originator from its latest snapshot on, and the one that keeps the snapshots. */
export interface SinceSnapshotRecorders {
  /** Keeps the events, and reads both. */
  readonly events: AggregateRecorder & Required<Pick<AggregateRecorder, 'selectSinceSnapshot'>>
  /** Keeps the snapshots, where the other one can read them. */
  readonly snapshots: AggregateRecorder
}

/**
 * Declares the cases of `appendEvents`.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function appendEventsContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<AppendingRecorder>,
): void {
  declareCases(framework, `${label} that appends events`, appending, makeRecorder)
}

/**
 * Declares the cases of `deleteEvents`.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function deleteEventsContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<DeletingRecorder>,
): void {
  declareCases(framework, `${label} that deletes events`, deleting, makeRecorder)
}

/**
 * Declares the cases of `selectSinceSnapshot`.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorders - called once per case
 */
export function selectSinceSnapshotContract(
  framework: TestFramework,
  label: string,
  makeRecorders: MakeRecorder<SinceSnapshotRecorders>,
): void {
  declareCases(framework, `${label} that reads since a snapshot`, sinceSnapshot, makeRecorders)
}

const appending: Cases<AppendingRecorder> = {
  async 'appends events that follow what is stored'({ recorder, originatorId, expect }) {
    const first = { originatorId: originatorId(1), originatorVersion: 1 }
    await recorder.appendEvents([storedEvent(originatorId(1), 1)])
    await recorder.appendEvents(storedEvents(originatorId(1), 2, 2), { predecessors: [first] })
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1, 2, 3])
  },

  async 'tells once which ids the events have, none where there is no log'({ recorder, originatorId, expect }) {
    const recorded: number[][] = []
    const onRecorded = (ids: readonly bigint[]): void => void recorded.push(ids.map(Number))
    await recorder.appendEvents(storedEvents(originatorId(1), 2), { onRecorded })
    await recorder.appendEvents([storedEvent(originatorId(1), 3)], { onRecorded })
    expect(recorded).toEqual('selectNotifications' in recorder ? [[1, 2], [3]] : [[], []])
  },

  async 'refuses events that would leave a gap, as a conflict on their stream'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents(storedEvents(originatorId(1), 2))
    const missing = { originatorId: originatorId(1), originatorVersion: 3 }
    const events = [storedEvent(originatorId(2), 1), storedEvent(originatorId(1), 4)]
    const appended = recorder.appendEvents(events, { predecessors: [missing] })
    const conflict = await expectError(subject, appended, ConcurrencyError)
    expect([conflict.originatorId, conflict.expectedVersion, conflict.actualVersion]).toEqual([originatorId(1), 3, 2])
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1, 2])
    expect(await recorder.selectEvents(originatorId(2))).toEqual([])
  },

  async 'refuses a position that is taken, and stores nothing of the list'(subject) {
    const { recorder, originatorId, expect } = subject
    const recorded: unknown[] = []
    const onRecorded = (ids: readonly bigint[]): void => void recorded.push(ids)
    await recorder.insertEvents(storedEvents(originatorId(1), 2))
    const events = [storedEvent(originatorId(2), 1), storedEvent(originatorId(1), 2)]
    await expectError(subject, recorder.appendEvents(events, { onRecorded }), ConcurrencyError)
    expect(await recorder.selectEvents(originatorId(2))).toEqual([])
    expect(recorded).toEqual([])
  },
}

const deleting: Cases<DeletingRecorder> = {
  async 'deletes the range that is asked for, of one originator'({ recorder, originatorId, expect }) {
    await recorder.insertEvents([...storedEvents(originatorId(1), 6), ...storedEvents(originatorId(2), 6)])
    const leftAfter = async (range: DeleteEventsRange): Promise<number[]> => {
      await recorder.deleteEvents(originatorId(1), range)
      return versionsOf(await recorder.selectEvents(originatorId(1)))
    }
    expect(await leftAfter({ gt: 3, lte: 4 })).toEqual([1, 2, 3, 5, 6])
    expect(await leftAfter({ lte: 2 })).toEqual([3, 5, 6])
    expect(await leftAfter({ gt: 4, lte: 4 })).toEqual([3, 5, 6])
    expect(await leftAfter({ gt: 4, lte: 100 })).toEqual([3])
    expect(versionsOf(await recorder.selectEvents(originatorId(2)))).toEqual([1, 2, 3, 4, 5, 6])
  },

  async 'deletes nothing of an unknown originator, and frees the positions of a known one'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.deleteEvents(originatorId(1), { lte: 10 })
    await recorder.insertEvents([storedEvent(originatorId(1), 5)])
    await recorder.deleteEvents(originatorId(1), { lte: 5 })
    await recorder.insertEvents([storedEvent(originatorId(1), 5, { topic: 'again' })])
    expect((await recorder.selectEvents(originatorId(1))).map(({ topic }) => topic)).toEqual(['again'])
  },
}

const sinceSnapshot: Cases<SinceSnapshotRecorders> = {
  async 'gives the latest snapshot and the events after it, of one originator'(subject) {
    const { recorder, originatorId, expect } = subject
    await filled(subject)
    const found = await recorder.events.selectSinceSnapshot(recorder.snapshots, originatorId(1), { limit: 10 })
    expect(versionsIn(found)).toEqual({ snapshot: 4, events: [5, 6] })
    const [snapshot] = await recorder.snapshots.selectEvents(originatorId(1), { gt: 2 })
    const events = await recorder.events.selectEvents(originatorId(1), { gt: 4 })
    expect(contentsIn(found)).toEqual(contentsIn({ snapshot, events }))
  },

  async 'gives metadata of snapshots and events as they are stored'({ recorder, originatorId, expect }) {
    const by = (name: string): object => ({ metadata: { by: name } })
    const [first, second] = [storedEvent(originatorId(1), 1), storedEvent(originatorId(1), 2)]
    await recorder.snapshots.insertEvents([first])
    await recorder.events.insertEvents([
      { ...first, ...by('Ann') },
      second,
      { ...second, ...by('Bob'), originatorVersion: 3 },
    ])
    const found = await recorder.events.selectSinceSnapshot(recorder.snapshots, originatorId(1), { limit: 10 })
    expect([found?.snapshot, ...(found?.events ?? [])].map((each) => each?.metadata)).toEqual([
      undefined,
      undefined,
      { by: 'Bob' },
    ])
  },

  async 'gives the snapshot and the events up to a version'(subject) {
    const { recorder, originatorId, expect } = subject
    await filled(subject)
    const upTo = async (lte: number): Promise<unknown> =>
      versionsIn(await recorder.events.selectSinceSnapshot(recorder.snapshots, originatorId(1), { lte, limit: 10 }))
    expect(await upTo(5)).toEqual({ snapshot: 4, events: [5] })
    expect(await upTo(4)).toEqual({ snapshot: 4, events: [] })
    expect(await upTo(3)).toEqual({ snapshot: 2, events: [3] })
    expect(await upTo(1)).toEqual({ snapshot: undefined, events: [1] })
    expect(await upTo(0)).toEqual({ snapshot: undefined, events: [] })
  },

  async 'gives no more events than asked for, beside the snapshot'(subject) {
    const { recorder, originatorId, expect } = subject
    await filled(subject)
    const limited = async (n: number, limit: number): Promise<unknown> =>
      versionsIn(await recorder.events.selectSinceSnapshot(recorder.snapshots, originatorId(n), { limit }))
    expect(await limited(1, 1)).toEqual({ snapshot: 4, events: [5] })
    expect(await limited(3, 2)).toEqual({ snapshot: undefined, events: [1, 2] })
  },

  async 'gives all events where there is no snapshot, and nothing of an unknown originator'(subject) {
    const { recorder, originatorId, expect } = subject
    await filled(subject)
    await recorder.events.insertEvents(storedEvents(originatorId(4), 4, -1))
    await recorder.snapshots.insertEvents([storedEvent(originatorId(5), 7)])
    const since = async (n: number): Promise<unknown> =>
      versionsIn(await recorder.events.selectSinceSnapshot(recorder.snapshots, originatorId(n), { limit: 10 }))
    expect(await since(3)).toEqual({ snapshot: undefined, events: [1, 2, 3] })
    expect(await since(4)).toEqual({ snapshot: undefined, events: [-1, 0, 1, 2] })
    expect(await since(5)).toEqual({ snapshot: 7, events: [] })
    expect(await since(6)).toEqual({ snapshot: undefined, events: [] })
  },

  async 'gives undefined for snapshots that it cannot read at once with its events'(subject) {
    const { recorder, originatorId, expect } = subject
    await filled(subject)
    const elsewhere: AggregateRecorder = {
      insertEvents: async (events) => await recorder.snapshots.insertEvents(events),
      selectEvents: async (id, range) => await recorder.snapshots.selectEvents(id, range),
    }
    const found = await recorder.events.selectSinceSnapshot(elsewhere, originatorId(1), { limit: 10 })
    expect(found).toEqual(undefined)
  },
}

/** Six events of the first originator with two snapshots, and events of two more, of which one has a snapshot. */
async function filled({
  recorder: { events, snapshots },
  originatorId,
}: Subject<SinceSnapshotRecorders>): Promise<void> {
  for (const [n, count] of [
    [1, 6],
    [2, 6],
    [3, 3],
  ] as const)
    await events.insertEvents(storedEvents(originatorId(n), count))
  const snapshotOf = (n: number, version: number): StoredEvent =>
    storedEvent(originatorId(n), version, { topic: 'snapshot', state: Uint8Array.of(n, version) })
  await snapshots.insertEvents([snapshotOf(1, 2), snapshotOf(1, 4), snapshotOf(2, 5)])
}

function versionsIn(found: SinceSnapshot | undefined): unknown {
  return found && { snapshot: found.snapshot?.originatorVersion, events: versionsOf(found.events) }
}

function contentsIn(found: SinceSnapshot | undefined): unknown {
  return found && { snapshot: found.snapshot && contentOf([found.snapshot]), events: contentOf(found.events) }
}

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function subjectKeyRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<SubjectKeyRecorder>,
): void {
  declareCases(framework, `${label} as a subject key recorder`, cases, makeRecorder)
}

function keyOf(subject: string, ...bytes: readonly number[]): SubjectKey {
  return { subject, key: new Uint8Array(bytes) }
}

/** The keys as texts in order, which is what can be compared. */
function written(keys: readonly SubjectKey[]): string[] {
  return keys.map(({ subject, key }) => `${subject}=${[...key].join('.')}`).sort()
}

const cases: Cases<SubjectKeyRecorder> = {
  async 'has no keys at first'({ recorder, expect }) {
    expect(await recorder.selectKeys(['ann'])).toEqual([])
    expect(await recorder.selectKeys([])).toEqual([])
    expect(await recorder.insertKeys([])).toEqual([])
    expect(await recorder.deleteKey('ann')).toEqual(false)
  },

  async 'gives back the bytes of those that are asked for'({ recorder, expect }) {
    const inserted = await recorder.insertKeys([keyOf('ann', 0, 255, 128), keyOf('bob', 1)])
    expect(written(inserted)).toEqual(['ann=0.255.128', 'bob=1'])
    expect(written(await recorder.selectKeys(['ann', 'ann', 'cid']))).toEqual(['ann=0.255.128'])
    expect(written(await recorder.selectKeys(['bob', 'ann']))).toEqual(['ann=0.255.128', 'bob=1'])
  },

  async 'keeps its own bytes, whatever becomes of those that it was given or has given'({ recorder, expect }) {
    const given = keyOf('ann', 1)
    const inserted = await recorder.insertKeys([given])
    given.key.fill(9)
    for (const { key } of [...inserted, ...(await recorder.selectKeys(['ann']))]) key.fill(8)
    expect(written(await recorder.selectKeys(['ann']))).toEqual(['ann=1'])
  },

  async 'keeps the first key of a person, and gives it to whoever brings another'({ recorder, expect }) {
    await recorder.insertKeys([keyOf('ann', 1)])
    expect(written(await recorder.insertKeys([keyOf('bob', 2), keyOf('ann', 3)]))).toEqual(['ann=1', 'bob=2'])
    expect(written(await recorder.insertKeys([keyOf('cid', 4), keyOf('cid', 5)]))).toEqual(['cid=4'])
    expect(written(await recorder.selectKeys(['ann', 'cid']))).toEqual(['ann=1', 'cid=4'])
  },

  async 'forgets one person alone, who may have another key later'({ recorder, expect }) {
    await recorder.insertKeys([keyOf('ann', 1), keyOf('bob', 2)])
    expect(await recorder.deleteKey('ann')).toEqual(true)
    expect(await recorder.deleteKey('ann')).toEqual(false)
    expect(written(await recorder.selectKeys(['ann', 'bob']))).toEqual(['bob=2'])
    expect(written(await recorder.insertKeys([keyOf('ann', 3)]))).toEqual(['ann=3'])
  },

  async 'takes names for different ones that differ at all'({ recorder, expect }) {
    const names = ['ann', 'Ann', 'ann ', 'änn', 'a\u0308nn', "o'ann", 'ann\\', '安', 'x'.repeat(255), '😀'.repeat(127)]
    const inserted = await recorder.insertKeys(names.map((name, index) => keyOf(name, index)))
    expect(written(inserted)).toEqual(written(names.map((name, index) => keyOf(name, index))))
    expect(await recorder.deleteKey('ANN')).toEqual(false)
    expect(await recorder.deleteKey('ann')).toEqual(true)
    expect(written(await recorder.selectKeys(names))).toEqual(
      written(names.slice(1).map((name, index) => keyOf(name, index + 1))),
    )
  },

  async 'takes many at once'({ recorder, expect }) {
    const many = Array.from({ length: 1000 }, (_, index) => keyOf(`person ${index}`, index % 256))
    expect(written(await recorder.insertKeys(many))).toEqual(written(many))
    expect(written(await recorder.selectKeys(many.map(({ subject }) => subject)))).toEqual(written(many))
  },
}
