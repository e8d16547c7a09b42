/** The in-memory recorders keep the promises of all recorders, and say what they cannot do. */
import { describe, expect, it } from 'vitest'
import {
  InMemoryAggregateRecorder,
  InMemoryApplicationRecorder,
  InMemoryProcessRecorder,
  InMemoryTrackingRecorder,
  NotSupportedError,
  ProgrammingError,
} from '../../src/index.js'
import {
  aggregateRecorderContract,
  appendEventsContract,
  applicationRecorderContract,
  deleteEventsContract,
  eventStoreContract,
  notificationLogContract,
  processRecorderContract,
  selectSinceSnapshotContract,
  subscriptionContract,
  tagsContract,
  trackingRecorderContract,
} from '../../src/testing/index.js'
import { storedEvent } from '../contracts/stored-events.js'

const framework = { describe, it, expect }

for (const [label, originatorId] of [
  ['with UUIDs', undefined],
  ['with text ids [17]', (n: number): string => `order-${n}`],
] as const) {
  const ids = originatorId === undefined ? {} : { originatorId }
  const aggregates = async () => ({ recorder: new InMemoryAggregateRecorder(), ...ids })
  const applications = async () => ({ recorder: new InMemoryApplicationRecorder(), ...ids })
  const processes = async () => ({ recorder: new InMemoryProcessRecorder(), ...ids })
  aggregateRecorderContract(framework, `InMemoryAggregateRecorder ${label}`, aggregates)
  appendEventsContract(framework, `InMemoryAggregateRecorder ${label}`, aggregates)
  selectSinceSnapshotContract(framework, `InMemoryApplicationRecorder ${label}`, async () => ({
    recorder: { events: new InMemoryApplicationRecorder(), snapshots: new InMemoryAggregateRecorder() },
    ...ids,
  }))
  deleteEventsContract(framework, `InMemoryAggregateRecorder ${label}`, aggregates)
  eventStoreContract(framework, `InMemoryAggregateRecorder ${label}`, aggregates)
  applicationRecorderContract(framework, `InMemoryApplicationRecorder ${label}`, applications)
  tagsContract(framework, `InMemoryApplicationRecorder ${label}`, applications)
  appendEventsContract(framework, `InMemoryApplicationRecorder ${label}`, applications)
  eventStoreContract(framework, `InMemoryApplicationRecorder ${label}`, applications)
  subscriptionContract(framework, `InMemoryApplicationRecorder ${label}`, applications)
  notificationLogContract(framework, `InMemoryApplicationRecorder ${label}`, applications)
  processRecorderContract(framework, `InMemoryProcessRecorder ${label} [79]`, processes)
  subscriptionContract(framework, `InMemoryProcessRecorder ${label}`, processes)
}
trackingRecorderContract(framework, 'InMemoryTrackingRecorder', async () => ({
  recorder: new InMemoryTrackingRecorder(),
}))

describe('an in-memory recorder', () => {
  it('shares no bytes with those who write and read', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const event = storedEvent('a', 1, { state: Uint8Array.of(1, 2, 3) })
    await recorder.insertEvents([event])
    event.state[0] = 9
    const [first] = await recorder.selectEvents('a')
    first?.state.fill(9)
    const [notification] = await recorder.selectNotifications(null, 1)
    notification?.state.fill(9)
    expect((await recorder.selectEvents('a'))[0]?.state).toEqual(Uint8Array.of(1, 2, 3))
    expect((await recorder.selectNotifications(null, 1))[0]?.state).toEqual(Uint8Array.of(1, 2, 3))
  })

  it('refuses transactions, which it could not roll back', async () => {
    await expect(new InMemoryApplicationRecorder().transaction()).rejects.toBeInstanceOf(NotSupportedError)
    await expect(new InMemoryTrackingRecorder().transaction()).rejects.toBeInstanceOf(NotSupportedError)
  })

  it('has its table from the start [18]', async () => {
    for (const recorder of [new InMemoryApplicationRecorder(), new InMemoryProcessRecorder()]) {
      await recorder.createTable()
      await recorder.createTable()
      expect(await recorder.selectNotifications(null, 1)).toEqual([])
    }
    const tracking = new InMemoryTrackingRecorder()
    await tracking.createTable()
    expect(await tracking.maxTrackingId('up')).toBeNull()
  })

  it('refuses to track what cannot be the id of a notification', async () => {
    for (const notificationId of [0n, -1n, 2n ** 63n]) {
      const tracking = { applicationName: 'up', notificationId }
      await expect(new InMemoryTrackingRecorder().insertTracking(tracking)).rejects.toBeInstanceOf(ProgrammingError)
      await expect(new InMemoryProcessRecorder().insertEvents([], { tracking })).rejects.toBeInstanceOf(
        ProgrammingError,
      )
    }
  })
})
