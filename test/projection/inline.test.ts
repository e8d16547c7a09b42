/** Inline projections: rows that are written with the events of a save, on every database. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ConcurrencyError,
  defineProjection,
  on,
  ProgrammingError,
  type Projection,
  ProjectionRunner,
  rows,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let counts: Projection
  let school: TrainingSchool
  let positions: Array<bigint | undefined>
  beforeEach(async () => {
    open = await openDatabase(kind)
    positions = []
    counts = defineProjection({
      name: 'counts',
      ...rows(
        () => open.db.trickCount,
        'dog',
        (onRows) => [
          onRows(
            Dog,
            'Registered',
            (e) => e.originatorId,
            (_row, e) => {
              positions.push(e.position)
              return { dog: e.originatorId, name: (e.data as { readonly name: string }).name, tricks: 0 }
            },
          ),
          onRows(
            Dog,
            'TrickAdded',
            (e) => e.originatorId,
            (row) => row && { ...row, tricks: row.tricks + 1 },
          ),
        ],
      ),
    })
    school = new TrainingSchool({ datastore: open.datastore, inline: [counts] })
  })
  afterEach(async () => {
    await open.close()
  })

  const all = async (): Promise<Array<[string, number]>> =>
    (await open.db.trickCount.findMany({ orderBy: { name: 'asc' } })).map(({ name, tricks }) => [name, tricks])

  it('writes the rows with the events, in a transaction and without one', async () => {
    await school.register('Fido')
    expect([await all(), positions]).toEqual([[['Fido', 0]], [undefined]])
    await open.datastore.transaction(async () => {
      await school.register('Rex')
      await school.addTrick('Rex', 'sit')
      await school.addTrick('Rex', 'roll')
      await school.addTrick('Fido', 'beg')
    })
    expect(await all()).toEqual([
      ['Fido', 1],
      ['Rex', 2],
    ])
    expect(await school.getTricks('Rex')).toEqual(['sit', 'roll'])
    expect(await school.recorder.maxNotificationId()).toBe(5n)
  })

  it('fails the save where a handler fails, and stores nothing', async () => {
    const failing = defineProjection({
      name: 'failing',
      on: [
        on(Dog, 'Registered', async ({ originatorId }) => {
          await open.db.owner.create({ data: { dog: originatorId, name: 'x' } })
          throw new RangeError('no room')
        }),
      ],
    })
    const full = new TrainingSchool({ datastore: open.datastore, inline: [failing] })
    await expect(full.register('Fido')).rejects.toBeInstanceOf(RangeError)
    await expect(open.datastore.transaction(async () => void (await full.register('Rex')))).rejects.toThrow('no room')
    expect([await open.dogs(), await full.recorder.maxNotificationId()]).toEqual([[], null])
  })

  it('undoes the rows with the events where a conflict at the flush is caught', async () => {
    await school.register('Fido')
    const stale = await school.repository.get(Dog, Dog.createId('Fido'))
    await school.addTrick('Fido', 'sit')
    stale.addTrick('roll')
    await open.datastore.transaction(async (tx) => {
      await school.register('Ace')
      await tx.flush()
      await school.save(stale)
      await expect(tx.flush()).rejects.toBeInstanceOf(ConcurrencyError)
      await open.db.owner.create({ data: { dog: 'a', name: 'b' } })
    })
    expect([await all(), await open.dogs()]).toEqual([
      [
        ['Ace', 0],
        ['Fido', 1],
      ],
      ['a'],
    ])
  })

  it('undoes the rows of a transaction that is rolled back', async () => {
    const undone = open.datastore.transaction(async (tx) => {
      await school.register('Fido')
      await tx.flush()
      expect(await all()).toEqual([['Fido', 0]])
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
    expect(await all()).toEqual([])
  })

  it('is not run or waited for beside that', async () => {
    const setUp = { application: school, datastore: open.datastore }
    expect(() => new ProjectionRunner({ ...setUp, projections: [counts] })).toThrow(ProgrammingError)
    const runner = new ProjectionRunner({ ...setUp, projections: [] })
    await expect(runner.wait('counts', 1n)).rejects.toThrow('inline')
  })
})
