/** What the log of an application promises over every application recorder: sections, and readers that follow them. */
import { LocalNotificationLog, NotificationLogReader, type Section } from '../application/notification-log.js'
import { type DomainEvent, domainEvent } from '../domain/event.js'
import { createTimestamp } from '../domain/timestamp.js'
import { IntegrityError, ProgrammingError } from '../errors.js'
import { EventStore } from '../persistence/event-store.js'
import { Mapper } from '../persistence/mapper.js'
import type { AggregateRecorder, ApplicationRecorder } from '../persistence/recorder.js'
import { JSONTranscoder } from '../persistence/transcoder.js'
import {
  type Cases,
  declareCases,
  expectError,
  idsOf,
  type MakeRecorder,
  type Subject,
  storedEvent,
  type TestFramework,
} from './test-framework.js'

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function notificationLogContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<ApplicationRecorder>,
): void {
  declareCases(framework, `${label} below a notification log`, { ...sections, ...readers }, makeRecorder)
}

type ApplicationSubject = Subject<ApplicationRecorder>

/** How many notifications there are from a start on, of nine. */
const fromStart = { 1: 9, 2: 8, 3: 7, 4: 6, 8: 2, 9: 1, 10: 0 }

/** A log of so many events, with the topics `topic1` and `topic0` in turn. */
async function logOf(
  { recorder, originatorId }: ApplicationSubject,
  count: number,
  sectionSize = 5,
): Promise<LocalNotificationLog> {
  const event = (_: unknown, index: number) =>
    storedEvent(originatorId(1), index + 1, { topic: `topic${(index + 1) % 2}` })
  if (count > 0) await recorder.insertEvents(Array.from({ length: count }, event))
  return new LocalNotificationLog(recorder, sectionSize)
}

function summaryOf({ id, items, nextId }: Section): unknown[] {
  return [id, idsOf(items), nextId]
}

const sections: Cases<ApplicationRecorder> = {
  async 'has an empty section when it is empty [199]'(subject) {
    const log = await logOf(subject, 0)
    subject.expect(summaryOf(await log.section('1,10'))).toEqual([null, [], null])
  },

  async 'has sections as long as their size, which tell the next [200]'(subject) {
    const log = await logOf(subject, 5)
    for (const sectionId of ['1,10', '1,5']) {
      subject.expect(summaryOf(await log.section(sectionId))).toEqual(['1,5', [1, 2, 3, 4, 5], '6,10'])
    }
    subject.expect(summaryOf(await log.section('6,10'))).toEqual([null, [], null])
  },

  async 'has sections of any range [201]'(subject) {
    const { expect } = subject
    const log = await logOf(subject, 9)
    const section = async (sectionId: string): Promise<unknown[]> => summaryOf(await log.section(sectionId))
    expect(await section('6,10')).toEqual(['6,9', [6, 7, 8, 9], null])
    expect(await section('3,7')).toEqual(['3,7', [3, 4, 5, 6, 7], '8,12'])
    expect(await section('3,10')).toEqual(['3,7', [3, 4, 5, 6, 7], '8,12'])
    expect(await section('3,4')).toEqual(['3,4', [3, 4], '5,6'])
    expect(await section('3,2')).toEqual([null, [], null])
    expect(await section('-3,2')).toEqual(['1,2', [1, 2], '3,4'])
  },

  async 'selects from an id on, up to the section size [202]'(subject) {
    const { recorder, originatorId, expect } = subject
    const log = await logOf(subject, 0, 10)
    const select = async (start: bigint, limit: number): Promise<number[]> => idsOf(await log.select(start, limit))
    expect(await select(1n, 10)).toEqual([])
    await recorder.insertEvents([1, 2, 3, 4, 5].map((version) => storedEvent(originatorId(1), version)))
    expect(await select(1n, 5)).toEqual([1, 2, 3, 4, 5])
    expect(await select(6n, 5)).toEqual([])
    await recorder.insertEvents([6, 7, 8, 9].map((version) => storedEvent(originatorId(1), version)))
    expect(await select(6n, 5)).toEqual([6, 7, 8, 9])
    expect(await select(3n, 5)).toEqual([3, 4, 5, 6, 7])
    const refused = await expectError(subject, log.select(1n, 20), ProgrammingError)
    expect(['20', '10'].filter((size) => !refused.message.includes(size))).toEqual([])
  },
}

const readers: Cases<ApplicationRecorder> = {
  async 'is read to its end over sections that are smaller than those of the reader [203]'(subject) {
    const reader = new NotificationLogReader(await logOf(subject, 9), 10)
    for (const [start, count] of Object.entries(fromStart)) {
      const ids: number[] = []
      for await (const { id } of reader.read(BigInt(start))) ids.push(Number(id))
      subject.expect(ids).toEqual(Array.from({ length: count }, (_, index) => Number(start) + index))
    }
  },

  async 'is selected in batches to its end [204]'(subject) {
    const reader = new NotificationLogReader(await logOf(subject, 9), 10)
    for (const [start, count] of Object.entries(fromStart)) {
      const ids: number[] = []
      for await (const batch of reader.select({ start: BigInt(start) })) ids.push(...idsOf(batch))
      subject.expect(ids).toEqual(Array.from({ length: count }, (_, index) => Number(start) + index))
    }
  },

  async 'is selected from after an id, up to an id, and by topics [204]'(subject) {
    const { expect } = subject
    const reader = new NotificationLogReader(await logOf(subject, 9), 2)
    const select = async (options: Parameters<typeof reader.select>[0]): Promise<number[]> => {
      const ids: number[] = []
      for await (const batch of reader.select(options)) ids.push(...idsOf(batch))
      return ids
    }
    expect(await select({ start: 2n, stop: 6n })).toEqual([2, 3, 4, 5, 6])
    expect(await select({ start: 2n, inclusiveOfStart: false, stop: 6n })).toEqual([3, 4, 5, 6])
    expect(await select({ topics: ['topic0'] })).toEqual([2, 4, 6, 8])
  },
}

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function eventStoreContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<AggregateRecorder>,
): void {
  declareCases(framework, `${label} below an event store`, cases, makeRecorder)
}

function storeOn({ recorder }: Subject<AggregateRecorder>): EventStore {
  return new EventStore(new Mapper({ transcoder: new JSONTranscoder() }), recorder)
}

/** The events of a bank account: it is opened, then 10, 25 and 30 are paid in. */
function accountEvents(originatorId: string): DomainEvent[] {
  return [0, 10, 25, 30].map((amount, index) =>
    domainEvent({
      originatorId,
      originatorVersion: index + 1,
      topic: index === 0 ? 'BankAccount.Opened' : 'BankAccount.Transacted',
      timestamp: createTimestamp(),
      ...(index === 0 ? { originatorTopic: 'BankAccount' } : {}),
      data: { amount, currency: '€' },
    }),
  )
}

/** What makes an event that one and no other. */
function contentOf(events: readonly DomainEvent[]): unknown[] {
  return events.map(({ timestamp, ...event }) => ({ ...event, data: { ...event.data }, timestamp: String(timestamp) }))
}

const cases: Cases<AggregateRecorder> = {
  async 'gives back the events that were put, in order [128]'(subject) {
    const { originatorId, expect } = subject
    const store = storeOn(subject)
    expect(await store.get(originatorId(1))).toEqual([])
    const events = accountEvents(originatorId(1))
    await store.put(events)
    const stored = await store.get(originatorId(1))
    expect(contentOf(stored)).toEqual(contentOf(events))
    expect(stored.reduce((balance, { data }) => balance + Number(data['amount']), 0)).toEqual(65)
  },

  async 'gives the last event alone [129]'(subject) {
    const { originatorId, expect } = subject
    const store = storeOn(subject)
    const events = accountEvents(originatorId(1))
    await store.put(events)
    const last = await store.get(originatorId(1), { desc: true, limit: 1 })
    expect(contentOf(last)).toEqual(contentOf(events.slice(-1)))
  },

  async 'pairs each event with its notification where there is a log [130]'(subject) {
    const { recorder, originatorId, expect } = subject
    const events = [...accountEvents(originatorId(1)), ...accountEvents(originatorId(2))]
    const recordings = await storeOn(subject).put(events)
    const pairs = recordings.map(({ event, notification }) => [
      event.originatorId === notification?.originatorId && event.originatorVersion === notification.originatorVersion,
      event.topic === notification?.topic && notification.state.constructor.name === 'Uint8Array',
      Number(notification?.id),
    ])
    const hasLog = 'selectNotifications' in recorder
    expect(pairs).toEqual(hasLog ? events.map((_, index) => [true, true, index + 1]) : [])
  },

  async 'stores nothing of events one of which is stored already [128]'(subject) {
    const { originatorId, expect } = subject
    const store = storeOn(subject)
    await store.put(accountEvents(originatorId(1)))
    const events = [...accountEvents(originatorId(2)), ...accountEvents(originatorId(1))]
    await expectError(subject, store.put(events), IntegrityError)
    expect(await store.has(originatorId(2))).toEqual(false)
  },
}
