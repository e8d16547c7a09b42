/** The event store over recorders with and without a log, also those of third parties. */
import { describe, expect, it } from 'vitest'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { ConcurrencyError, IntegrityError } from '../../src/errors.js'
import { EventStore } from '../../src/persistence/event-store.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import { Mapper } from '../../src/persistence/mapper.js'
import type { AggregateRecorder } from '../../src/persistence/recorder.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'

const storeOn = (recorder: AggregateRecorder): EventStore =>
  new EventStore(new Mapper({ transcoder: new JSONTranscoder() }), recorder)

function events(originatorId: string, ...versions: readonly number[]): DomainEvent[] {
  return versions.map((originatorVersion) =>
    domainEvent({
      originatorId,
      originatorVersion,
      topic: `Account.Event${originatorVersion}`,
      timestamp: createTimestamp(),
      ...(originatorVersion === 1 ? { originatorTopic: 'Account' } : {}),
      data: { amount: originatorVersion * 10 },
    }),
  )
}

describe('an event store', () => {
  it('gives back what was put, in order [128]', async () => {
    const store = storeOn(new InMemoryApplicationRecorder())
    expect(await store.get('a')).toEqual([])
    const put = events('a', 1, 2, 3)
    await store.put(put)
    expect(await store.get('a')).toStrictEqual(put)
    expect(await store.has('a')).toBe(true)
    expect(await store.has('b')).toBe(false)
  })

  it('gives a part of the events [129]', async () => {
    const store = storeOn(new InMemoryApplicationRecorder())
    const put = events('a', 1, 2, 3)
    await store.put(put)
    expect(await store.get('a', { desc: true, limit: 1 })).toStrictEqual([put[2]])
    expect(await store.get('a', { gt: 1, lte: 2 })).toStrictEqual([put[1]])
  })

  it('pairs events with their notifications when there is a log [130]', async () => {
    const store = storeOn(new InMemoryApplicationRecorder())
    const put = [...events('a', 1), ...events('b', 1)]
    const recordings = await store.put(put)
    expect(recordings.map(({ event }) => event)).toEqual(put)
    expect(recordings.map(({ notification }) => notification?.id)).toEqual([1n, 2n])
    expect(recordings[1]?.notification).toMatchObject({
      originatorId: 'b',
      originatorVersion: 1,
      topic: 'Account.Event1',
    })
    expect(recordings[1]?.notification?.state).toBeInstanceOf(Uint8Array)
  })

  it('gives no recordings when there is no log, or no event [130]', async () => {
    expect(await storeOn(new InMemoryAggregateRecorder()).put(events('a', 1))).toEqual([])
    expect(await storeOn(new InMemoryApplicationRecorder()).put([])).toEqual([])
  })

  it('refuses events that would leave a gap, of any stream among them', async () => {
    const store = storeOn(new InMemoryApplicationRecorder())
    await store.put(events('a', 1))
    await expect(store.put([...events('b', 1), ...events('a', 3)])).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await store.has('b')).toBe(false)
    await store.put([...events('b', 1), ...events('a', 2, 3), ...events('b', 2)])
    expect(await store.get('a')).toHaveLength(3)
  })

  it('accepts a stream that begins anywhere by an event that creates its originator', async () => {
    const store = storeOn(new InMemoryApplicationRecorder())
    const [later] = events('a', 5)
    if (later === undefined) throw new Error('There is one event')
    await store.put([domainEvent({ ...later, originatorTopic: 'Account' }), ...events('a', 6)])
    expect(await store.get('a')).toHaveLength(2)
  })

  it('works on a recorder that has nothing but insertEvents and selectEvents', async () => {
    const inner = new InMemoryApplicationRecorder()
    const store = storeOn({
      insertEvents: async (given) => await inner.insertEvents(given),
      selectEvents: async (id, range) => await inner.selectEvents(id, range),
    })
    await store.put(events('a', 1, 2))
    expect(await store.get('a')).toHaveLength(2)
    await expect(store.put(events('a', 2))).rejects.toBeInstanceOf(IntegrityError)
  })

  it('fills in notifications when the recorder writes later', async () => {
    const inner = new InMemoryApplicationRecorder()
    let flush = async (): Promise<void> => {}
    const store = storeOn({
      insertEvents: async (given) => await inner.insertEvents(given),
      selectEvents: async (id, range) => await inner.selectEvents(id, range),
      selectNotifications: async (start: bigint | null, limit: number) => await inner.selectNotifications(start, limit),
      maxNotificationId: async () => await inner.maxNotificationId(),
      appendEvents: async (given, options) => {
        flush = async () => await inner.appendEvents(given, options)
      },
    } as AggregateRecorder)
    const [recording] = await store.put(events('a', 1))
    expect(recording).not.toHaveProperty('notification')
    await flush()
    expect(recording?.notification?.id).toBe(1n)
  })
})
