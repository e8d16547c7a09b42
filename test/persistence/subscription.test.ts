/** How a subscription reads: in pages, as seldom as it can, and on after a failure that may pass. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { InMemoryApplicationRecorder, type Notification, OperationalError, ProgrammingError } from '../../src/index.js'
import type { FollowedLog } from '../../src/persistence/followed-log.js'
import { LogTail } from '../../src/persistence/log-tail.js'
import { LogSubscription } from '../../src/persistence/subscription.js'

const mebibyte = 1024 * 1024

const event = (version: number, { topic = 'topic', bytes = 0 } = {}) => ({
  originatorId: 'a',
  originatorVersion: version,
  topic,
  state: new Uint8Array(bytes),
})

interface Read {
  readonly start: bigint | null
  readonly limit: number
  readonly stop: bigint | undefined
}

/** A log in memory that keeps count of how it is read, tells nobody of new events, and fails when it is told to. */
function watchedLog(recorder: InMemoryApplicationRecorder) {
  const reads: Read[] = []
  const failures: Array<() => Promise<void>> = []
  const log: FollowedLog = {
    async selectNotifications(start, limit, options = {}) {
      reads.push({ start, limit, stop: options.stop })
      await failures.shift()?.()
      return await recorder.selectNotifications(start, limit, options)
    },
    maxNotificationId: () => recorder.maxNotificationId(),
    onRecorded: () => () => undefined,
    isClosed: false,
    mayPass: (error) => error instanceof OperationalError && error.retryable,
  }
  return { log, reads, failures }
}

async function takeAll(subscription: LogSubscription, count: number): Promise<Notification[]> {
  const taken: Notification[] = []
  for await (const notification of subscription) {
    taken.push(notification)
    if (taken.length === count) break
  }
  return taken
}

const passing = (): Promise<never> =>
  Promise.reject(new OperationalError('The server is starting up.', { retryable: true }))

describe('a subscription', () => {
  let recorder: InMemoryApplicationRecorder
  beforeEach(() => {
    recorder = new InMemoryApplicationRecorder()
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('reads the history in pages of 500 at most, each when the one before is taken [55]', async () => {
    await recorder.insertEvents(Array.from({ length: 2_000 }, (_, n) => event(n + 1)))
    const { log, reads } = watchedLog(recorder)
    const readsBefore: number[] = []
    for await (const { id } of new LogSubscription(() => new LogTail(log))) {
      readsBefore.push(reads.length)
      if (id === 2_000n) break
    }
    expect(reads.map(({ limit }) => limit)).toEqual([10, 20, 40, 80, 160, 320, 500, 500, 500])
    expect(readsBefore[9]).toBe(1)
    expect(readsBefore[10]).toBe(2)
  })

  it('reads fewer events at once when their states are large', async () => {
    await recorder.insertEvents(Array.from({ length: 60 }, (_, n) => event(n + 1, { bytes: mebibyte })))
    const { log, reads } = watchedLog(recorder)
    expect(await takeAll(new LogSubscription(() => new LogTail(log)), 60)).toHaveLength(60)
    expect(reads.map(({ limit }) => limit).slice(0, 4)).toEqual([10, 4, 4, 4])
  })

  it('asks less and less often while there is nothing new', async () => {
    const { log, reads } = watchedLog(recorder)
    const subscription = new LogSubscription(() => new LogTail(log))
    const taken = takeAll(subscription, 1)
    await delay(500)
    subscription.stop()
    expect(await taken).toEqual([])
    // After 10, 30, 70, 150 and 310 ms.
    expect(reads.length).toBeGreaterThan(1)
    expect(reads.length).toBeLessThanOrEqual(6)
  })

  it('does not read events of other topics again and again', async () => {
    await recorder.insertEvents(Array.from({ length: 10 }, (_, n) => event(n + 1)))
    const { log, reads } = watchedLog(recorder)
    const taken = takeAll(new LogSubscription(() => new LogTail(log), { topics: ['wanted'] }), 1)
    await delay(50)
    await recorder.insertEvents([event(11, { topic: 'wanted' })])
    expect((await taken).map(({ id }) => id)).toEqual([11n])
    const ofTopics = reads.filter(({ limit }) => limit > 1)
    expect(ofTopics.map(({ start, stop }) => ({ start, stop }))).toEqual([
      { start: null, stop: 10n },
      { start: 10n, stop: 11n },
    ])
  })

  it('reads no history of its own where another one came to the end of the log while it waited for its turn', async () => {
    await recorder.insertEvents([event(1)])
    const { log, reads } = watchedLog(recorder)
    const tail = new LogTail(log)
    const subscriptions = Array.from({ length: 50 }, () => new LogSubscription(() => tail, { gt: 1n }))
    const taken = subscriptions.map((subscription) => takeAll(subscription, 1))
    await delay(5)
    expect(reads.length).toBeLessThan(10)
    await recorder.insertEvents([event(2)])
    for (const each of await Promise.all(taken)) expect(each.map(({ id }) => id)).toEqual([2n])
  })

  it('goes on after a failure that may pass, from where it was, and says so once', async () => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    await recorder.insertEvents(Array.from({ length: 60 }, (_, n) => event(n + 1)))
    const { log, failures } = watchedLog(recorder)
    failures.push(passing, passing, () => Promise.resolve(), passing)
    const ids = (await takeAll(new LogSubscription(() => new LogTail(log)), 60)).map(({ id }) => Number(id))
    expect(ids).toEqual(Array.from({ length: 60 }, (_, n) => n + 1))
    expect(warnings).toHaveBeenCalledTimes(2)
  })

  it('rejects when such failures last for a minute, and is over then [54]', async () => {
    vi.useFakeTimers()
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const { log } = watchedLog(recorder)
    const subscription = new LogSubscription(() => new LogTail({ ...log, selectNotifications: passing }))
    const iterator = subscription[Symbol.asyncIterator]()
    const start = Date.now()
    const next = iterator.next().catch((error: unknown) => error)
    await vi.advanceTimersByTimeAsync(70_000)
    expect(await next).toBeInstanceOf(OperationalError)
    expect(Date.now() - start).toBeGreaterThanOrEqual(60_000)
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  it('takes a read without an answer for a failure that may pass, and loses nothing when the answer comes later', async () => {
    vi.useFakeTimers()
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    await recorder.insertEvents([event(1)])
    const { log, reads, failures } = watchedLog(recorder)
    failures.push(() => new Promise<void>((resolve) => setTimeout(resolve, 30_005)))
    const next = new LogSubscription(() => new LogTail(log))[Symbol.asyncIterator]().next()
    await vi.advanceTimersByTimeAsync(31_000)
    expect((await next).value?.id).toBe(1n)
    expect(reads.map(({ start }) => start)).toEqual([null, null])
  })

  it('rejects at once with a failure that cannot pass [54]', async () => {
    const { log, failures } = watchedLog(recorder)
    failures.push(() => Promise.reject(new ProgrammingError('There is no such table.')))
    await expect(takeAll(new LogSubscription(() => new LogTail(log)), 1)).rejects.toBeInstanceOf(ProgrammingError)
  })

  it('ends a wait for the next notification when its iterator returns', async () => {
    const iterator = new LogSubscription(() => new LogTail(watchedLog(recorder).log))[Symbol.asyncIterator]()
    const next = iterator.next()
    await delay(20)
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined })
    expect(await next).toEqual({ done: true, value: undefined })
  })

  it('leaves nothing behind on its signal', async () => {
    const { signal } = new AbortController()
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')]
    await recorder.insertEvents([event(1)])
    await takeAll(new LogSubscription(() => new LogTail(watchedLog(recorder).log), { signal }), 1)
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(added.mock.calls.map(([, listener]) => listener))
    expect(added).toHaveBeenCalledOnce()
  })
})
