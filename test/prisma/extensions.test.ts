/** Query extensions that open nested parts, whose calls run side by side or inside of each other: none waits for ever. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NAMESPACE_URL, PrismaApplicationRecorder, uuid5 } from '../../src/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  it('calls side by side open their parts one after the other', async () => {
    const { datastore, db } = open
    const careful = db.$extends({
      query: {
        owner: {
          async create({ args, query }) {
            const owner = await query(args)
            const note = async (): Promise<unknown> => await db.toy.create({ data: { name: 'ball', ownerId: -1 } })
            // A part that fails alone: there is no such owner.
            await datastore.transaction(note, { propagation: 'nested' }).catch(() => {})
            return owner
          },
        },
      },
    })
    await datastore.transaction(async () => {
      const dogs = ['one', 'two', 'three']
      await Promise.all([
        ...dogs.map(async (dog) => await careful.owner.create({ data: { name: 'Ann', dog } })),
        db.owner.create({ data: { name: 'Ann', dog: 'plain' } }),
      ])
    })
    expect(await open.dogs()).toEqual(['one', 'plain', 'three', 'two'])
  })

  it('a call inside of a call writes what is pending, also side by side', async () => {
    const { datastore, db } = open
    const recorder = new PrismaApplicationRecorder(datastore)
    const reading = db.$extends({
      query: {
        owner: {
          async count({ args, query }) {
            // Writes the pending event first.
            await recorder.selectEvents(fido)
            return await query(args)
          },
        },
      },
    })
    const counting = db.$extends({
      query: {
        owner: {
          async create({ args, query }) {
            await reading.owner.count()
            return await query(args)
          },
        },
      },
    })
    await datastore.transaction(async () => {
      await recorder.appendEvents([storedEvent(fido, 1)])
      const dogs = ['one', 'two']
      await Promise.all(dogs.map(async (dog) => await counting.owner.create({ data: { name: 'Ann', dog } })))
    })
    expect(await open.dogs()).toEqual(['one', 'two'])
    expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
  })
})
