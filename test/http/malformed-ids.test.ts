/** An id that is no UUID, where the column takes nothing else: such an aggregate does not exist, and cannot be made. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accounts, Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import { frameworks, type Route } from './servers.js'

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  it.each(frameworks)('is 404 where it is looked for and 422 where it is new, on $name', async (framework) => {
    const routes: Route[] = [
      {
        method: 'GET',
        path: '/dogs/abc',
        handle: async ({ send }) => send(200, { tricks: (await school.repository.get(Dog, 'abc')).tricks }),
      },
      {
        method: 'POST',
        path: '/dogs/abc/tricks',
        async handle({ send }) {
          const dog = await school.repository.get(Dog, 'abc')
          dog.addTrick('sit')
          await school.save(dog)
          send(201)
        },
      },
      {
        method: 'POST',
        path: '/accounts/abc',
        async handle({ send }) {
          await school.execute(accounts, 'abc', 'open', 'Ann')
          send(201)
        },
      },
    ]
    const server = await framework.start(open.datastore, routes)
    const answer = async (method: string, path: string): Promise<unknown[]> => {
      const response = await fetch(`${server.url}${path}`, { method })
      return [response.status, response.headers.get('content-type')?.split(';')[0]]
    }
    const problem = 'application/problem+json'
    expect(await answer('GET', '/dogs/abc')).toEqual([404, problem])
    expect(await answer('POST', '/dogs/abc/tricks')).toEqual([404, problem])
    expect(await answer('POST', '/accounts/abc')).toEqual([422, problem])
    await server.close()
  })
})
