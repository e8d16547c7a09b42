/** What every aggregate recorder promises; each implementation runs it. The numbers are those of the behaviours to equal. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConcurrencyError, IntegrityError, isEventSourcingError } from '../../src/errors.js'
import type { AggregateRecorder } from '../../src/persistence/recorder.js'
import { storedEvent, versionsOf } from './stored-events.js'

/** A recorder on an empty store, and what goes with it. */
export interface RecorderUnderTest<Recorder> {
  readonly recorder: Recorder
  /** The n-th id of the kind that the recorder is made for, the same for the same n. */
  readonly originatorId: (n: number) => string
  readonly dispose: () => Promise<void>
}

/**
 * Declares the cases.
 *
 * @param label - names the implementation, and the database
 * @param makeRecorder - called once per case; what it gives must be empty
 * @param kind - whether the recorder has a log, and so gives ids for what it inserts
 */
export function aggregateRecorderContract(
  label: string,
  makeRecorder: () => Promise<RecorderUnderTest<AggregateRecorder>>,
  kind: 'without log' | 'with log' = 'without log',
): void {
  describe(`${label} as an aggregate recorder`, () => {
    const use = recorderPerCase(makeRecorder)

    it('accepts an empty list of events [1]', async () => {
      const { recorder } = use()
      const ids = await recorder.insertEvents([])
      expect(ids).toEqual(kind === 'with log' ? [] : null)
    })

    it('has no events of an unknown originator [2]', async () => {
      const { recorder, originatorId } = use()
      expect(await recorder.selectEvents(originatorId(1), { desc: true, limit: 1 })).toEqual([])
    })

    it('gives ids for inserted events only when it has a log [3]', async () => {
      const { recorder, originatorId } = use()
      const ids = await recorder.insertEvents([storedEvent(originatorId(1), 1)])
      expect(ids).toEqual(kind === 'with log' ? [1n] : null)
    })

    it('gives a stored event back as it was, with its state as plain bytes [4]', async () => {
      const { recorder, originatorId } = use()
      const state = Uint8Array.from({ length: 256 }, (_, byte) => byte)
      await recorder.insertEvents([storedEvent(originatorId(1), 1, { topic: 'topic1', state })])
      const events = await recorder.selectEvents(originatorId(1))
      expect(events).toHaveLength(1)
      const [event] = events
      expect(event).toMatchObject({ originatorId: originatorId(1), originatorVersion: 1, topic: 'topic1' })
      expect(event?.state).toBeInstanceOf(Uint8Array)
      expect([...(event?.state ?? [])]).toEqual([...state])
    })

    it('keeps states of no length, and metadata with any text', async () => {
      const { recorder, originatorId } = use()
      const metadata = { by: 'Ünï 🐈', nested: { list: [1, 'two', null] } }
      await recorder.insertEvents([
        { ...storedEvent(originatorId(1), 1, { state: new Uint8Array() }), metadata },
        storedEvent(originatorId(1), 2),
      ])
      const [first, second] = await recorder.selectEvents(originatorId(1))
      expect(first?.state).toHaveLength(0)
      expect(first?.metadata).toEqual(metadata)
      expect(second).not.toHaveProperty('metadata')
    })

    it('refuses a position that is taken, alone or among others, and stores nothing of the list [5, 6, 7, 8]', async () => {
      const { recorder, originatorId } = use()
      const [e1, e2] = [storedEvent(originatorId(1), 1), storedEvent(originatorId(1), 2)]
      await recorder.insertEvents([e1])
      for (const events of [[e1], [e1, e2], [e2, e1], [e2, e2]]) {
        await expect(recorder.insertEvents(events)).rejects.toBeInstanceOf(IntegrityError)
        expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1])
      }
    })

    it('tells a taken position as a conflict on its stream', async () => {
      const { recorder, originatorId } = use()
      await recorder.insertEvents([storedEvent(originatorId(1), 1), storedEvent(originatorId(1), 2)])
      const conflict = await rejection(recorder.insertEvents([storedEvent(originatorId(1), 2)]))
      expect(conflict).toBeInstanceOf(ConcurrencyError)
      expect(isEventSourcingError(conflict)).toBe(true)
      expect(conflict).toMatchObject({ originatorId: originatorId(1), expectedVersion: 1, actualVersion: 2 })
    })

    it('gives events in the order of their versions, each with its own topic and state [9]', async () => {
      const { recorder, originatorId } = use()
      const events = [1, 2, 3].map((version) => storedEvent(originatorId(1), version))
      await recorder.insertEvents(events.slice(0, 1))
      await recorder.insertEvents(events.slice(1))
      const selected = await recorder.selectEvents(originatorId(1))
      expect(selected.map(({ topic, state }) => [topic, [...state]])).toEqual(
        events.map(({ topic, state }) => [topic, [...state]]),
      )
      expect(versionsOf(selected)).toEqual([1, 2, 3])
    })

    it('gives the range that is asked for [10, 11, 12]', async () => {
      const { recorder, originatorId } = use()
      await recorder.insertEvents([1, 2, 3].map((version) => storedEvent(originatorId(1), version)))
      const select = async (range: Parameters<AggregateRecorder['selectEvents']>[1]): Promise<number[]> =>
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
    })

    it('keeps originators apart [13]', async () => {
      const { recorder, originatorId } = use()
      await recorder.insertEvents([
        storedEvent(originatorId(1), 1),
        storedEvent(originatorId(2), 1),
        storedEvent(originatorId(2), 2),
      ])
      expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1])
      expect(versionsOf(await recorder.selectEvents(originatorId(2)))).toEqual([1, 2])
    })

    it('accepts a first event with the version 0 [14]', async () => {
      const { recorder, originatorId } = use()
      await recorder.insertEvents([storedEvent(originatorId(1), 0)])
      expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([0])
    })

    it('accepts versions with gaps, in any order [15]', async () => {
      const { recorder, originatorId } = use()
      await recorder.insertEvents([storedEvent(originatorId(1), 7), storedEvent(originatorId(1), 3)])
      await recorder.insertEvents([storedEvent(originatorId(1), 5)])
      expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([3, 5, 7])
    })

    it('appends events that follow what is stored, and refuses those that would leave a gap', async () => {
      const { recorder, originatorId } = use()
      const at = (originatorVersion: number) => ({ originatorId: originatorId(1), originatorVersion })
      const recorded: bigint[][] = []
      const onRecorded = (ids: readonly bigint[]): void => void recorded.push([...ids])
      await recorder.appendEvents?.([storedEvent(originatorId(1), 1)], { predecessors: [], onRecorded })
      await recorder.appendEvents?.([storedEvent(originatorId(1), 2)], { predecessors: [at(1)], onRecorded })
      const gap = recorder.appendEvents?.([storedEvent(originatorId(1), 4)], { predecessors: [at(3)], onRecorded })
      const conflict = await rejection(gap)
      expect(conflict).toBeInstanceOf(ConcurrencyError)
      expect(conflict).toMatchObject({ originatorId: originatorId(1), expectedVersion: 3, actualVersion: 2 })
      expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1, 2])
      expect(recorded).toEqual(kind === 'with log' ? [[1n], [2n]] : [[], []])
    })

    it('lets one of two writers win a position', async () => {
      const { recorder, originatorId } = use()
      const attempts = Array.from({ length: 8 }, () => recorder.insertEvents([storedEvent(originatorId(1), 1)]))
      const results = await Promise.allSettled(attempts)
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(IntegrityError)
      }
      expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1])
    })
  })
}

/** Makes a recorder before each case and disposes of it after it. */
export function recorderPerCase<Recorder>(
  makeRecorder: () => Promise<RecorderUnderTest<Recorder>>,
): () => RecorderUnderTest<Recorder> {
  let current: RecorderUnderTest<Recorder> | undefined
  beforeEach(async () => {
    current = await makeRecorder()
  })
  afterEach(async () => {
    await current?.dispose()
    current = undefined
  })
  return () => {
    if (current === undefined) throw new Error('The recorder is made before each case')
    return current
  }
}

/** What a promise rejects with. */
async function rejection(promise: Promise<unknown> | undefined): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('Expected a rejection')
}
