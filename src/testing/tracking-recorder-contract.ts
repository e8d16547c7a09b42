/** What every tracking recorder promises. */
import { IntegrityError, WaitInterruptedError, WaitTimeoutError } from '../errors.js'
import type { TrackingRecorder } from '../persistence/recorder.js'
import type { Tracking } from '../persistence/stored-event.js'
import {
  type Cases,
  declareCases,
  expectError,
  expectOneSuccess,
  type MakeRecorder,
  type Subject,
  type TestFramework,
} from './test-framework.js'

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function trackingRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<TrackingRecorder>,
): void {
  declareCases(framework, `${label} as a tracking recorder`, { ...positions, ...waiting }, makeRecorder)
}

type TrackingSubject = Subject<TrackingRecorder>

/** The tracking of a notification. */
export function trackingOf(applicationName: string, notificationId: number | bigint): Tracking {
  return { applicationName, notificationId: BigInt(notificationId) }
}

async function track({ recorder }: TrackingSubject, ...trackings: ReadonlyArray<readonly [string, number]>) {
  for (const [name, id] of trackings) await recorder.insertTracking(trackingOf(name, id))
}

/** Tells which of the ids were processed. */
async function processed(
  { recorder }: TrackingSubject,
  name: string,
  ids: ReadonlyArray<number | null>,
): Promise<unknown[]> {
  const has = async (id: number | null): Promise<boolean> =>
    await recorder.hasTrackingId(name, id === null ? null : BigInt(id))
  const answers = await Promise.all(ids.map(has))
  return ids.filter((_, index) => answers[index] === true)
}

const positions: Cases<TrackingRecorder> = {
  async 'has no positions at first [58, 59]'(subject) {
    const { recorder, expect } = subject
    expect(await recorder.maxTrackingId('up1')).toEqual(null)
    expect(await processed(subject, 'up1', [null, 1])).toEqual([null])
  },

  async 'takes a notification once, for each upstream application [57]'(subject) {
    const { recorder, expect } = subject
    await track(subject, ['up1', 21], ['up1', 22], ['up2', 21])
    for (const [name, id] of [
      ['up1', 21],
      ['up1', 22],
      ['up2', 21],
    ] as const) {
      await expectError(subject, recorder.insertTracking(trackingOf(name, id)), IntegrityError)
    }
    expect([await recorder.maxTrackingId('up1'), await recorder.maxTrackingId('up2')]).toEqual([22n, 21n])
  },

  async 'tells the last notification of each upstream application [58]'(subject) {
    const { recorder, expect } = subject
    await track(subject, ['up1', 21], ['up1', 22], ['up2', 21])
    const last = await Promise.all(['up1', 'up2', 'up3'].map((name) => recorder.maxTrackingId(name)))
    expect(last).toEqual([22n, 21n, null])
  },

  async 'takes all notifications up to the last as processed [59]'(subject) {
    await track(subject, ['up1', 21], ['up1', 22], ['up2', 21])
    subject.expect(await processed(subject, 'up1', [null, 20, 21, 22, 23])).toEqual([null, 20, 21, 22])
    subject.expect(await processed(subject, 'up2', [null, 20, 21, 22])).toEqual([null, 20, 21])
  },

  async 'may leave notifications out, and takes none of them afterwards [60]'(subject) {
    const { recorder, expect } = subject
    await track(subject, ['up1', 22], ['up1', 24])
    await expectError(subject, recorder.insertTracking(trackingOf('up1', 23)), IntegrityError)
    expect(await processed(subject, 'up1', [23, 24, 25])).toEqual([23, 24])
    expect(await recorder.maxTrackingId('up1')).toEqual(24n)
  },

  async 'lets one of many win that process a notification at once [66]'(subject) {
    const { recorder, expect } = subject
    for (const id of [1, 2]) {
      const attempts = Array.from({ length: 8 }, () => recorder.insertTracking(trackingOf('up', id)))
      await expectOneSuccess(subject, attempts, IntegrityError)
      expect(await recorder.maxTrackingId('up')).toEqual(BigInt(id))
    }
  },

  async 'never goes back, whatever order notifications are processed in [60, 66]'(subject) {
    const { recorder, expect } = subject
    const ids = Array.from({ length: 20 }, (_, n) => BigInt(((n * 7) % 20) + 1))
    const results = await Promise.allSettled(ids.map((id) => recorder.insertTracking(trackingOf('up', id))))
    for (const result of results) {
      if (result.status === 'rejected') {
        await expectError(subject, Promise.reject(result.reason as Error), IntegrityError)
      }
    }
    expect(await recorder.maxTrackingId('up')).toEqual(20n)
  },

  async 'has any number of upstream applications, whatever their names [70]'({ recorder, expect }) {
    const odd = [
      '',
      'up',
      'Up',
      'up ',
      ' up',
      'ÜP',
      'üp',
      "o'up",
      '🐈 哈哈',
      'u%',
      'u_',
      'a'.repeat(33),
      'a'.repeat(1_000),
    ]
    const names = [...odd, ...Array.from({ length: 40 }, (_, n) => `upstream_app${n}`)]
    for (const [index, name] of names.entries()) await recorder.insertTracking(trackingOf(name, index + 1))
    const last = await Promise.all(names.map((name) => recorder.maxTrackingId(name)))
    expect(last).toEqual(names.map((_, index) => BigInt(index + 1)))
  },

  async 'tells apart ids for which numbers are not exact [58]'(subject) {
    const { recorder, expect } = subject
    for (const id of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 2n, 2n ** 63n - 1n]) {
      expect(await recorder.hasTrackingId('up', id)).toEqual(false)
      await recorder.insertTracking(trackingOf('up', id))
      await expectError(subject, recorder.insertTracking(trackingOf('up', id)), IntegrityError)
      expect([await recorder.maxTrackingId('up'), await recorder.hasTrackingId('up', id)]).toEqual([id, true])
    }
  },
}

const waiting: Cases<TrackingRecorder> = {
  async 'waits for nothing when there is nothing to wait for [61]'({ recorder, expect }) {
    expect(await recorder.wait('up1', null, { timeoutMs: 1 })).toEqual(undefined)
  },

  async 'gives up a wait when the time is over, and says for what it waited [62, 65]'(subject) {
    const { recorder, expect } = subject
    const timedOut = await expectError(subject, recorder.wait('up1', 21n, { timeoutMs: 100 }), WaitTimeoutError)
    expect(['21', 'up1'].filter((word) => !timedOut.message.includes(word))).toEqual([])
  },

  async 'waits for a second unless it is told otherwise, and not for ever [65]'(subject) {
    await expectError(subject, subject.recorder.wait('up1', 21n), WaitTimeoutError)
  },

  async 'waits no longer for what was processed already [63]'(subject) {
    const { recorder, expect } = subject
    await track(subject, ['up1', 21])
    for (const id of [null, 10n, 21n]) expect(await recorder.wait('up1', id, { timeoutMs: 5_000 })).toEqual(undefined)
    await expectError(subject, recorder.wait('up1', 22n, { timeoutMs: 100 }), WaitTimeoutError)
    await expectError(subject, recorder.wait('up2', 21n, { timeoutMs: 100 }), WaitTimeoutError)
  },

  async 'waits until it is processed, by itself or with a later one [63]'(subject) {
    const { recorder, expect } = subject
    const waits = Promise.all([21n, 22n].map((id) => recorder.wait('up1', id, { timeoutMs: 10_000 })))
    await track(subject, ['up1', 1], ['up1', 23])
    expect(await waits).toEqual([undefined, undefined])
  },

  async 'is interrupted by its signal, before the wait and during it [64]'(subject) {
    const { recorder } = subject
    await track(subject, ['up1', 21])
    const options = { timeoutMs: 10_000, signal: AbortSignal.abort() }
    await expectError(subject, recorder.wait('up1', 22n, options), WaitInterruptedError)
    const interruption = new AbortController()
    const wait = recorder.wait('up1', 22n, { timeoutMs: 10_000, signal: interruption.signal })
    setTimeout(() => interruption.abort(), 20)
    await expectError(subject, wait, WaitInterruptedError)
  },
}
