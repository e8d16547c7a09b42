/** The log, subscriptions and projections by tags. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Application,
  defineProjection,
  NotificationLogReader,
  NotSupportedError,
  on,
  type Projection,
  ProjectionRunner,
  RemoteNotificationLog,
  secret,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { CourseSchool, StudentSubscribed } from './school.js'

const places = [...oneOfEach.map(({ name }) => ({ name })), { name: 'memory' }]

describe.each(places)('by tags, on $name', ({ name }) => {
  const kind = oneOfEach.find((database) => database.name === name)
  let open: OpenDatabase | undefined
  let school: CourseSchool
  beforeAll(async () => {
    open = kind === undefined ? undefined : await openDatabase(kind)
    school = new CourseSchool({
      name: '',
      sectionSize: 2,
      ...(open === undefined ? {} : { datastore: open.datastore }),
    })
  })
  afterAll(async () => await open?.close())

  async function twoCourses(): Promise<[algebra: string, logic: string]> {
    const [algebra, logic] = [randomUUID(), randomUUID()]
    for (const course of [algebra, logic]) {
      await school.define(course, 5)
      for (const student of ['ann', 'bob']) await school.subscribeStudent(course, `${student} ${algebra}`)
    }
    return [algebra, logic]
  }

  it('the log is read, also in batches', async () => {
    const [algebra, logic] = await twoCourses()
    const topics: string[][] = []
    for await (const batch of new NotificationLogReader(school.notificationLog).select({ tags: { course: logic } }))
      topics.push(batch.map(({ topic }) => topic))
    expect(topics).toEqual([['Facts.CourseDefined', 'Facts.StudentSubscribed'], ['Facts.StudentSubscribed']])
    const tags = { student: `ann ${algebra}`, course: [algebra] }
    expect(await school.notificationLog.select(null, 2, { tags })).toHaveLength(1)
    await expect(school.notificationLog.select(null, 2, { tags: {} })).rejects.toBeInstanceOf(TypeError)
  })

  it('a subscription delivers what is there and what comes, and its position passes the rest', async () => {
    const [algebra, logic] = await twoCourses()
    const seen: unknown[] = []
    const all = school.subscribe({ tags: { course: logic } })
    const students = school.subscribe({ tags: { course: logic }, topics: ['Facts.StudentSubscribed'] })
    const following = (async () => {
      for await (const { event } of students) {
        seen.push((event.data as { student: string }).student)
        if (seen.length === 3) break
      }
    })()
    const topics: string[] = []
    for await (const { items, tracking } of all.pages()) {
      topics.push(...items.map(({ event }) => event.topic))
      if (topics.length === 3) {
        await school.subscribeStudent(algebra, 'cid')
        await school.subscribeStudent(logic, 'cid')
      }
      if (topics.length === 4) {
        expect(tracking.notificationId).toBe(await school.recorder.maxNotificationId())
        break
      }
    }
    await following
    expect(topics).toEqual(['Facts.CourseDefined', ...Array(3).fill('Facts.StudentSubscribed')])
    expect(seen).toEqual([`ann ${algebra}`, `bob ${algebra}`, 'cid'])
    expect(() => school.subscribe({ tags: { course: undefined } })).toThrow(TypeError)
  })
})

describe.each(oneOfEach)('projections by tags on $name', (kind) => {
  let open: OpenDatabase
  let school: CourseSchool
  const [algebra, logic] = [randomUUID(), randomUUID()]
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new CourseSchool({ name: '', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  const roster = (name: string): Projection =>
    defineProjection({
      name,
      tags: { course: logic },
      models: ['Owner'],
      on: [
        on(StudentSubscribed, async ({ data }) => {
          await open.db.owner.create({ data: { name, dog: `${name} ${data.student}` } })
        }),
      ],
    })

  it('take the events that have them: in a runner, in a rebuild, and inline', async () => {
    for (const course of [algebra, logic]) await school.define(course, 9)
    await school.subscribeStudent(logic, 'ann')
    await school.subscribeStudent(algebra, 'eve')
    const application = school
    const projections = [roster('roster')]
    const runner = new ProjectionRunner({ application, datastore: open.datastore, projections })
    await runner.createTable()
    await runner.runOnce()
    expect(await open.dogs()).toEqual(['roster ann'])
    await runner.start()
    await school.subscribeStudent(algebra, 'bob')
    await school.subscribeStudent(logic, 'bob')
    const last = await school.subscribeStudent(algebra, 'cid')
    // The position passes what has other tags.
    await runner.wait('roster', last, { timeoutMs: 20_000 })
    expect(await open.dogs()).toEqual(['roster ann', 'roster bob'])
    await runner.stop()
    await runner.rebuild('roster', { way: 'in-place' })
    expect(await open.dogs()).toEqual(['roster ann', 'roster bob'])
    const inline = new CourseSchool({ name: '', datastore: open.datastore, inline: [roster('inline')] })
    await inline.subscribeStudent(algebra, 'dan')
    await inline.subscribeStudent(logic, 'dan')
    expect(await open.dogs()).toEqual(['inline dan', 'roster ann', 'roster bob'])
  })
})

describe('what has no tags', () => {
  it('is refused, instead of the whole log', async () => {
    const remote = new RemoteNotificationLog(async () => '{}')
    await expect(remote.select(null, 1, { tags: { course: 'c' } })).rejects.toBeInstanceOf(NotSupportedError)
    const application = new Application({ store: 'memory', env: { TAG_KEY: 'sixteen letters!' } })
    const tagged = defineProjection({ name: 'p', tags: { email: secret('x') }, on: [on(StudentSubscribed, () => 1)] })
    await using open = await openSqlite()
    const options = { application, datastore: open.datastore, projections: [tagged], source: remote }
    expect(() => new ProjectionRunner(options)).toThrow(NotSupportedError)
    expect(() => defineProjection({ name: 'p', tags: {}, on: [on(StudentSubscribed, () => 1)] })).toThrow(TypeError)
  })
})

async function openSqlite(): Promise<OpenDatabase & AsyncDisposable> {
  const kind = oneOfEach.find(({ provider }) => provider === 'sqlite')
  if (kind === undefined) throw new Error('there is no SQLite')
  const open = await openDatabase(kind)
  return { ...open, [Symbol.asyncDispose]: () => open.close() }
}
