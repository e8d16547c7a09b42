/** What the subscriptions of every application recorder promise. */
import { ProgrammingError } from '../errors.js'
import type { ApplicationRecorder, SubscribeOptions, Subscription } from '../persistence/recorder.js'
import type { Notification, StoredEvent } from '../persistence/stored-event.js'
import {
  type Cases,
  contentOf,
  declareCases,
  expectError,
  type MakeRecorder,
  type Subject,
  storedEvent,
  storedEvents,
  type TestFramework,
} from './test-framework.js'

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function subscriptionContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<ApplicationRecorder>,
): void {
  declareCases(framework, `${label} that is subscribed to`, { ...delivering, ...ending }, makeRecorder)
}

type ApplicationSubject = Subject<ApplicationRecorder>

/** Within that, a notification has to be delivered: long enough for any machine, short enough for a test framework. */
const deliveryTimeoutMs = 10_000

/** Inserts the events e1 and e2 of one originator, and gives e3 of another. */
async function insertTwo({ recorder, originatorId }: ApplicationSubject): Promise<StoredEvent> {
  await recorder.insertEvents(storedEvents(originatorId(1), 2))
  return storedEvent(originatorId(2), 1, { topic: 'topic3' })
}

async function inTime<T>(promise: PromiseLike<T>, awaited: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    const message = `Waited ${deliveryTimeoutMs} ms for ${awaited}, and nothing came.`
    timer = setTimeout(() => reject(new Error(message)), deliveryTimeoutMs)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** Takes so many notifications, fewer when the subscription ends before, and ends it. */
async function take(
  subscription: Subscription<Notification>,
  count: number,
  onTaken: () => void = () => {},
): Promise<Notification[]> {
  const taken: Notification[] = []
  const taking = (async () => {
    for await (const notification of subscription) {
      taken.push(notification)
      onTaken()
      if (taken.length === count) break
    }
    return taken
  })()
  try {
    return await inTime(taking, `notification ${count} of a subscription`)
  } finally {
    subscription.stop()
  }
}

async function takeIds(subject: ApplicationSubject, count: number, options?: SubscribeOptions): Promise<number[]> {
  return (await take(subject.recorder.subscribe(options), count)).map(({ id }) => Number(id))
}

const delivering: Cases<ApplicationRecorder> = {
  async 'delivers what is recorded already, after a position and in order [45]'(subject) {
    const { recorder, expect } = subject
    await recorder.insertEvents([await insertTwo(subject)])
    expect(await takeIds(subject, 2, { gt: 1n })).toEqual([2, 3])
    const all = await take(recorder.subscribe({ gt: 0n }), 3)
    const log = await recorder.selectNotifications(null, 10)
    expect([all.map(({ id }) => id), contentOf(all)]).toEqual([[1n, 2n, 3n], contentOf(log)])
  },

  async 'begins at the beginning unless it is told otherwise [53]'(subject) {
    await subject.recorder.insertEvents([await insertTwo(subject)])
    subject.expect(await takeIds(subject, 3, { gt: null })).toEqual([1, 2, 3])
    subject.expect(await takeIds(subject, 3)).toEqual([1, 2, 3])
  },

  async 'delivers what is recorded later, while it is open and drained [47]'(subject) {
    const { recorder, expect } = subject
    const e3 = await insertTwo(subject)
    const subscription = recorder.subscribe()
    const notifications = subscription[Symbol.asyncIterator]()
    const nextId = async (): Promise<number> => Number((await inTime(notifications.next(), 'the next')).value?.id)
    expect([await nextId(), await nextId()]).toEqual([1, 2])
    const third = nextId()
    await recorder.insertEvents([e3])
    expect(await third).toEqual(3)
    subscription.stop()
  },

  async 'delivers what is recorded after the position that it begins at [48]'(subject) {
    const e3 = await insertTwo(subject)
    const third = takeIds(subject, 1, { gt: 2n })
    await subject.recorder.insertEvents([e3])
    subject.expect(await third).toEqual([3])
    subject.expect(await takeIds(subject, 1, { gt: 2n })).toEqual([3])
  },

  async 'delivers events of the topics that are asked for, earlier and later ones [51]'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents([await insertTwo(subject)])
    const later = takeIds(subject, 2, { topics: ['topic3'] })
    await recorder.insertEvents(storedEvents(originatorId(3), 2))
    await recorder.insertEvents([storedEvent(originatorId(4), 1, { topic: 'topic3' })])
    expect(await later).toEqual([3, 6])
    expect(await takeIds(subject, 3, { topics: ['topic3', 'topic2'] })).toEqual([2, 3, 5])
    expect(await takeIds(subject, 6, { topics: [] })).toEqual([1, 2, 3, 4, 5, 6])
  },

  async 'tells in pages how far the log was read, also where nothing was asked for'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents([await insertTwo(subject), storedEvent(originatorId(3), 1, { topic: 'topic4' })])
    const subscription = recorder.subscribe({ topics: ['topic3'] })
    const ids: number[] = []
    let end = 0n
    const reading = (async () => {
      for await (const page of subscription.pages()) {
        ids.push(...page.items.map(({ id }) => Number(id)))
        if (page.end <= end) throw new Error(`A page ends at ${page.end}, and the one before at ${end}.`)
        end = page.end
        if (end === 4n) await recorder.insertEvents([storedEvent(originatorId(3), 2, { topic: 'topic4' })])
        if (end === 5n) return
      }
    })()
    await inTime(reading, 'the end of a page')
    expect(ids).toEqual([3])
  },

  async 'delivers a long history, each event once and in order [45, 55]'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents(storedEvents(originatorId(1), 1_200))
    const ids = await takeIds(subject, 1_200)
    expect(ids).toEqual(Array.from({ length: 1_200 }, (_, n) => n + 1))
  },

  async 'delivers what many writers record meanwhile, each event once and in order [39, 47]'(subject) {
    const { recorder, originatorId, expect } = subject
    const [writers, inserts] = [6, 10]
    const delivered = [1, 2].map(() => take(recorder.subscribe(), writers * inserts * 2))
    const write = async (writer: number): Promise<bigint[]> => {
      const ids: bigint[] = []
      for (let n = 0; n < inserts; n += 1) {
        ids.push(...(await recorder.insertEvents(storedEvents(originatorId(writer), 2, 2 * n + 1))))
      }
      return ids
    }
    const written = (await Promise.all(Array.from({ length: writers }, (_, n) => write(n)))).flat()
    const inOrder = written.toSorted((one, other) => (one < other ? -1 : 1))
    for (const notifications of await Promise.all(delivered)) {
      expect(notifications.map(({ id }) => id)).toEqual(inOrder)
    }
  },
}

const ending: Cases<ApplicationRecorder> = {
  async 'ends when its consumer breaks off [46]'(subject) {
    await insertTwo(subject)
    const subscription = subject.recorder.subscribe()
    subject.expect((await take(subscription, 1)).length).toEqual(1)
    await inTime(subscription[Symbol.asyncDispose](), 'the end of a subscription')
  },

  async 'delivers nothing more after a stop during the iteration [49]'(subject) {
    await insertTwo(subject)
    const subscription = subject.recorder.subscribe()
    subject.expect((await take(subscription, 2, () => subscription.stop())).length).toEqual(1)
  },

  async 'delivers nothing after a stop before the iteration [50]'(subject) {
    await insertTwo(subject)
    const subscription = subject.recorder.subscribe()
    subscription.stop()
    subscription.stop()
    subject.expect(await take(subscription, 1)).toEqual([])
  },

  async 'is iterated once [52]'(subject) {
    await insertTwo(subject)
    const subscription = subject.recorder.subscribe()
    subject.expect((await take(subscription, 1)).length).toEqual(1)
    await expectError(subject, take(subscription, 1), ProgrammingError)
  },

  async 'ends while it waits, by a stop, by its signal and by the end of its block'(subject) {
    const { recorder, expect } = subject
    const aborting = new AbortController()
    const [stopped, aborted, disposed] = [
      recorder.subscribe(),
      recorder.subscribe({ signal: aborting.signal }),
      recorder.subscribe({ topics: ['topic1'] }),
    ]
    const taken = Promise.all([stopped, aborted, disposed].map((subscription) => take(subscription, 1)))
    // Time to ask for something, and to begin to wait.
    await new Promise((resolve) => setTimeout(resolve, 30))
    stopped.stop()
    aborting.abort()
    await disposed[Symbol.asyncDispose]()
    expect(await taken).toEqual([[], [], []])
  },

  async 'delivers nothing when its signal has aborted before [50]'(subject) {
    await insertTwo(subject)
    const subscription = subject.recorder.subscribe({ signal: AbortSignal.abort() })
    subject.expect(await take(subscription, 1)).toEqual([])
  },
}
