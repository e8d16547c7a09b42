/**
 * What the DCB tests of the Python library ask of a recorder, by their comments: of `_test_append_read`, all that has a tag. Queries without
 * one do not exist here, and the items of a query are queries of their own.
 *
 * @see `DCBRecorderTestCase` of the Python library
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AppendConditionError, Application, type StoredEvent } from '../../src/index.js'
import type { TagQuery } from '../../src/recorders.js'
import type { TaggingRecorder } from '../../src/testing/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

/** `type1 and tagX`: the words of Python's comments. */
function query(text: string): TagQuery {
  const words = text.split(' and ')
  return {
    tags: words.filter((word) => word.startsWith('tag')),
    types: words.filter((word) => word.startsWith('type')),
  }
}

/** What is read, after which of the events, and which are found. */
const reads: ReadonlyArray<[query: string, after: number, found: number[]]> = [
  ['tagX', 0, [1]],
  ['tagY', 0, []],
  ['type1 and tagX', 0, [1]],
  ['type1 and tagY', 0, []],
  ['type2 and tagX', 0, []],
  ['tagX', 1, []],
  ['type1 and tagX', 1, []],
  ['tagA', 0, [2, 3]],
  ['tagA and tagB', 0, [2]],
  ['tagB or tagC', 0, [2, 3]],
  ['tagX or tagY', 0, [1]],
  ['type2 and tagA', 0, [2]],
  ['type2 and tagA', 2, []],
  ['type2 and tagB or type3 and tagC', 0, [2, 3]],
  ['type3 and tagC or type2 and tagB', 0, [2, 3]],
]

/** Conditions, after which of the events, under which nothing is appended. */
const failing: ReadonlyArray<[query: string, after: number]> = [
  ['tagX', 0],
  ['tagA', 1],
  ['type1 and tagX', 0],
  ['type2 and tagA', 1],
  ['tagA and tagB', 0],
  ['tagB or tagC', 0],
  ['tagX or tagY', 0],
  ['type2 and tagB or type3 and tagC', 0],
]

/** Conditions under which events are appended. */
const passing: ReadonlyArray<[query: string, after: number]> = [
  ['tagY', 0],
  ['tagX', 1],
  ['type1 and tagX', 1],
]

const places = [...oneOfEach.map(({ name }) => ({ name })), { name: 'memory' }]

describe.each(places)('on $name, as in Python', ({ name }) => {
  const kind = oneOfEach.find((database) => database.name === name)
  let open: OpenDatabase | undefined
  let recorder: TaggingRecorder
  let ids: readonly bigint[]
  const originatorId = randomUUID()
  const event = (version: number, ...tags: readonly string[]): StoredEvent => ({
    originatorId,
    originatorVersion: version,
    topic: `Dcb.type${version}`,
    state: Buffer.from(`data${version}`),
    tags,
  })
  beforeAll(async () => {
    open = kind === undefined ? undefined : await openDatabase(kind)
    const application = new Application({
      name: '',
      ...(open === undefined ? { store: 'memory' } : { datastore: open.datastore }),
    })
    recorder = application.recorder as TaggingRecorder // of a datastore, or in memory: both keep tags
    ids = [
      ...(await recorder.insertEvents([event(1, 'tagX')])),
      ...(await recorder.insertEvents([event(2, 'tagA', 'tagB'), event(3, 'tagA', 'tagC')])),
    ]
  })
  afterAll(async () => await open?.close())

  const positionOf = (number: number): bigint | null => ids[number - 1] ?? null
  const conditions = (text: string, after: number) =>
    text.split(' or ').map((item) => ({ ...query(item), after: positionOf(after) }))

  it('read events with …, after …', async () => {
    for (const [text, after, found] of reads) {
      const items = await recorder.selectByTags(
        text.split(' or ').map((item) => ({ ...query(item), gt: positionOf(after) })),
      )
      const versions = items.flatMap(({ events }) => events.map((each) => each.event.originatorVersion))
      expect([text, after, versions.toSorted((a, b) => a - b)]).toEqual([text, after, found])
    }
  })

  it('append must fail if recorded events match the condition, and can append otherwise', async () => {
    for (const [text, after] of failing) {
      const appended = recorder.appendEvents([event(4)], { unless: conditions(text, after) })
      await expect(appended, `${text} after ${after}`).rejects.toBeInstanceOf(AppendConditionError)
    }
    for (const [index, [text, after]] of passing.entries()) {
      await recorder.appendEvents([event(4 + index)], { unless: conditions(text, after) })
    }
    expect(await recorder.selectEvents(originatorId)).toHaveLength(3 + passing.length)
  })

  it('works with course subscription consistency boundaries, and with appointments of many slots', async () => {
    const [student, course] = [`student:${randomUUID()}`, `course:${randomUUID()}`]
    const append = async (topic: string, tags: readonly string[], condition: Partial<TagQuery>): Promise<void> => {
      const stored = { ...event(1, ...tags), topic: `Dcb.${topic}`, originatorId: randomUUID() }
      await recorder.appendEvents([stored], { unless: [{ types: [], tags, ...condition, after: positionOf(3) }] })
    }
    await append('StudentRegistered', [student], { types: ['StudentRegistered'] })
    await append('CourseRegistered', [course], {})
    await append('StudentJoinedCourse', [course, student], {})
    await expect(append('StudentJoinedCourse', [course, student], {})).rejects.toBeInstanceOf(AppendConditionError)
    const [known, of, joined] = await recorder.selectByTags([
      { tags: [student], types: ['StudentRegistered', 'StudentJoinedCourse'] },
      { tags: [course], types: ['CourseRegistered', 'StudentJoinedCourse'] },
      { tags: [course, student], types: [] },
    ])
    expect([known?.events.length, of?.events.length, joined?.events.length]).toEqual([2, 2, 1])
    const slots = Array.from({ length: 20 }, (_, number) => `slot:${course}-${number}`)
    await append('AppointmentScheduled', slots, {})
    await expect(append('AppointmentScheduled', slots, {})).rejects.toBeInstanceOf(AppendConditionError)
  })
})
