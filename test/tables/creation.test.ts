/** Tables may be made by many at once, and an application makes all that it needs. */
import { describe, expect, it } from 'vitest'
import { Aggregate, Application, PrismaDatastore } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'

class Dog extends Aggregate {
  static readonly snapshots = { every: 1 }
}

describe.each(oneOfEach)('on $name', (kind) => {
  it('eight at once make the tables of an application, in a schema of its own where there are schemas', async () => {
    const database = await kind.createDatabase()
    const schema = kind.provider === 'postgresql' ? { schema: 'kennel' } : {}
    const datastores = Array.from(
      { length: 8 },
      () => new PrismaDatastore({ adapter: database.adapter(), poolSize: 1, ...schema }),
    )
    const schools = datastores.map((datastore) => new Application({ name: 'School', datastore, snapshots: true }))
    const made = await Promise.allSettled(schools.map(async (school) => await school.ready()))
    expect(made.filter(({ status }) => status === 'rejected')).toEqual([])
    const created = await Promise.allSettled(
      schools.map(async ({ recorder }) => {
        if (!('createTable' in recorder) || typeof recorder.createTable !== 'function') throw new Error('no tables')
        await recorder.createTable()
      }),
    )
    expect(created.filter(({ status }) => status === 'rejected')).toEqual([])
    const [school] = schools
    const dog = new Dog()
    await school?.save(dog)
    await school?.takeSnapshot(Dog, dog.id)
    expect((await school?.repository.get(Dog, dog.id))?.version).toBe(1)
    for (const datastore of datastores) await datastore.close()
    await database.drop()
  })
})
