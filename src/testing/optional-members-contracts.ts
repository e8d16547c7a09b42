/** What a recorder promises that has the optional members of an aggregate recorder. */
import { ConcurrencyError } from '../errors.js'
import type { AggregateRecorder, DeleteEventsRange } from '../persistence/recorder.js'
import { expectError } from './expected-error.js'
import { storedEvent, storedEvents, versionsOf } from './stored-events.js'
import { type Cases, declareCases, type MakeRecorder, type TestFramework } from './test-framework.js'

/** A recorder that stores events on behalf of a save. */
export type AppendingRecorder = AggregateRecorder & Required<Pick<AggregateRecorder, 'appendEvents'>>

/** A recorder that deletes events: one for snapshots. */
export type DeletingRecorder = AggregateRecorder & Required<Pick<AggregateRecorder, 'deleteEvents'>>

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
