/** What a recorder promises that keeps the tags of events, reads by them and checks conditions on them. */
import { AppendConditionError } from '../errors.js'
import type { ApplicationRecorder, TaggedRead, TagQuery } from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'
import {
  type Cases,
  declareCases,
  expectError,
  expectOneSuccess,
  type MakeRecorder,
  storedEvent,
  type TestFramework,
  versionsOf,
} from './test-framework.js'

/** A recorder that keeps tags. */
export type TaggingRecorder = ApplicationRecorder &
  Required<Pick<ApplicationRecorder, 'selectByTags' | 'appendEvents' | 'addTags'>>

/**
 * Declares the cases of `selectByTags` and `addTags`, of the option `unless` of `appendEvents`, and of reads of the log by tags.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function tagsContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<TaggingRecorder>,
): void {
  declareCases(framework, `${label} that keeps tags`, tagging, makeRecorder)
}

const tagging: Cases<TaggingRecorder> = {
  async 'finds nothing in an empty store'({ recorder, expect }) {
    expect(shown(await recorder.selectByTags([query('a:1'), query('b:1', 'b:2')]))).toEqual([
      { versions: [], after: null },
      { versions: [], after: null },
    ])
    expect(await recorder.selectByTags([])).toEqual([])
  },

  async 'finds the events that have all of the tags, in the order of the log, with their ids'(subject) {
    const { recorder, originatorId, expect } = subject
    const ids = await recorder.insertEvents([
      tagged(originatorId(2), 1, 'a:1', 'b:1'),
      tagged(originatorId(1), 2, 'a:1'),
      tagged(originatorId(1), 3, 'b:1', 'a:1', 'a:1'),
      tagged(originatorId(1), 4, 'b:10'),
    ])
    const [both, one, other, unknown] = await recorder.selectByTags([
      query('a:1', 'b:1'),
      query('a:1'),
      query('b:1'),
      query('A:1'),
    ])
    expect(versionsIn(both)).toEqual([1, 3])
    expect(versionsIn(one)).toEqual([1, 2, 3])
    expect(versionsIn(other)).toEqual([1, 3])
    expect(versionsIn(unknown)).toEqual([])
    expect(one?.events.map(({ id }) => id)).toEqual(ids.slice(0, 3))
    expect(one?.events[0]?.event.originatorId).toEqual(originatorId(2))
  },

  async 'keeps the types apart, by the names of the events, of whatever class'({ recorder, originatorId, expect }) {
    const topics = ['Dog.Added', 'Cat.Added', 'Dog.added', 'Dog.NotAdded', 'Dog.Left']
    await recorder.insertEvents(
      topics.map((topic, index) => ({ ...storedEvent(originatorId(1), index + 1, { topic }), tags: ['a:1'] })),
    )
    const [added, addedOrLeft] = await recorder.selectByTags([
      { tags: ['a:1'], types: ['Added'] },
      { tags: ['a:1'], types: ['Left', 'Added'] },
    ])
    expect(versionsIn(added)).toEqual([1, 2])
    expect(versionsIn(addedOrLeft)).toEqual([1, 2, 5])
  },

  async 'reads after a position, at most so many, or only the last'({ recorder, originatorId, expect }) {
    const versions = [1, 2, 3, 4]
    const ids = await recorder.insertEvents(versions.map((version) => tagged(originatorId(1), version, 'a:1')))
    const [later, few, last, none] = await recorder.selectByTags([
      { ...query('a:1'), gt: ids[1] ?? null },
      { ...query('a:1'), limit: 2 },
      { ...query('a:1'), onlyLast: true },
      { ...query('a:1'), gt: ids[3] ?? null },
    ])
    expect(versionsIn(later)).toEqual([3, 4])
    expect(versionsIn(few)).toEqual([1, 2])
    expect(versionsIn(last)).toEqual([4])
    expect(versionsIn(none)).toEqual([])
  },

  async 'tells the position after which there was nothing, for each query its own'(subject) {
    const { recorder, originatorId, expect } = subject
    const [first, second] = await recorder.insertEvents([
      tagged(originatorId(1), 1, 'a:1'),
      tagged(originatorId(1), 2, 'b:1'),
    ])
    const [a, b, c] = await recorder.selectByTags([query('a:1'), query('b:1'), query('c:1')])
    expect([a?.after, b?.after, c?.after]).toEqual([first, second, null])
    // What has the tags comes after it.
    await recorder.appendEvents([tagged(originatorId(1), 3, 'a:1')], {
      unless: [
        { ...query('a:1'), after: a?.after ?? null },
        { ...query('c:1'), after: c?.after ?? null },
      ],
    })
    const repeated = recorder.appendEvents([tagged(originatorId(1), 4, 'a:1')], {
      unless: [{ ...query('a:1'), after: a?.after ?? null }],
    })
    await expectError(subject, repeated, AppendConditionError)
  },

  async 'stores nothing where there is an event that a condition describes, and tells which'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents([tagged(originatorId(1), 1, 'a:1', 'b:1')])
    const both = { tags: ['a:1', 'b:1'], types: ['Event1'], after: null }
    const events = [tagged(originatorId(2), 1, 'c:1'), tagged(originatorId(2), 2, 'c:1')]
    const appended = recorder.appendEvents(events, { unless: [{ ...query('c:1'), after: null }, both] })
    const error = await expectError(subject, appended, AppendConditionError)
    expect({ tags: error.tags, types: error.types, id: error.originatorId }).toEqual({
      tags: both.tags,
      types: both.types,
      id: originatorId(2),
    })
    expect(await recorder.selectEvents(originatorId(2))).toEqual([])
    expect(versionsIn((await recorder.selectByTags([query('c:1')]))[0])).toEqual([])
    await recorder.appendEvents(events, {
      unless: [
        { tags: ['a:1', 'b:1'], types: ['Event2'], after: null },
        { tags: ['a:1', 'b:2'], types: [], after: null },
      ],
    })
    expect(versionsIn((await recorder.selectByTags([query('c:1')]))[0])).toEqual([1, 2])
  },

  async 'narrows the log by tags before it counts'({ recorder, originatorId, expect }) {
    await recorder.insertEvents([
      tagged(originatorId(1), 1, 'a:1'),
      storedEvent(originatorId(1), 2),
      tagged(originatorId(2), 3, 'a:1', 'b:1'),
      tagged(originatorId(1), 4, 'b:1'),
      tagged(originatorId(1), 5, 'b:1', 'a:1'),
    ])
    const select = async (...[start, limit, options]: Parameters<TaggingRecorder['selectNotifications']>) =>
      versionsOf(await recorder.selectNotifications(start, limit, options))
    const [first, , third, , fifth] = await recorder.selectNotifications(null, 10)
    expect(await select(null, 10, { tags: ['a:1'] })).toEqual([1, 3, 5])
    expect(await select(null, 10, { tags: ['a:1', 'b:1'] })).toEqual([3, 5])
    expect(await select(null, 2, { tags: ['b:1'] })).toEqual([3, 4])
    expect(await select(third?.id ?? null, 10, { tags: ['a:1'], inclusiveOfStart: false })).toEqual([5])
    expect(await select(first?.id ?? null, 10, { tags: ['a:1'], stop: third?.id ?? 0n })).toEqual([1, 3])
    expect(await select(null, 10, { tags: ['b:1'], topics: ['Dog.Event4', 'Dog.Event1'] })).toEqual([4])
    expect(await select(null, 10, { tags: ['b:10'] })).toEqual([])
    expect(await select(null, 10, { tags: [] })).toEqual([1, 2, 3, 4, 5])
    const [found] = await recorder.selectNotifications(null, 1, { tags: ['b:1'], topics: ['Dog.Event5'] })
    expect([found?.id, found?.originatorId]).toEqual([fifth?.id, originatorId(1)])
  },

  async 'delivers events with the tags that are asked for, earlier and later ones, and passes the others'(subject) {
    const { recorder, originatorId, expect } = subject
    await recorder.insertEvents([tagged(originatorId(1), 1, 'a:1', 'b:1'), tagged(originatorId(1), 2, 'a:1')])
    const subscription = recorder.subscribe({ tags: ['a:1', 'b:1'] })
    const versions: number[] = []
    let end: bigint | undefined
    for await (const page of subscription.pages()) {
      // Those that are stored now come by the end of the log; the first of them has one of the tags only.
      const others = [tagged(originatorId(1), 3, 'b:1'), tagged(originatorId(2), 4, 'b:1', 'a:1')]
      if (versions.length === 0) await recorder.insertEvents(others)
      versions.push(...versionsOf(page.items))
      end = page.end
      if (versions.length > 1) break
    }
    expect(versions).toEqual([1, 4])
    expect(end === (await recorder.maxNotificationId())).toEqual(true)
  },

  async 'adds tags to events that are stored, beside those that they have'({ recorder, originatorId, expect }) {
    const [first = 0n, second = 0n] = await recorder.insertEvents([
      tagged(originatorId(1), 1, 'a:1'),
      storedEvent(originatorId(1), 2),
      storedEvent(originatorId(1), 3),
    ])
    const added = [
      { id: second, tags: ['a:1', 'b:1', 'b:1'] },
      { id: first, tags: ['b:1', 'a:1'] },
    ]
    await recorder.addTags(added)
    await recorder.addTags(added)
    const [a, b, both] = await recorder.selectByTags([query('a:1'), query('b:1'), query('a:1', 'b:1')])
    expect([a, b, both].map(versionsIn)).toEqual([
      [1, 2],
      [1, 2],
      [1, 2],
    ])
    expect(a?.after).toEqual(second)
    expect(versionsOf(await recorder.selectNotifications(null, 10, { tags: ['b:1'] }))).toEqual([1, 2])
  },

  async 'lets one of many through that store the same under one condition'(subject) {
    const { recorder, originatorId } = subject
    const numbers = Array.from({ length: 8 }, (_, index) => index + 1)
    await expectOneSuccess(
      subject,
      numbers.map((number) =>
        recorder.appendEvents([tagged(originatorId(number), 1, 'a:1', `own:${number}`)], {
          unless: [{ ...query('a:1'), after: null }],
        }),
      ),
      AppendConditionError,
    )
  },
}

function tagged(originatorId: string, version: number, ...tags: readonly string[]): StoredEvent {
  return { ...storedEvent(originatorId, version, { topic: `Dog.Event${version}` }), tags }
}

function query(...tags: readonly string[]): TagQuery {
  return { tags, types: [] }
}

function versionsIn(read: TaggedRead | undefined): number[] {
  return versionsOf(read?.events.map(({ event }) => event) ?? [])
}

function shown(reads: readonly TaggedRead[]): unknown[] {
  return reads.map((read) => ({ versions: versionsIn(read), after: read.after }))
}
