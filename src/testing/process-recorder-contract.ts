/** What every process recorder promises: events and tracking are stored together, or neither is. */
import { IntegrityError } from '../errors.js'
import type { ProcessRecorder } from '../persistence/recorder.js'
import { applicationRecorderContract } from './application-recorder-contract.js'
import {
  type Cases,
  declareCases,
  expectError,
  expectOneSuccess,
  type MakeRecorder,
  storedEvent,
  storedEvents,
  type TestFramework,
  versionsOf,
} from './test-framework.js'
import { trackingOf, trackingRecorderContract } from './tracking-recorder-contract.js'

/**
 * Declares the cases, those of an application recorder and of a tracking recorder included.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function processRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<ProcessRecorder>,
): void {
  applicationRecorderContract(framework, label, makeRecorder)
  trackingRecorderContract(framework, label, makeRecorder)
  declareCases(framework, `${label} as a process recorder`, cases, makeRecorder)
}

const cases: Cases<ProcessRecorder> = {
  async 'knows no position of an unknown upstream application [71]'({ recorder, expect }) {
    expect(await recorder.maxTrackingId('up')).toEqual(null)
  },

  async 'stores events and tracking together, and gives the ids of the events [72]'(subject) {
    const { recorder, originatorId, expect } = subject
    const ids = await recorder.insertEvents(storedEvents(originatorId(1), 2), { tracking: trackingOf('up', 1) })
    expect(ids).toEqual([1n, 2n])
    expect(versionsOf(await recorder.selectEvents(originatorId(1)))).toEqual([1, 2])
    expect(await recorder.maxTrackingId('up')).toEqual(1n)
  },

  async 'keeps the position when an event is refused [73]'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents(storedEvents(originatorId(1), 2), { tracking: trackingOf('up', 1) })
    const events = [storedEvent(originatorId(2), 1), storedEvent(originatorId(1), 2)]
    await expectError(subject, recorder.insertEvents(events, { tracking: trackingOf('up', 2) }), IntegrityError)
    expect(await recorder.maxTrackingId('up')).toEqual(1n)
    expect(await recorder.selectEvents(originatorId(2))).toEqual([])
    const first = recorder.insertEvents([storedEvent(originatorId(1), 2)], { tracking: trackingOf('other', 1) })
    await expectError(subject, first, IntegrityError)
    expect(await recorder.maxTrackingId('other')).toEqual(null)
  },

  async 'stores no event when the tracking is refused [74]'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents(storedEvents(originatorId(1), 2), { tracking: trackingOf('up', 1) })
    const refused = recorder.insertEvents([storedEvent(originatorId(2), 1)], { tracking: trackingOf('up', 1) })
    await expectError(subject, refused, IntegrityError)
    expect(await recorder.selectEvents(originatorId(2))).toEqual([])
    expect((await recorder.selectNotifications(null, 10)).length).toEqual(2)
    expect(await recorder.maxTrackingId('up')).toEqual(1n)
  },

  async 'goes on with the next notification, and without any [75]'({ recorder, originatorId, expect }) {
    await recorder.insertEvents(storedEvents(originatorId(1), 2), { tracking: trackingOf('up', 1) })
    await recorder.insertEvents([storedEvent(originatorId(2), 1)], { tracking: trackingOf('up', 2) })
    expect(await recorder.maxTrackingId('up')).toEqual(2n)
    await recorder.insertEvents([storedEvent(originatorId(2), 2)])
    expect(await recorder.maxTrackingId('up')).toEqual(2n)
    expect(versionsOf(await recorder.selectEvents(originatorId(2)))).toEqual([1, 2])
  },

  async 'tracks a notification from which no event was made [76]'({ recorder, expect }) {
    const processed = async (): Promise<number[]> => {
      const answers = await Promise.all([1n, 2n, 3n, 4n].map((id) => recorder.hasTrackingId('up', id)))
      return [1, 2, 3, 4].filter((id) => answers[id - 1] === true)
    }
    expect(await recorder.insertEvents([], { tracking: trackingOf('up', 1) })).toEqual([])
    expect(await processed()).toEqual([1])
    await recorder.insertEvents([], { tracking: trackingOf('up', 3) })
    expect(await processed()).toEqual([1, 2, 3])
    expect(await recorder.maxNotificationId()).toEqual(null)
  },

  async 'never goes back, also without events [77]'(subject) {
    const { recorder, expect } = subject
    await recorder.insertEvents([], { tracking: trackingOf('up', 2) })
    for (const id of [1, 2]) {
      await expectError(subject, recorder.insertEvents([], { tracking: trackingOf('up', id) }), IntegrityError)
    }
    expect(await recorder.maxTrackingId('up')).toEqual(2n)
  },

  async 'has a position for each upstream application, however it was tracked [78]'({ recorder, expect }) {
    await recorder.insertEvents([], { tracking: trackingOf('upstream_app1', 1) })
    expect(await recorder.maxTrackingId('upstream_app2')).toEqual(null)
    await recorder.insertTracking(trackingOf('upstream_app2', 5))
    await recorder.insertTracking(trackingOf('upstream_app1', 2))
    expect(await recorder.maxTrackingId('upstream_app1')).toEqual(2n)
    expect(await recorder.maxTrackingId('upstream_app2')).toEqual(5n)
  },

  async 'stores the events of one of many that process a notification at once [66, 74]'(subject) {
    const { recorder, originatorId, expect } = subject
    const tracking = trackingOf('up', 1)
    const attempts = Array.from({ length: 8 }, (_, n) =>
      recorder.insertEvents([storedEvent(originatorId(n), 1)], { tracking }),
    )
    const winner = await expectOneSuccess(subject, attempts, IntegrityError)
    const log = await recorder.selectNotifications(null, 10)
    expect(log.map((notification) => notification.originatorId)).toEqual([originatorId(winner)])
  },
}
