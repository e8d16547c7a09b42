/** One flush with events that have tags and such that have none, of several streams, with several conditions. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, AppendConditionError, defineEvent, event, typed } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { CourseSchool } from './school.js'

const Named = defineEvent('Named', typed<{ name: string }>(), { tags: ({ name }) => ({ name }) })

class Teacher extends Aggregate {
  name = ''

  @event(Named, 'name')
  call(name: string): void {
    this.name = name
  }

  @event('Hired')
  hire(): void {}
}

describe.each(oneOfEach)('a mixed flush on $name', (kind) => {
  let open: OpenDatabase
  let school: CourseSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new CourseSchool({ name: '', datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
  })

  /** Two teachers, their events in turns, and what was decided between them. */
  async function hireTwo(first: string, second: string, course: string): Promise<Teacher[]> {
    const teachers = [new Teacher(), new Teacher()] as const
    await open.datastore.transaction(async () => {
      for (const teacher of teachers) teacher.hire()
      teachers[0].call(first)
      await school.save(...teachers, { unless: { tags: { name: first }, types: [Named] } })
      await school.define(course, 1)
      await open.db.owner.create({ data: { name: course, dog: randomUUID() } })
      teachers[1].call(second)
      teachers[1].hire()
      await school.save(teachers[1], {
        unless: [
          { tags: { name: second }, types: [Named] },
          { tags: { course }, types: ['StudentSubscribed'] },
        ],
      })
      await school.subscribeStudent(course, first)
    })
    return [...teachers]
  }

  it('stores all, each with its own tags', async () => {
    const [first, second, course] = [randomUUID(), randomUUID(), randomUUID()]
    const teachers = await hireTwo(first, second, course)
    const versionsBy = async (tag: string): Promise<unknown[]> =>
      (await school.recorder.selectNotifications(null, 1_000, { tags: [tag] })).map(
        ({ originatorId, originatorVersion, topic }) => [
          topic,
          originatorVersion,
          teachers.findIndex(({ id }) => id === originatorId),
        ],
      )
    expect(await versionsBy(`name:${first}`)).toEqual([['Teacher.Named', 3, 0]])
    expect(await versionsBy(`name:${second}`)).toEqual([['Teacher.Named', 3, 1]])
    expect(await versionsBy(`course:${course}`)).toEqual([
      ['Facts.CourseDefined', 1, -1],
      ['Facts.StudentSubscribed', 1, -1],
    ])
    for (const [index, version] of [3, 4].entries()) {
      expect((await school.repository.get(Teacher, teachers[index]?.id ?? '')).version).toBe(version)
    }
    expect(await open.db.owner.count({ where: { name: course } })).toBe(1)
  })

  it.each(['first', 'second'] as const)('stores nothing of all when the %s name is taken', async (which) => {
    const names = { first: randomUUID(), second: randomUUID() }
    await hireTwo(names[which], randomUUID(), randomUUID())
    const before = await school.recorder.maxNotificationId()
    const course = randomUUID()
    const failed = hireTwo(names.first, names.second, course)
    await expect(failed).rejects.toMatchObject({ tags: [`name:${names[which]}`] })
    await expect(failed).rejects.toBeInstanceOf(AppendConditionError)
    expect(await school.recorder.maxNotificationId()).toBe(before)
    expect(await school.recorder.selectNotifications(null, 1, { tags: [`course:${course}`] })).toEqual([])
    expect(await open.db.owner.count({ where: { name: course } })).toBe(0)
  })
})
