/** What every application recorder promises of the events that it stores and of its log, also while many write and read. */
import { IntegrityError } from '../errors.js'
import type { ApplicationRecorder, SelectNotificationsOptions } from '../persistence/recorder.js'
import type { Notification, StoredEvent } from '../persistence/stored-event.js'
import { aggregateCases } from './aggregate-recorder-contract.js'
import {
  type Cases,
  contentOf,
  declareCases,
  expectError,
  idsOf,
  type MakeRecorder,
  newSeed,
  randomNumbers,
  type Subject,
  storedEvent,
  storedEvents,
  type TestFramework,
  versionsOf,
} from './test-framework.js'

/**
 * Declares the cases, those of the events of one originator included. The subscription has a contract of its own.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function applicationRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<ApplicationRecorder>,
): void {
  declareCases<ApplicationRecorder>(framework, `${label} as an aggregate recorder`, aggregateCases, makeRecorder)
  const cases = { ...inserting, ...selecting, ...concurrencyCases }
  declareCases(framework, `${label} as an application recorder`, cases, makeRecorder)
}

type ApplicationSubject = Subject<ApplicationRecorder>

/** Inserts two events of one originator, then one of another: the notifications 1, 2 and 3. */
async function insertThree({ recorder, originatorId, expect }: ApplicationSubject): Promise<StoredEvent[]> {
  const events = [
    storedEvent(originatorId(1), 1, { topic: 'topic1' }),
    storedEvent(originatorId(1), 2, { topic: 'topic2' }),
    storedEvent(originatorId(2), 1, { topic: 'topic3' }),
  ]
  expect(await recorder.insertEvents(events.slice(0, 2))).toEqual([1n, 2n])
  expect(await recorder.insertEvents(events.slice(2))).toEqual([3n])
  return events
}

/** Tells the ids of what is selected. */
function selectIds({ recorder }: ApplicationSubject) {
  return async (start: number | null, limit: number, options?: SelectNotificationsOptions): Promise<number[]> =>
    idsOf(await recorder.selectNotifications(start === null ? null : BigInt(start), limit, options))
}

const inserting: Cases<ApplicationRecorder> = {
  async 'accepts an empty list of events, which has no ids [1]'({ recorder, expect }) {
    expect(await recorder.insertEvents([])).toEqual([])
    expect(await recorder.maxNotificationId()).toEqual(null)
  },

  async 'has an empty log at first [21]'(subject) {
    const select = selectIds(subject)
    subject.expect(await select(null, 3)).toEqual([])
    subject.expect(await select(null, 3, { topics: ['topic1'] })).toEqual([])
    subject.expect(await subject.recorder.maxNotificationId()).toEqual(null)
  },

  async 'gives ids from 1 in the order of the events [22, 29]'(subject) {
    await insertThree(subject)
    subject.expect(await subject.recorder.maxNotificationId()).toEqual(3n)
  },

  async 'refuses an event that is stored already, and keeps its log [23]'(subject) {
    const { recorder, expect } = subject
    const events = await insertThree(subject)
    await expectError(subject, recorder.insertEvents(events.slice(2)), IntegrityError)
    expect(await selectIds(subject)(null, 10)).toEqual([1, 2, 3])
    expect(await recorder.maxNotificationId()).toEqual(3n)
  },

  async 'gives greater ids after a failed insert, perhaps with a gap [35]'(subject) {
    const { recorder, originatorId, expect } = subject
    const [taken] = await insertThree(subject)
    const events = [storedEvent(originatorId(3), 1), ...(taken === undefined ? [] : [taken])]
    await expectError(subject, recorder.insertEvents(events), IntegrityError)
    const [next = 0n] = await recorder.insertEvents([storedEvent(originatorId(3), 1)])
    expect(next > 3n).toEqual(true)
    expect(await selectIds(subject)(null, 10)).toEqual([1, 2, 3, Number(next)])
  },
}

const selecting: Cases<ApplicationRecorder> = {
  async 'gives notifications with all that was stored [24]'(subject) {
    const { recorder, expect } = subject
    const events = await insertThree(subject)
    const notifications = await recorder.selectNotifications(null, 10)
    expect(notifications.map(({ id }) => id)).toEqual([1n, 2n, 3n])
    expect(contentOf(notifications)).toEqual(contentOf(events))
    const now = Date.now()
    for (const { state, recordedAt } of notifications) {
      expect([state.constructor.name, recordedAt instanceof Date]).toEqual(['Uint8Array', true])
      // The clock of a database server may differ a little.
      expect(Math.abs(recordedAt.getTime() - now) < 60_000).toEqual(true)
    }
  },

  async 'gives the metadata of events with their notifications'({ recorder, originatorId, expect }) {
    const metadata = { by: 'Ann', tags: ['ä', 1, null] }
    await recorder.insertEvents([{ ...storedEvent(originatorId(1), 1), metadata }, storedEvent(originatorId(1), 2)])
    const [first, second] = await recorder.selectNotifications(null, 10)
    expect(first?.metadata).toEqual(metadata)
    expect(second !== undefined && 'metadata' in second).toEqual(false)
  },

  async 'starts at an id, or after it [25, 27]'(subject) {
    const { expect } = subject
    const select = selectIds(subject)
    await insertThree(subject)
    expect(await select(1, 10)).toEqual([1, 2, 3])
    expect(await select(1, 10, { inclusiveOfStart: false })).toEqual([2, 3])
    expect(await select(2, 10, { inclusiveOfStart: false })).toEqual([3])
    expect(await select(3, 10, { inclusiveOfStart: false })).toEqual([])
    expect(await select(4, 10)).toEqual([])
  },

  async 'stops at an id [26, 31]'(subject) {
    const { expect } = subject
    const select = selectIds(subject)
    await insertThree(subject)
    expect(await select(null, 10, { stop: 2n })).toEqual([1, 2])
    expect(await select(2, 10, { stop: 2n })).toEqual([2])
    expect(await select(1, 10, { stop: 2n })).toEqual([1, 2])
    expect(await select(1, 10, { stop: 2n, inclusiveOfStart: false })).toEqual([2])
    expect(await select(3, 10, { stop: 2n })).toEqual([])
  },

  async 'narrows by topics before it counts [28, 34]'(subject) {
    const { expect } = subject
    const select = selectIds(subject)
    await insertThree(subject)
    expect(await select(null, 10, { topics: ['topic1', 'topic2', 'topic3'] })).toEqual([1, 2, 3])
    expect(await select(1, 10, { topics: ['topic1'] })).toEqual([1])
    expect(await select(1, 3, { topics: ['topic2'] })).toEqual([2])
    expect(await select(1, 3, { topics: ['topic3'] })).toEqual([3])
    expect(await select(1, 3, { topics: ['topic1', 'topic3'] })).toEqual([1, 3])
    expect(await select(1, 1, { topics: ['topic3'] })).toEqual([3])
    expect(await select(null, 10, { topics: ['none'] })).toEqual([])
  },

  async 'gives at most as many as asked for [30]'(subject) {
    const { expect } = subject
    const select = selectIds(subject)
    await insertThree(subject)
    expect(await select(null, 1)).toEqual([1])
    expect(await select(2, 1)).toEqual([2])
    expect(await select(1, 1, { inclusiveOfStart: false })).toEqual([2])
    expect(await select(2, 2)).toEqual([2, 3])
    expect(await select(3, 1)).toEqual([3])
    expect(await select(3, 1, { inclusiveOfStart: false })).toEqual([])
  },

  async 'takes no topics as all topics, and no limit above nothing as nothing [32]'(subject) {
    const select = selectIds(subject)
    await insertThree(subject)
    subject.expect(await select(null, 10, { topics: [] })).toEqual([1, 2, 3])
    subject.expect(await select(null, 0)).toEqual([])
  },

  async 'takes a start below 1 as the beginning [33]'(subject) {
    const { expect } = subject
    const select = selectIds(subject)
    await insertThree(subject)
    expect(await select(0, 10)).toEqual([1, 2, 3])
    expect(await select(-1, 10)).toEqual([1, 2, 3])
    expect(await select(0, 10, { inclusiveOfStart: false })).toEqual([1, 2, 3])
  },

  async 'takes bounds for which numbers are not exact [25, 26]'(subject) {
    await insertThree(subject)
    const beyond = 2n ** 53n
    subject.expect(await subject.recorder.selectNotifications(beyond + 1n, 10)).toEqual([])
    subject.expect(idsOf(await subject.recorder.selectNotifications(1n, 10, { stop: beyond + 1n }))).toEqual([1, 2, 3])
  },
}

/** The cases, which say nothing of time but take some. */
const concurrencyCases: Cases<ApplicationRecorder> = {
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
