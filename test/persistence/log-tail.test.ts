/** The end of a log is read once for all who follow it there, whatever each of them wants of it. */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { InMemoryApplicationRecorder, type Notification, type SubscribeOptions } from '../../src/index.js'
import type { FollowedLog } from '../../src/persistence/followed-log.js'
import { LogTail } from '../../src/persistence/log-tail.js'
import { LogSubscription } from '../../src/persistence/subscription.js'

let version = 0
const event = (topic = 'topic') => {
  version += 1
  return { originatorId: 'a', originatorVersion: version, topic, state: new Uint8Array() }
}

/** A log that counts its reads, and their number at the same time. */
function countedLog(recorder: InMemoryApplicationRecorder) {
  const counts = { reads: 0, running: 0, atOnce: 0 }
  let wake = (): void => undefined
  const log: FollowedLog = {
    async selectNotifications(...args) {
      counts.reads += 1
      counts.running += 1
      counts.atOnce = Math.max(counts.atOnce, counts.running)
      await delay(2)
      counts.running -= 1
      return await recorder.selectNotifications(...args)
    },
    maxNotificationId: () => recorder.maxNotificationId(),
    onRecorded(listener) {
      wake = listener
      return () => undefined
    },
    isClosed: false,
    mayPass: () => false,
  }
  return { counts, tail: new LogTail(log), wake: () => wake() }
}

/** Follows the log in the background. */
function follow(tail: LogTail, options: SubscribeOptions = {}) {
  const ids: number[] = []
  const subscription = new LogSubscription(() => tail, options)
  const done = (async () => {
    for await (const { id } of subscription) ids.push(Number(id))
  })()
  return { ids, subscription, done }
}

describe('the end of a log', () => {
  it('is read once for hundreds of followers, each of which gets every event once', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const { counts, tail, wake } = countedLog(recorder)
    const followers = Array.from({ length: 300 }, () => follow(tail, { gt: 0n }))
    await recorder.insertEvents([event()])
    await vi.waitFor(() => expect(followers.every(({ ids }) => ids.length === 1)).toBe(true), { timeout: 10_000 })
    const before = counts.reads
    for (let n = 0; n < 5; n += 1) {
      await recorder.insertEvents([event(), event()])
      wake()
      await delay(10)
    }
    await vi.waitFor(() => expect(followers.every(({ ids }) => ids.length === 11)).toBe(true), { timeout: 10_000 })
    for (const { ids } of followers) expect(ids).toEqual(Array.from({ length: 11 }, (_, n) => n + 1))
    // Each of the five may be read in two parts, and looked for after it was found.
    expect(counts.reads - before).toBeLessThan(40)
    for (const { subscription } of followers) subscription.stop()
    await Promise.all(followers.map(({ done }) => done))
  })

  it('is waited for by ten thousand without a read for each', async () => {
    const recorder = new InMemoryApplicationRecorder()
    await recorder.insertEvents([event()])
    const { counts, tail, wake } = countedLog(recorder)
    const followers = [follow(tail, { gt: 1n })]
    await delay(30)
    for (let n = 0; n < 10_000; n += 1) followers.push(follow(tail, { gt: 1n }))
    await delay(50)
    expect(counts.reads).toBeLessThan(100)
    await recorder.insertEvents([event()])
    wake()
    await vi.waitFor(() => expect(followers.every(({ ids }) => ids.length === 1)).toBe(true), { timeout: 30_000 })
    for (const { subscription } of followers) subscription.stop()
    await Promise.all(followers.map(({ done }) => done))
  })

  it('has histories read two at a time, however many begin at once', async () => {
    const recorder = new InMemoryApplicationRecorder()
    await recorder.insertEvents(Array.from({ length: 30 }, () => event()))
    const { counts, tail } = countedLog(recorder)
    const followers = Array.from({ length: 40 }, () => follow(tail))
    await vi.waitFor(() => expect(followers.every(({ ids }) => ids.length === 30)).toBe(true), { timeout: 10_000 })
    expect(counts.atOnce).toBeLessThanOrEqual(3)
    for (const { subscription } of followers) subscription.stop()
  })

  it('gives each follower its topics, also to those who come while it is read for others', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const { tail, wake } = countedLog(recorder)
    const a = follow(tail, { topics: ['a'] })
    await delay(20)
    await recorder.insertEvents([event('a'), event('b'), event('c')])
    wake()
    const b = follow(tail, { topics: ['b'] })
    const all = follow(tail)
    await vi.waitFor(() => expect([a.ids, b.ids, all.ids]).toEqual([[1], [2], [1, 2, 3]]), { timeout: 10_000 })
    await recorder.insertEvents([event('b'), event('a')])
    wake()
    const late = follow(tail, { gt: 1n, topics: ['a', 'c'] })
    const expected = [
      [1, 5],
      [2, 4],
      [1, 2, 3, 4, 5],
      [3, 5],
    ]
    await vi.waitFor(() => expect([a, b, all, late].map(({ ids }) => ids)).toEqual(expected), { timeout: 10_000 })
    for (const { subscription } of [a, b, all, late]) subscription.stop()
  })

  it('lets a slow follower fall behind, and loses nothing of what it has not read', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const { tail, wake } = countedLog(recorder)
    const count = 3_000
    const fast = follow(tail)
    const slow = new LogSubscription(() => tail)[Symbol.asyncIterator]()
    await recorder.insertEvents([event()])
    expect((await slow.next()).value?.id).toBe(1n)
    for (let n = 1; n < count; n += 100) {
      await recorder.insertEvents(Array.from({ length: Math.min(100, count - n) }, () => event()))
      wake()
      await delay(1)
    }
    await vi.waitFor(() => expect(fast.ids).toHaveLength(count), { timeout: 20_000 })
    for (let id = 2n; id <= count; id += 1n) expect((await slow.next()).value?.id).toBe(id)
    await slow.return?.()
    fast.subscription.stop()
  })

  it('tells in pages how far it was read, also where nothing was wanted', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const { tail, wake } = countedLog(recorder)
    await recorder.insertEvents([event('wanted'), event(), event()])
    const subscription = new LogSubscription(() => tail, { topics: ['wanted'] })
    const pages = subscription.pages()[Symbol.asyncIterator]()
    const next = async () => {
      const { value } = await pages.next()
      return [value?.items.map((item: Notification) => Number(item.id)), value?.end]
    }
    expect(await next()).toEqual([[1], 3n])
    await recorder.insertEvents([event()])
    wake()
    expect(await next()).toEqual([[], 4n])
    await recorder.insertEvents([event('wanted')])
    wake()
    expect(await next()).toEqual([[5], 5n])
    await pages.return?.()
    expect(() => subscription[Symbol.asyncIterator]()).toThrow('a second time')
  })

  it('fails for all who wait where it cannot be read, and begins anew for those who come later', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const { tail, wake } = countedLog(recorder)
    const [one, other] = [follow(tail), follow(tail)]
    await delay(30)
    const select = vi.spyOn(recorder, 'selectNotifications').mockRejectedValueOnce(new Error('there is no such table'))
    wake()
    await expect(one.done).rejects.toThrow('no such table')
    await expect(other.done).rejects.toThrow('no such table')
    select.mockRestore()
    await recorder.insertEvents([event()])
    const later = follow(tail)
    await vi.waitFor(() => expect(later.ids).toEqual([1]), { timeout: 10_000 })
    later.subscription.stop()
  })
})
