/** Ids that no originator can have: nothing is found under them, nothing is stored, and the transaction goes on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  AggregateNotFoundError,
  Application,
  DataError,
  event,
  PrismaApplicationRecorder,
  ProgrammingError,
  type StoredEvent,
} from '../../src/index.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

@event('Opened', 'key')
class Named extends Aggregate {
  static readonly snapshots = { every: 10 }
  readonly key: string
  constructor(key: string) {
    super()
    this.key = key
  }
  static createId(key: string): string {
    return key
  }
  @event('Added') add(): void {}
}

const unstorable = ['a\0b', '\ud800', '\udc00a']
const noUuids = ['abc', '', '5', "'; --", 'b2723fe2c01a40d2875ea3aac6a09ff', '{b2723fe2c01a40d2875ea3aac6a09ff5']
const uuids = ['b2723fe2c01a40d2875ea3aac6a09ff5', 'B2723FE2-C01A-40D2-875E-A3AAC6A09FF6']

/** A machine may be slow. */
const patient = { deadlineMs: 60_000 }

const stored = (originatorId: string, topic = 'Named.Opened'): StoredEvent => ({
  originatorId,
  originatorVersion: 1,
  topic,
  state: new TextEncoder().encode('{}'),
})

describe.each(databases)('on $name', (kind) => {
  const hasUuids = kind.provider === 'postgresql'
  let open: OpenDatabase
  let app: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    app = new Application({ name: '', datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
  })

  it.each([...unstorable, ...noUuids])(
    'nobody is found by %j, and the transaction that has asked goes on',
    async (id) => {
      await open.clear()
      await open.datastore.transaction(async () => {
        // Without an id something is missing where it comes from.
        const error = id === '' ? ProgrammingError : AggregateNotFoundError
        await expect(app.repository.get(Named, id)).rejects.toThrow(error)
        await expect(app.repository.get(Named, id, { version: 1 })).rejects.toThrow(error)
        if (id === '') await expect(app.repository.has(Named, id)).rejects.toThrow(error)
        else expect(await app.repository.has(Named, id)).toBe(false)
        expect(await app.recorder.selectEvents(id)).toEqual([])
        await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      }, patient)
      expect(await open.dogs()).toEqual(['Fido'])
    },
  )

  it('what has an id that the column cannot have is a DataError before anything is sent', async () => {
    await open.clear()
    let dogs = 0
    for (const id of [
      ...unstorable,
      ...(hasUuids ? noUuids : []),
      ...(kind.provider === 'mysql' ? ['é'.repeat(128)] : []),
    ]) {
      const write = [
        async () => await app.recorder.insertEvents([stored(id)]),
        async () => await app.save(id === '' || unstorable.includes(id) ? nobody(id) : new Named(id)),
        async () => await app.recorder.insertEvents([stored(crypto.randomUUID(), `a${unstorable[0]}`)]),
      ]
      for (const attempt of write) {
        await expect(attempt()).rejects.toThrow(DataError)
        await open.datastore.transaction(async () => {
          await expect(attempt()).rejects.toThrow(DataError)
          await open.db.owner.create({ data: { name: 'Ann', dog: String((dogs += 1)) } })
        }, patient)
      }
    }
    expect(await app.recorder.maxNotificationId()).toBeNull()
    expect(await open.dogs()).toHaveLength(dogs)
    if (hasUuids) await expect(app.save(new Named('abc'))).rejects.toThrow("give the recorder originatorIdType: 'text'")
  })

  it('ids that only look odd are kept, free texts with originatorIdType', async () => {
    await open.clear()
    for (const id of uuids) await app.save(new Named(id))
    for (const id of uuids) expect((await app.repository.get(Named, id)).key).toBe(id)
    const options = { eventsTable: 'text_events', originatorIdType: 'text' } as const
    const recorder = new PrismaApplicationRecorder(open.datastore, options)
    await recorder.createTable()
    for (const id of noUuids) {
      await recorder.insertEvents([stored(id)])
      expect(await recorder.selectEvents(id)).toEqual([stored(id)])
    }
  })

  /** Another event than those of an aggregate, which refuses such an id itself. */
  function nobody(id: string): never {
    return { ...new Named(crypto.randomUUID()).pendingEvents[0], originatorId: id } as never
  }
})
