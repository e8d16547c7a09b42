/** What an event store promises over every aggregate recorder, with or without a log. */
import { type DomainEvent, domainEvent } from '../domain/event.js'
import { createTimestamp } from '../domain/timestamp.js'
import { IntegrityError } from '../errors.js'
import { EventStore } from '../persistence/event-store.js'
import { Mapper } from '../persistence/mapper.js'
import type { AggregateRecorder } from '../persistence/recorder.js'
import { JSONTranscoder } from '../persistence/transcoder.js'
import {
  type Cases,
  declareCases,
  expectError,
  type MakeRecorder,
  type Subject,
  type TestFramework,
} from './test-framework.js'

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
