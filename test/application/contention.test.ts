/** Many workers on one aggregate through a cache, and how much a cache keeps: on every database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Application, ConcurrencyError } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { Dog } from './dogs.js'

describe.each(oneOfEach)('a cache on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  const newSchool = (options: object): Application =>
    new Application<unknown>({ name: '', datastore: open.datastore, ...options })

  it('[186] gives no worker a version older than the one that it has saved', async () => {
    const school = newSchool({ cache: true })
    const other = newSchool({ cache: true })
    const fido = new Dog('Fido')
    await school.save(fido)
    const workers = 20
    const work = async (worker: number): Promise<void> => {
      const own = worker % 4 === 0 ? other : school
      for (let isDone = false; !isDone; ) {
        const dog = await own.repository.get(Dog, fido.id)
        dog.addTrick(`trick ${worker}`)
        try {
          await own.save(dog)
          isDone = true
        } catch (error) {
          expect(error).toBeInstanceOf(ConcurrencyError)
          continue
        }
        const seen = await own.repository.get(Dog, fido.id)
        expect(seen.version).toBeGreaterThanOrEqual(dog.version)
        expect(seen.tricks).toContain(`trick ${worker}`)
      }
    }
    await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)))
    const stored = await newSchool({}).repository.get(Dog, fido.id)
    expect(stored.version).toBe(1 + workers)
    expect(new Set(stored.tricks).size).toBe(workers)
    for (const cached of [school, other]) {
      expect((await cached.repository.get(Dog, fido.id)).equals(stored)).toBe(true)
    }
  })

  it.each([
    ['0', 10],
    ['2', 2],
  ])('[182] keeps all aggregates with the size 0, else the last ones: %s', async (size, kept) => {
    const school = newSchool({ env: { AGGREGATE_CACHE_MAXSIZE: size } })
    const dogs = Array.from({ length: 10 }, (_, number) => new Dog(`Dog ${number} of ${size}`))
    await school.save(...dogs)
    for (const { id } of dogs) await school.repository.get(Dog, id)
    const cached = dogs.map(({ id }) => school.repository.cache?.entries.get(id) !== undefined)
    expect(cached).toEqual(dogs.map((_, index) => index >= dogs.length - kept))
    for (const { id, name } of dogs) expect((await school.repository.get(Dog, id)).name).toBe(name)
  })
})
