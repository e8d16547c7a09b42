/** What every aggregate recorder promises, also one for snapshots. */
import { ConcurrencyError, IntegrityError } from '../errors.js'
import type { AggregateRecorder, SelectEventsRange } from '../persistence/recorder.js'
import {
  type Cases,
  contentOf,
  declareCases,
  expectError,
  expectOneSuccess,
  type MakeRecorder,
  storedEvent,
  storedEvents,
  type TestFramework,
  versionsOf,
} from './test-framework.js'

/**
 * Declares the cases of a recorder without a log. A recorder with one is held to `applicationRecorderContract`.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function aggregateRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<AggregateRecorder>,
): void {
  const name = `${label} as an aggregate recorder`
  declareCases(framework, name, { ...withoutLog, ...aggregateCases }, makeRecorder)
}

const withoutLog: Cases<AggregateRecorder> = {
  async 'accepts an empty list of events, and gives no ids [1]'({ recorder, expect }) {
    expect(await recorder.insertEvents([])).toEqual(null)
  },

  async 'gives no ids for events, since it has no log [3]'({ recorder, originatorId, expect }) {
    expect(await recorder.insertEvents([storedEvent(originatorId(1), 1)])).toEqual(null)
  },
}

const reading: Cases<AggregateRecorder> = {
  async 'has no events of an unknown originator [2]'({ recorder, originatorId, expect }) {
    expect(await recorder.selectEvents(originatorId(1), { desc: true, limit: 1 })).toEqual([])
    expect(await recorder.selectEvents(originatorId(1))).toEqual([])
  },

  async 'gives a stored event back as it was, with its state as plain bytes [4]'(subject) {
    const { recorder, originatorId, expect } = subject
    const state = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    const event = storedEvent(originatorId(1), 1, { topic: 'Hündin.Grüßt 🐈', state })
    await recorder.insertEvents([event])
    const events = await recorder.selectEvents(originatorId(1))
    expect(contentOf(events)).toEqual(contentOf([event]))
    // A driver's view of its buffer has methods of its own, and changes when the buffer is used again.
    expect(events.map((selected) => selected.state.constructor.name)).toEqual(['Uint8Array'])
  },

  async 'keeps states of no length and of a mebibyte [4]'({ recorder, originatorId, expect }) {
    const large = Uint8Array.from({ length: 1024 * 1024 }, (_, index) => index % 251)
    await recorder.insertEvents([
      storedEvent(originatorId(1), 1, { state: new Uint8Array() }),
      storedEvent(originatorId(1), 2, { state: large }),
    ])
    const [empty, full] = await recorder.selectEvents(originatorId(1))
    expect([empty?.state.length, full?.state.length]).toEqual([0, large.length])
    expect(full?.state.findIndex((byte, index) => byte !== large[index])).toEqual(-1)
  },

  async 'keeps metadata, and knows none where there was none'({ recorder, originatorId, expect }) {
    const metadata = { by: 'Ünï 🐈', nested: { list: [1, 'two', null] } }
    await recorder.insertEvents([{ ...storedEvent(originatorId(1), 1), metadata }, storedEvent(originatorId(1), 2)])
    const [first, second] = await recorder.selectEvents(originatorId(1))
    expect(first?.metadata).toEqual(metadata)
    expect(second !== undefined && 'metadata' in second).toEqual(false)
  },

  async 'gives events in the order of their versions, each with its own topic and state [9]'(subject) {
    const { recorder, originatorId, expect } = subject
    const events = storedEvents(originatorId(1), 3)
    await recorder.insertEvents(events.slice(0, 1))
    await recorder.insertEvents(events.slice(1))
    expect(contentOf(await recorder.selectEvents(originatorId(1)))).toEqual(contentOf(events))
  },

  async 'gives the range that is asked for [10, 11, 12]'({ recorder, originatorId, expect }) {
    await recorder.insertEvents(storedEvents(originatorId(1), 3))
    const select = async (range: SelectEventsRange): Promise<number[]> =>
      versionsOf(await recorder.selectEvents(originatorId(1), range))
    expect(await select({ desc: true, limit: 1 })).toEqual([3])
    expect(await select({ lte: 2, desc: true, limit: 1 })).toEqual([2])
    expect(await select({ gt: 1, lte: 2 })).toEqual([2])
    expect(await select({ gt: 1 })).toEqual([2, 3])
    expect(await select({ limit: 2 })).toEqual([1, 2])
    expect(await select({ desc: true })).toEqual([3, 2, 1])
    expect(await select({ limit: 0 })).toEqual([])
    expect(await select({ gt: 3 })).toEqual([])
    expect(await select({ gt: 2, lte: 1 })).toEqual([])
  },

  async 'keeps originators apart [13]'({ recorder, originatorId, expect }) {
    await recorder.insertEvents([...storedEvents(originatorId(1), 1), ...storedEvents(originatorId(2), 2)])
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1])
    expect(versionsOf(await recorder.selectEvents(originatorId(2)))).toEqual([1, 2])
    expect(await recorder.selectEvents(originatorId(3))).toEqual([])
  },

  async 'gives the ids of originators back as they were given [17]'({ recorder, originatorId, expect }) {
    const ids = Array.from({ length: 5 }, (_, n) => originatorId(n))
    await recorder.insertEvents(ids.map((id) => storedEvent(id, 1)))
    const selected = await Promise.all(ids.map((id) => recorder.selectEvents(id)))
    expect(selected.flat().map((event) => event.originatorId)).toEqual(ids)
  },
}

const writing: Cases<AggregateRecorder> = {
  async 'refuses a position that is taken, alone or among others, and stores nothing of the list [5, 6, 7, 8]'(
    subject,
  ) {
    const { recorder, originatorId, expect } = subject
    const [e1, e2] = [storedEvent(originatorId(1), 1), storedEvent(originatorId(1), 2)]
    await recorder.insertEvents([e1])
    for (const events of [[e1], [e1, e2], [e2, e1], [e2, e2]]) {
      await expectError(subject, recorder.insertEvents(events), IntegrityError)
      expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1])
    }
    await recorder.insertEvents([e2])
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1, 2])
  },

  async 'stores nothing of other originators either when one position is taken [6]'(subject) {
    const { recorder, originatorId, expect } = subject
    const taken = storedEvent(originatorId(2), 1)
    await recorder.insertEvents([taken])
    const events = [...storedEvents(originatorId(1), 3), taken, storedEvent(originatorId(3), 1)]
    await expectError(subject, recorder.insertEvents(events), IntegrityError)
    expect(await recorder.selectEvents(originatorId(1))).toEqual([])
    expect(await recorder.selectEvents(originatorId(3))).toEqual([])
  },

  async 'tells a taken position as a conflict on its stream'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents(storedEvents(originatorId(1), 2))
    const inserting = recorder.insertEvents([storedEvent(originatorId(1), 2)])
    const conflict = await expectError(subject, inserting, ConcurrencyError)
    expect([conflict.originatorId, conflict.expectedVersion, conflict.actualVersion]).toEqual([originatorId(1), 1, 2])
  },

  async 'accepts a first event with the version 0 [14]'({ recorder, originatorId, expect }) {
    await recorder.insertEvents([storedEvent(originatorId(1), 0)])
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([0])
  },

  async 'accepts versions with gaps, in any order, up to the greatest that is exact [15]'(subject) {
    const { recorder, originatorId, expect } = subject
    const greatest = Number.MAX_SAFE_INTEGER
    await recorder.insertEvents([storedEvent(originatorId(1), greatest), storedEvent(originatorId(1), 3)])
    await recorder.insertEvents([storedEvent(originatorId(1), 5)])
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([3, 5, greatest])
    expect(versionsOf(await recorder.selectEvents(originatorId(1), { gt: 5 }))).toEqual([greatest])
  },

  async 'lets one of many writers win a position [5]'(subject) {
    const { recorder, originatorId, expect } = subject
    const attempts = Array.from({ length: 8 }, (_, n) =>
      recorder.insertEvents([storedEvent(originatorId(1), 1, { topic: `writer${n}` })]),
    )
    const winner = await expectOneSuccess(subject, attempts, IntegrityError)
    const stored = await recorder.selectEvents(originatorId(1))
    expect(stored.map(({ topic }) => topic)).toEqual([`writer${winner}`])
  },
}

/** The cases that do not depend on whether there is a log. */
export const aggregateCases: Cases<AggregateRecorder> = { ...reading, ...writing }
