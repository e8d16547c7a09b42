/** The in-memory recorders keep the promises of all recorders, and say what they cannot do. */
import { describe, expect, it } from 'vitest'
import { NAMESPACE_URL, uuid5 } from '../../src/domain/uuid.js'
import { NotSupportedError } from '../../src/errors.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import { aggregateRecorderContract } from '../contracts/aggregate-recorder.js'
import { applicationRecorderContract } from '../contracts/application-recorder.js'
import { storedEvent } from '../contracts/stored-events.js'

const idKinds = {
  'with uuids': (n: number) => uuid5(NAMESPACE_URL, `/${n}`),
  'with text ids': (n: number) => `order-${n}`,
}

for (const [kind, originatorId] of Object.entries(idKinds)) {
  aggregateRecorderContract(`InMemoryAggregateRecorder ${kind}`, async () => ({
    recorder: new InMemoryAggregateRecorder(),
    originatorId,
    dispose: async () => {},
  }))
  applicationRecorderContract(`InMemoryApplicationRecorder ${kind}`, async () => ({
    recorder: new InMemoryApplicationRecorder(),
    originatorId,
    dispose: async () => {},
  }))
}

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
  })

  it('has its table from the start [18]', async () => {
    const recorder = new InMemoryApplicationRecorder()
    await recorder.createTable()
    await recorder.createTable()
    expect(await recorder.selectNotifications(null, 1)).toEqual([])
  })
})
