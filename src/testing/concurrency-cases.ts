/** What an application recorder promises while many write to it and others read its log. */
import type { ApplicationRecorder } from '../persistence/recorder.js'
import type { Notification } from '../persistence/stored-event.js'
import { type Cases, idsOf, newSeed, randomNumbers, type Subject, storedEvents, versionsOf } from './test-framework.js'

type ApplicationSubject = Subject<ApplicationRecorder>

/** The cases, which say nothing of time but take some. */
export const concurrencyCases: Cases<ApplicationRecorder> = {
  async 'stores 10,000 events of 10 writers while 2 readers read [36]'(subject) {
    const { recorder, originatorId, expect } = subject
    const jobs = Array.from({ length: 100 }, (_, job) => originatorId(job))
    const writing = new AbortController()
    const readers = [1, 2].map(async () => {
      while (!writing.signal.aborted) {
        await recorder.selectNotifications(null, 10)
        await nextTurn()
      }
    })
    const store = async (id: string): Promise<void> => void (await recorder.insertEvents(storedEvents(id, 100, 0)))
    await allEnded([inParallel(10, jobs, store).finally(() => writing.abort()), ...readers])
    expect((await recorder.selectNotifications(null, 20_000)).length).toEqual(10_000)
    const [first = ''] = jobs
    expect(versionsOf(await recorder.selectEvents(first))).toEqual(versionsOf(storedEvents(first, 100, 0)))
  },

  async 'stores what 4 writers insert after each other [37]'({ recorder, originatorId, expect }) {
    const store = async (job: number): Promise<void> =>
      void (await recorder.insertEvents(storedEvents(originatorId(job), 50)))
    const [warmUp, rest] = [Array.from({ length: 4 }, (_, n) => n), Array.from({ length: 10 }, (_, n) => 4 + n)]
    await inParallel(4, warmUp, store)
    await inParallel(4, rest, store)
    expect((await recorder.selectNotifications(null, 1_000)).length).toEqual(14 * 50)
  },

  async 'gives large inserts at once the ids that their events have in the log, in their order [22, 38]'(subject) {
    const { recorder, originatorId, expect } = subject
    const ids = [originatorId(1), originatorId(2)]
    const given = await Promise.all(ids.map(async (id) => await recorder.insertEvents(storedEvents(id, 1_000))))
    const log = await recorder.selectNotifications(null, 3_000)
    for (const [index, id] of ids.entries()) {
      const own = log.filter((notification) => notification.originatorId === id)
      expect(idsOf(own)).toEqual(given[index]?.map(Number))
      expect(versionsOf(own)).toEqual(versionsOf(storedEvents(id, 1_000)))
    }
    expect(log.length).toEqual(2_000)
  },

  async 'never lets a reader that goes on from its last id miss an event [39]'(subject) {
    await checkPollingReaders(subject, (recorder, last) =>
      recorder.selectNotifications(last, 10, { inclusiveOfStart: false }),
    )
  },

  async 'tells no position of its log at which an event is yet to appear below [29, 39]'(subject) {
    await checkPollingReaders(subject, async (recorder, last) => {
      const stop = await recorder.maxNotificationId()
      if (stop === null || stop <= last) return []
      return await recorder.selectNotifications(last, 10, { inclusiveOfStart: false, stop })
    })
  },
}

/** Lets readers go on from their last ids while writers insert, and compares what they have seen with what was stored. */
async function checkPollingReaders(
  { recorder, originatorId, expect }: ApplicationSubject,
  readAfter: (recorder: ApplicationRecorder, last: bigint) => Promise<Notification[]>,
): Promise<void> {
  const seed = newSeed()
  const random = randomNumbers(seed)
  const stored: string[] = []
  let isWriting = true
  const store = async (job: number): Promise<void> => {
    const events = storedEvents(originatorId(job), 1 + Math.floor(random() * 10))
    await recorder.insertEvents(events)
    stored.push(...events.map((event) => `${event.originatorId} ${event.originatorVersion}`))
  }
  const read = async (): Promise<Notification[]> => {
    const seen: Notification[] = []
    for (let isLast = false; ; ) {
      const last = seen.at(-1)?.id ?? 0n
      const part = await readAfter(recorder, last)
      seen.push(...part)
      // Here, since a reader that goes back may never come to an end.
      expect({ seed, last, read: idsOf(part) }).toEqual({ seed, last, read: ascendingAfter(last, idsOf(part)) })
      if (part.length > 0) continue
      if (isLast) return seen
      isLast = !isWriting
      await nextTurn()
    }
  }
  const readers = [read(), read()]
  const jobs = Array.from({ length: 90 }, (_, job) => job)
  const writing = inParallel(6, jobs, store).finally(() => {
    isWriting = false
  })
  await allEnded([writing, ...readers])
  for (const seen of await Promise.all(readers)) {
    const positions = new Set(seen.map((event) => `${event.originatorId} ${event.originatorVersion}`))
    const missed = stored.filter((position) => !positions.has(position))
    expect({ seed, missed, count: seen.length }).toEqual({ seed, missed: [], count: stored.length })
  }
}

function ascendingAfter(last: bigint, ids: readonly number[]): number[] {
  return ids.filter((id) => id > last).toSorted((one, other) => one - other)
}

/** Waits for all, also when one fails, so that nobody works on when the case is over. */
async function allEnded(promises: ReadonlyArray<Promise<unknown>>): Promise<void> {
  await Promise.allSettled(promises)
  await Promise.all(promises)
}

/** Runs jobs by so many workers, each of which takes the next job when it has done one. */
async function inParallel<Job>(
  workers: number,
  jobs: readonly Job[],
  work: (job: Job) => Promise<void>,
): Promise<void> {
  const rest = jobs.values()
  const worker = async (): Promise<void> => {
    for (const job of rest) await work(job)
  }
  await Promise.all(Array.from({ length: workers }, worker))
}

/** Lets others do their work. */
async function nextTurn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
