/** A flush of several tables: all of it is stored, or none, and those who have saved learn which. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  ConcurrencyError,
  NAMESPACE_URL,
  OperationalError,
  PrismaApplicationRecorder,
  RollbackOnlyError,
  uuid5,
} from '../../src/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { databasesOf, oneOfEach } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const [fido, rex, ace, tom] = ['fido', 'rex', 'ace', 'tom'].map((dog) => uuid5(NAMESPACE_URL, `/dogs/${dog}`)) as [
  string,
  string,
  string,
  string,
]

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let first: PrismaApplicationRecorder<TestClient>
  let second: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind)
    first = new PrismaApplicationRecorder(open.datastore)
    second = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'trainingschool_events' })
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
    await open.database.query('DELETE FROM trainingschool_events')
  })

  it('tells nobody an id when another table has a conflict, and that the events are lost', async () => {
    const told: string[] = []
    const telling = (name: string): { onRecorded: () => void; onLost: () => void } => ({
      onRecorded: () => void told.push(`${name} recorded`),
      onLost: () => void told.push(`${name} lost`),
    })
    await second.insertEvents([storedEvent(rex, 1)])
    await open.datastore.transaction(async (tx) => {
      await first.appendEvents([storedEvent(fido, 1)], telling('fido'))
      await second.appendEvents([storedEvent(rex, 1)], telling('rex'))
      await expect(tx.flush()).rejects.toBeInstanceOf(ConcurrencyError)
      expect(told.toSorted()).toEqual(['fido lost', 'rex lost'])
      expect(await first.selectEvents(fido)).toEqual([])
      await first.appendEvents([storedEvent(fido, 1)], telling('fido'))
      await second.appendEvents([storedEvent(rex, 2)], telling('rex'))
    })
    expect(told.slice(2)).toEqual(['fido recorded', 'rex recorded'])
    expect(versionsOf(await first.selectEvents(fido))).toEqual([1])
    expect(versionsOf(await second.selectEvents(rex))).toEqual([1, 2])
  })

  it('leaves nothing pending in a nested part either when what is pending around it has a conflict', async () => {
    await first.insertEvents([storedEvent(fido, 1)])
    await open.datastore.transaction(async () => {
      await first.appendEvents([storedEvent(fido, 1)])
      await open.datastore.transaction(
        async (part) => {
          await first.appendEvents([storedEvent(rex, 1)])
          await second.appendEvents([storedEvent(rex, 1)])
          await expect(part.flush()).rejects.toBeInstanceOf(ConcurrencyError)
        },
        { propagation: 'nested' },
      )
    })
    expect(await first.selectEvents(rex)).toEqual([])
    expect(await second.selectEvents(rex)).toEqual([])
  })
})

describe.each(databasesOf('mysql'))('on $name, whose deadlocks end a transaction with its savepoints,', (kind) => {
  it('sends nothing more, which would be stored at once', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    for (const dog of ['Fido', 'Rex']) await open.db.owner.create({ data: { name: 'Ann', dog } })
    const rename = async (dog: string): Promise<unknown> =>
      await open.db.owner.update({ where: { dog }, data: { name: 'Bea' } })
    const gates = [newGate(), newGate()] as const
    const transactions = [
      { own: 'Fido', other: 'Rex', gate: gates[0], otherGate: gates[1], originator: ace },
      { own: 'Rex', other: 'Fido', gate: gates[1], otherGate: gates[0], originator: tom },
    ].map(async ({ own, other, gate, otherGate, originator }) => {
      await open.datastore.transaction(async () => {
        await rename(own)
        gate.open()
        await otherGate.opened
        const end = await Promise.allSettled([rename(other)])
        const insert = recorder.insertEvents([storedEvent(originator, 1)])
        if (end[0].status === 'rejected') {
          await expect(insert).rejects.toBeInstanceOf(RollbackOnlyError)
          await expect(rename(own)).rejects.toBeInstanceOf(RollbackOnlyError)
        } else await insert
      })
    })
    const ends = await Promise.allSettled(transactions)
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
    expect(errors).toHaveLength(1)
    expect(errors[0]).toBeInstanceOf(RollbackOnlyError)
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(1)
    await open.close()
  })

  it('rejects with what has failed, which can be tried again', async () => {
    const open = await openDatabase(kind)
    const first = new PrismaApplicationRecorder(open.datastore)
    const second = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'trainingschool_events' })
    // The counters of the logs exist from here on.
    await first.insertEvents([storedEvent(fido, 1)])
    await second.insertEvents([storedEvent(fido, 1)])
    const gates = [newGate(), newGate()] as const
    const transactions = [
      { own: first, other: second, gate: gates[0], otherGate: gates[1], originator: ace },
      { own: second, other: first, gate: gates[1], otherGate: gates[0], originator: tom },
    ].map(async ({ own, other, gate, otherGate, originator }) => {
      await open.datastore.transaction(async () => {
        await own.insertEvents([storedEvent(originator, 1)])
        gate.open()
        await otherGate.opened
        await own.appendEvents([storedEvent(originator, 2)])
        await other.appendEvents([storedEvent(originator, 1)])
      })
    })
    const ends = await Promise.allSettled(transactions)
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
    expect(errors).toHaveLength(1)
    expect(errors[0]).toBeInstanceOf(OperationalError)
    expect(errors[0]).toMatchObject({ retryable: true })
    await open.close()
  })
})
