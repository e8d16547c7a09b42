/** Projections whose rows are folded are tested without a database; the others in one that is rolled back. */
import { AssertionError } from 'node:assert/strict'
import { describe, expect, it } from 'vitest'
import { defineProjection, on, ProjectionRunner, rows } from '../../src/index.js'
import { projecting, withRollback } from '../../src/testing/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const neverUsed = (): TestClient => {
  throw new Error('there is no database')
}

const counts = defineProjection({
  name: 'counts',
  ...rows(
    () => neverUsed().trickCount,
    'dog',
    (onRows) => [
      onRows(
        Dog,
        'Registered',
        (e) => e.originatorId,
        (_row, e) => ({ dog: e.originatorId, name: String(Reflect.get(e.data, 'name')), tricks: 0 }),
      ),
      onRows(
        Dog,
        'TrickAdded',
        (e) => e.originatorId,
        (row, e) => (Reflect.get(e.data, 'trick') === 'bite' ? undefined : row && { ...row, tricks: row.tricks + 1 }),
      ),
    ],
  ),
})

const [fido, rex] = [Dog.createId('Fido'), Dog.createId('Rex')]
const registered = (originatorId: string, name: string) => ({ type: 'Registered', originatorId, data: { name } })
const trickAdded = (originatorId: string, trick: string) => ({ type: 'TrickAdded', originatorId, data: { trick } })

describe('given events, then rows', () => {
  it('follow, in any order, without a database', () => {
    projecting(counts)
      .given(registered(fido, 'Fido'), registered(rex, 'Rex'), trickAdded(fido, 'sit'))
      .thenRows({ dog: rex, name: 'Rex', tricks: 0 }, { dog: fido, name: 'Fido', tricks: 1 })
  })

  it('are deleted, and there are none without events', () => {
    projecting(counts).given(registered(fido, 'Fido'), trickAdded(fido, 'bite')).thenRows()
    projecting(counts).given().thenRows()
  })

  it('follow from the events of an aggregate, and events of another class are passed', () => {
    const dog = new Dog('Fido')
    dog.addTrick('sit')
    projecting(counts)
      .given(...dog.pendingEvents, { type: 'Cat.Registered', data: { name: 'Tom' } })
      .thenRows({ dog: dog.id, name: 'Fido', tricks: 1 })
  })

  it('tells the scenario where other rows follow', () => {
    const outcome = projecting(counts).given(registered(fido, 'Fido'))
    expect(() => outcome.thenRows({ dog: fido, name: 'Fido', tricks: 1 })).toThrow(
      /Given the projection counts: Registered \{ name: 'Fido' \}\nwhen its rows are built\nThere are other rows\.[^]*tricks: 1/,
    )
    expect(() => outcome.thenRows()).toThrow(AssertionError)
  })

  it('refuses an event that nobody has, and a projection of the free form', () => {
    expect(() => projecting(counts).given({ type: 'Regsitered' })).toThrow(
      "The projection takes no event 'Regsitered': it takes Dog.Registered, Dog.TrickAdded.",
    )
    const free = defineProjection({ name: 'free', on: [on(Dog, 'Registered', () => undefined)] })
    expect(() => projecting(free)).toThrow(/^The projection free writes rows by calls of Prisma\..*withRollback/)
  })
})

describe.each(oneOfEach)('a projection of the free form on $name', (kind) => {
  it('runs in a transaction that is rolled back', async () => {
    const open = await openDatabase(kind)
    const { db, datastore } = open
    const owners = defineProjection({
      name: 'owners',
      on: [on(Dog, 'Registered', async (e) => await db.owner.create({ data: { dog: e.originatorId, name: 'x' } }))],
    })
    const school = new TrainingSchool({ datastore })
    const runner = new ProjectionRunner({ application: school, datastore, projections: [owners] })
    await runner.createTable()
    await withRollback(datastore, async () => {
      await school.register('Fido')
      await runner.runOnce()
      expect(await db.owner.count()).toBe(1)
    })
    expect(await open.dogs()).toEqual([])
    await open.close()
  })
})
