/** What every application recorder promises; each implementation runs it. The numbers are those of the behaviours to equal. */
import { describe, expect, it } from 'vitest'
import { IntegrityError } from '../../src/errors.js'
import type { ApplicationRecorder, SelectNotificationsOptions } from '../../src/persistence/recorder.js'
import type { StoredEvent } from '../../src/persistence/stored-event.js'
import { aggregateRecorderContract, type RecorderUnderTest, recorderPerCase } from './aggregate-recorder.js'
import { storedEvent } from './stored-events.js'

/**
 * Declares the cases, those of an aggregate recorder included.
 *
 * @param label - names the implementation, and the database
 * @param makeRecorder - called once per case; what it gives must be empty
 */
export function applicationRecorderContract(
  label: string,
  makeRecorder: () => Promise<RecorderUnderTest<ApplicationRecorder>>,
): void {
  aggregateRecorderContract(label, makeRecorder, 'with log')
  describe(`${label} as an application recorder`, () => {
    const use = recorderPerCase(makeRecorder)

    /** Inserts two events of one originator, then one of another: the notifications 1, 2 and 3. */
    async function insertThree(): Promise<StoredEvent[]> {
      const { recorder, originatorId } = use()
      const events = [
        storedEvent(originatorId(1), 1, { topic: 'topic1' }),
        storedEvent(originatorId(1), 2, { topic: 'topic2' }),
        storedEvent(originatorId(2), 1, { topic: 'topic3' }),
      ]
      expect(await recorder.insertEvents(events.slice(0, 2))).toEqual([1n, 2n])
      expect(await recorder.insertEvents(events.slice(2))).toEqual([3n])
      return events
    }

    async function idsFrom(
      start: number | null,
      limit: number,
      options?: SelectNotificationsOptions,
    ): Promise<number[]> {
      const from = start === null ? null : BigInt(start)
      const notifications = await use().recorder.selectNotifications(from, limit, options)
      return notifications.map(({ id }) => Number(id))
    }

    it('has an empty log at first [21]', async () => {
      expect(await idsFrom(null, 3)).toEqual([])
      expect(await idsFrom(null, 3, { topics: ['topic1'] })).toEqual([])
      expect(await use().recorder.maxNotificationId()).toBeNull()
    })

    it('gives ids from 1 in the order of the events [22, 29]', async () => {
      await insertThree()
      expect(await use().recorder.maxNotificationId()).toBe(3n)
    })

    it('refuses an event that is stored already, and keeps its log [23]', async () => {
      const [, , e3] = await insertThree()
      await expect(use().recorder.insertEvents(e3 === undefined ? [] : [e3])).rejects.toBeInstanceOf(IntegrityError)
      expect(await idsFrom(null, 10)).toEqual([1, 2, 3])
    })

    it('gives notifications with all that was stored [24]', async () => {
      const events = await insertThree()
      const before = Date.now()
      const notifications = await use().recorder.selectNotifications(null, 10)
      expect(notifications.map(({ id }) => id)).toEqual([1n, 2n, 3n])
      for (const [index, event] of events.entries()) {
        const { originatorId, originatorVersion, topic } = event
        expect(notifications[index]).toMatchObject({ originatorId, originatorVersion, topic })
        expect([...(notifications[index]?.state ?? [])]).toEqual([...event.state])
        expect(notifications[index]?.recordedAt).toBeInstanceOf(Date)
        // The clock of a database server may differ a little.
        expect(Math.abs((notifications[index]?.recordedAt.getTime() ?? 0) - before)).toBeLessThan(60_000)
      }
    })

    it('starts at an id, or after it [25, 27]', async () => {
      await insertThree()
      expect(await idsFrom(1, 10)).toEqual([1, 2, 3])
      expect(await idsFrom(1, 10, { inclusiveOfStart: false })).toEqual([2, 3])
      expect(await idsFrom(2, 10, { inclusiveOfStart: false })).toEqual([3])
      expect(await idsFrom(3, 10, { inclusiveOfStart: false })).toEqual([])
      expect(await idsFrom(4, 10)).toEqual([])
    })

    it('stops at an id [26, 31]', async () => {
      await insertThree()
      expect(await idsFrom(null, 10, { stop: 2n })).toEqual([1, 2])
      expect(await idsFrom(2, 10, { stop: 2n })).toEqual([2])
      expect(await idsFrom(1, 10, { stop: 2n })).toEqual([1, 2])
      expect(await idsFrom(1, 10, { stop: 2n, inclusiveOfStart: false })).toEqual([2])
      expect(await idsFrom(3, 10, { stop: 2n })).toEqual([])
    })

    it('narrows by topics before it counts [28, 34]', async () => {
      await insertThree()
      expect(await idsFrom(null, 10, { topics: ['topic1', 'topic2', 'topic3'] })).toEqual([1, 2, 3])
      expect(await idsFrom(1, 10, { topics: ['topic1'] })).toEqual([1])
      expect(await idsFrom(1, 3, { topics: ['topic2'] })).toEqual([2])
      expect(await idsFrom(1, 3, { topics: ['topic3'] })).toEqual([3])
      expect(await idsFrom(1, 3, { topics: ['topic1', 'topic3'] })).toEqual([1, 3])
      expect(await idsFrom(1, 1, { topics: ['topic3'] })).toEqual([3])
      expect(await idsFrom(null, 10, { topics: ['none'] })).toEqual([])
    })

    it('gives at most as many as asked for [30]', async () => {
      await insertThree()
      expect(await idsFrom(null, 1)).toEqual([1])
      expect(await idsFrom(2, 1)).toEqual([2])
      expect(await idsFrom(1, 1, { inclusiveOfStart: false })).toEqual([2])
      expect(await idsFrom(2, 2)).toEqual([2, 3])
      expect(await idsFrom(3, 1)).toEqual([3])
      expect(await idsFrom(3, 1, { inclusiveOfStart: false })).toEqual([])
      expect(await idsFrom(null, 0)).toEqual([])
    })

    it('takes an empty list of topics as no filter [32]', async () => {
      await insertThree()
      expect(await idsFrom(null, 10, { topics: [] })).toEqual([1, 2, 3])
    })

    it('takes a start below 1 as the beginning [33]', async () => {
      await insertThree()
      expect(await idsFrom(0, 10)).toEqual([1, 2, 3])
      expect(await idsFrom(-1, 10)).toEqual([1, 2, 3])
      expect(await idsFrom(0, 10, { inclusiveOfStart: false })).toEqual([1, 2, 3])
    })

    it('gives greater ids after a failed insert [35]', async () => {
      const { recorder, originatorId } = use()
      const [e1] = await insertThree()
      await expect(
        recorder.insertEvents([storedEvent(originatorId(3), 1), ...(e1 === undefined ? [] : [e1])]),
      ).rejects.toThrow()
      const [next] = await recorder.insertEvents([storedEvent(originatorId(3), 1)])
      expect(next).toBeGreaterThan(3n)
    })

    it('never lets a reader that goes on from its last id miss an event [36, 39]', async () => {
      const { recorder, originatorId } = use()
      const seed = Date.now() % 100_000
      const random = randomFrom(seed)
      const [writers, jobs] = [6, 15]
      const stored = new Set<string>()
      let isWriting = true
      const write = async (writer: number): Promise<void> => {
        for (let job = 0; job < jobs; job += 1) {
          const id = originatorId(100 + writer * jobs + job)
          const events = Array.from({ length: 1 + Math.floor(random() * 10) }, (_, version) => storedEvent(id, version))
          await recorder.insertEvents(events)
          for (const { originatorVersion } of events) stored.add(`${id} ${originatorVersion}`)
        }
      }
      const read = async (): Promise<Set<string>> => {
        const seen = new Set<string>()
        let last = 0n
        for (let isLast = false; ; ) {
          const batch = await recorder.selectNotifications(last, 10, { inclusiveOfStart: false })
          for (const notification of batch) {
            expect(notification.id, `seed ${seed}`).toBeGreaterThan(last)
            last = notification.id
            seen.add(`${notification.originatorId} ${notification.originatorVersion}`)
          }
          if (batch.length > 0) continue
          if (isLast) return seen
          isLast = !isWriting
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      const readers = [read(), read()]
      await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer))).finally(() => {
        isWriting = false
      })
      for (const seen of await Promise.all(readers)) expect(seen, `seed ${seed}`).toEqual(stored)
    })
  })
}

// Mulberry32: small, and the same everywhere for the same seed.
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
