/** Decisions by tags in requests: conflicts are 409 or repeated by `retries`, and what an event has ended is 410. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, event } from '../../src/index.js'
import { CourseFull, CourseSchool } from '../decisions/school.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { frameworks, type Route, type RunningServer } from './servers.js'

class Account extends Aggregate {
  static readonly tags = { Opened: ({ name }: { name: string }) => ({ name }) }
  name = ''

  @event('Opened', 'name')
  open(name: string): void {
    this.name = name
  }

  @event('Closed', { ends: true })
  close(): void {}
}

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: CourseSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new CourseSchool({ name: '', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  describe.each(casesOn(kind, frameworks))('decisions by tags on $name', (framework) => {
    let server: RunningServer
    const routes: Route[] = [
      {
        method: 'POST',
        path: '/accounts',
        async handle({ body, send }) {
          const name = String(body['name'])
          const account = new Account()
          account.open(name)
          await open.db.owner.create({ data: { name, dog: account.id } })
          await school.save(account, { unless: { tags: { name }, types: ['Opened'] } })
          send(201, { id: account.id })
        },
      },
      {
        method: 'POST',
        path: '/close',
        async handle({ body, send }) {
          const account = await school.repository.get(Account, String(body['id']))
          account.close()
          await school.save(account)
          send(204)
        },
      },
      {
        method: 'POST',
        path: '/seats',
        transaction: { retries: 20 },
        async handle({ body, send }) {
          const { course, student } = body as { course: string; student: string }
          await school.subscribeStudent(course, student)
          await open.db.owner.create({ data: { name: course, dog: `${course} ${student}` } })
          send(201)
        },
      },
    ]
    beforeAll(async () => {
      const describeErrors = (error: unknown): { status?: number } =>
        error instanceof CourseFull ? { status: 422 } : {}
      server = await framework.start(open.datastore, routes, { describe: describeErrors })
    })
    afterAll(async () => await server.close())

    const post = async (
      path: string,
      body: object,
    ): Promise<{ status: number; type: string | null; body: unknown }> => {
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
      const text = await response.text()
      return {
        status: response.status,
        type: response.headers.get('content-type'),
        body: text === '' ? undefined : JSON.parse(text),
      }
    }

    it('answer 409 for a value that is taken, and store no row', async () => {
      const name = randomUUID()
      const all = await Promise.all(Array.from({ length: 4 }, () => post('/accounts', { name })))
      expect(all.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409, 409, 409])
      for (const { status, type, body } of all) {
        if (status === 201) continue
        expect(type).toMatch(/^application\/problem\+json/)
        expect(body).toMatchObject({ status: 409, code: 'ES_APPEND_CONDITION' })
      }
      expect(await open.db.owner.count({ where: { name } })).toBe(1)
    })

    it('answer 410 for what an event has ended, and 404 for what never was', async () => {
      const { body } = await post('/accounts', { name: randomUUID() })
      const { id } = body as { id: string }
      expect((await post('/close', { id })).status).toBe(204)
      expect(await post('/close', { id })).toMatchObject({
        status: 410,
        type: expect.stringMatching(/^application\/problem\+json/),
        body: { status: 410, code: 'ES_AGGREGATE_ENDED' },
      })
      expect((await post('/close', { id: randomUUID() })).status).toBe(404)
    })

    it('are made again by retries, until the course is full', async () => {
      const course = randomUUID()
      await school.define(course, 5)
      const students = Array.from({ length: 9 }, (_, number) => `student ${number}`)
      const all = await Promise.all(students.map((student) => post('/seats', { course, student })))
      expect(all.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
        ...Array(5).fill(201),
        ...Array(4).fill(422),
      ])
      expect(await open.db.owner.count({ where: { name: course } })).toBe(5)
    })
  })
})
