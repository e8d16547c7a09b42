/** What was read in a transaction that was rolled back is not saved over the events of others. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ConcurrencyError, ProgrammingError } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { Dog, TrainingSchool } from './dogs.js'

const undo = new Error('undo')

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore, name: 'School' })
    await school.recorder.createTable()
  })
  afterAll(async () => await open.close())

  /** An aggregate as a transaction sees it that is rolled back. */
  const undone = async (name: string, propagation: 'required' | 'nested', writes: boolean): Promise<Dog> => {
    let dog: Dog | undefined
    const work = async (): Promise<void> => {
      if (writes) await school.addTrick(name, 'lost')
      dog = await school.repository.get(Dog, Dog.createId(name))
      throw undo
    }
    const around =
      propagation === 'nested'
        ? open.datastore.transaction(async () => {
            await expect(open.datastore.transaction(work, { propagation })).rejects.toBe(undo)
          })
        : open.datastore.transaction(work)
    await around.catch((error: unknown) => expect(error).toBe(undo))
    if (dog === undefined) throw new Error('it was not read')
    return dog
  }

  it.each(['required', 'nested'] as const)(
    'an aggregate with events that were undone cannot be saved: %s',
    async (propagation) => {
      const name = `Fido ${propagation}`
      await school.register(name)
      const dog = await undone(name, propagation, true)
      await school.addTrick(name, 'of somebody else')
      dog.addTrick('on top')
      await expect(school.save(dog)).rejects.toBeInstanceOf(ConcurrencyError)
      expect(await school.getTricks(name)).toEqual(['of somebody else'])
    },
  )

  it('one that the transaction has only read can be saved, and meets the events of others', async () => {
    await school.register('Rex')
    const dog = await undone('Rex', 'required', false)
    dog.addTrick('sit')
    await school.save(dog)
    const late = await undone('Rex', 'required', false)
    await school.addTrick('Rex', 'of somebody else')
    late.addTrick('on top')
    await expect(school.save(late)).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await school.getTricks('Rex')).toEqual(['sit', 'of somebody else'])
  })

  it('one that was read after its own save in a transaction that commits can be saved', async () => {
    await school.register('Ace')
    const dog = await open.datastore.transaction(async () => {
      await school.addTrick('Ace', 'sit')
      return await school.repository.get(Dog, Dog.createId('Ace'))
    })
    dog.addTrick('roll')
    await school.save(dog)
    expect(await school.getTricks('Ace')).toEqual(['sit', 'roll'])
  })
})

it('an aggregate of another copy of the package says so', async () => {
  vi.resetModules()
  const { Dog: OtherDog } = (await import('./dogs.js')) as { Dog: typeof Dog }
  const school = new TrainingSchool()
  const refused = {
    name: ProgrammingError.name,
    message: expect.stringContaining('another copy of eventsourcing-prisma'),
  }
  await expect(school.save(new OtherDog('Fido'))).rejects.toMatchObject(refused)
  await expect(school.repository.get(OtherDog, OtherDog.createId('Fido'))).rejects.toMatchObject(refused)
})
