/** If-Match and ETag, and problems that say more, on each framework. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertIfMatch, etagOf, isNotModified } from '../../adapters/http.js'
import { EventDataError } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { frameworks, type Route, type RunningServer } from './servers.js'

const id = Dog.createId('Fido')

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  describe.each(casesOn(kind, frameworks))('a precondition on $name', (framework) => {
    let server: RunningServer
    const change =
      (required: boolean): Route['handle'] =>
      async ({ headers, send }) => {
        const dog = await school.repository.get(Dog, id)
        assertIfMatch({ headers }, dog, { required })
        dog.addTrick('sit')
        await school.save(dog)
        send(200, { version: dog.version }, { etag: etagOf(dog) })
      }
    const routes: Route[] = [
      { method: 'POST', path: '/dogs', handle: change(false) },
      { method: 'POST', path: '/strict', handle: change(true) },
      {
        method: 'GET',
        path: '/dogs',
        async handle({ headers, send }) {
          const dog = await school.repository.get(Dog, id)
          if (isNotModified({ headers }, dog)) send(304)
          else send(200, {}, { etag: etagOf(dog) })
        },
      },
      {
        method: 'POST',
        path: '/invalid',
        handle: async () => {
          await open.db.owner.create({ data: { name: 'Ann', dog: 'Rex' } })
          throw new EventDataError('Cannot trigger Dog.Registered', { issues: [{ message: 'too short' }] })
        },
      },
      {
        method: 'POST',
        path: '/broken',
        handle: async () => Promise.reject(new Error('the password is 1234')),
      },
    ]
    beforeAll(async () => {
      await open.database.query(`DELETE FROM ${open.quoted('trainingschool_events')}`)
      await school.register('Fido')
      server = await framework.start(open.datastore, routes, {
        describe: (error) =>
          error instanceof EventDataError ? { status: 422, title: 'Invalid data', issues: error.issues } : undefined,
      })
    })
    afterAll(async () => await server.close())

    const post = async (path: string, ifMatch?: string): Promise<Response> =>
      await fetch(`${server.url}${path}`, {
        method: 'POST',
        headers: ifMatch === undefined ? {} : { 'if-match': ifMatch },
      })

    it('is the version of the ETag, and 412 for another one', async () => {
      const etag = (await fetch(`${server.url}/dogs`)).headers.get('etag')
      expect(etag).toBe('"1"')
      const changed = await post('/dogs', '"1"')
      expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"'])
      const late = await post('/dogs', '"1"')
      expect(late.status).toBe(412)
      expect(late.headers.get('content-type')).toMatch(/^application\/problem\+json/)
      expect(await late.json()).toEqual({
        type: 'about:blank',
        title: 'Precondition Failed',
        status: 412,
        detail: `Could not change ${id}: If-Match is "1", and the version is "2". Get it again.`,
        code: 'ES_PRECONDITION_FAILED',
      })
      const statuses: number[] = []
      for (const given of ['"7", "2"', '*', 'W/"4"', '""', undefined])
        statuses.push((await post('/dogs', given)).status)
      expect(statuses).toEqual([200, 200, 412, 412, 200])
      expect((await school.repository.get(Dog, id)).version).toBe(5)
    })

    it('of a GET is 304 where the client has the version already', async () => {
      const { version } = await school.repository.get(Dog, id)
      const statuses: number[] = []
      const given = [
        `"${version}"`,
        `W/"${version}"`,
        `"a,b", "${version}"`,
        '*',
        `"${version + 1}"`,
        `"a,${version}"`,
        'no',
      ]
      for (const tags of given) {
        const response = await fetch(`${server.url}/dogs`, { headers: { 'if-none-match': tags } })
        statuses.push(response.status)
        if (response.status === 304) expect(await response.text()).toBe('')
      }
      expect(statuses).toEqual([304, 304, 304, 304, 200, 200, 400])
    })

    it('is refused where it cannot be read, and where it is required and missing', async () => {
      const { version } = await school.repository.get(Dog, id)
      expect((await post('/strict', `"${version}"`)).status).toBe(200)
      expect((await post('/strict', `"${version + 1}`)).status).toBe(400)
      expect((await post('/strict', `W/"${version + 1}"`)).status).toBe(412)
      const missing = await post('/strict')
      expect(missing.status).toBe(428)
      expect(await missing.json()).toMatchObject({ code: 'ES_PRECONDITION_REQUIRED' })
      expect((await school.repository.get(Dog, id)).version).toBe(version + 1)
    })

    it('and problems are described by the app, with nothing stored and nothing given away', async () => {
      const invalid = await post('/invalid')
      expect(invalid.status).toBe(422)
      expect(await invalid.json()).toEqual({
        type: 'about:blank',
        title: 'Invalid data',
        status: 422,
        detail: 'Cannot trigger Dog.Registered',
        code: 'ES_EVENT_DATA',
        issues: [{ message: 'too short' }],
      })
      expect(await open.dogs()).toEqual([])
      const broken = await post('/broken')
      expect(await broken.json()).toEqual({ type: 'about:blank', title: 'Internal Server Error', status: 500 })
    })
  })
})
