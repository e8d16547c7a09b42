/** Faults of other libraries that must not be here: between datastores, after a rollback or a conflict, and while others wait. */
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ConcurrencyError, NAMESPACE_URL, PrismaApplicationRecorder, PrismaDatastore, uuid5 } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { type Adapter, databases, databasesOf } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')
const rex = uuid5(NAMESPACE_URL, '/dogs/rex')
const undo = new Error('undo')

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  let other: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    other = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
    await other.close()
  })
  beforeEach(async () => {
    for (const each of [open, other]) {
      await each.clear()
      await each.database.query('DELETE FROM trainingschool_events')
    }
  })

  const storedEvents = async ({ database }: OpenDatabase): Promise<number> =>
    Number((await database.query('SELECT count(*) AS n FROM stored_events'))[0]?.['n'])
  const storedVersions = async (name: string): Promise<number[]> =>
    versionsOf(await school.recorder.selectEvents(Dog.createId(name)))

  describe('two datastores', () => {
    it('keep apart: what one stores inside the transaction of the other is stored at once, and stays [263]', async () => {
      const [recorder, otherRecorder] = [open, other].map(({ datastore }) => new PrismaApplicationRecorder(datastore))
      const transaction = open.datastore.transaction(async () => {
        expect(other.datastore.tryCurrentTransaction).toBeUndefined()
        await recorder?.appendEvents([storedEvent(fido, 1)])
        await otherRecorder?.appendEvents([storedEvent(fido, 1)])
        await other.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        expect(await storedEvents(other)).toBe(1)
        expect(await other.dogs()).toEqual(['Fido'])
        throw undo
      })
      await expect(transaction).rejects.toBe(undo)
      expect([await storedEvents(open), await storedEvents(other)]).toEqual([0, 1])
      expect(await other.dogs()).toEqual(['Fido'])
    })

    it('have transactions of their own, one inside the other, with ends of their own', async () => {
      const [recorder, otherRecorder] = [open, other].map(({ datastore }) => new PrismaApplicationRecorder(datastore))
      const transaction = open.datastore.transaction(async (outer) => {
        await recorder?.appendEvents([storedEvent(fido, 1)])
        await other.datastore.transaction(async (inner) => {
          expect(inner).not.toBe(outer)
          expect(open.datastore.currentTransaction).toBe(outer)
          expect(other.datastore.currentTransaction).toBe(inner)
          await otherRecorder?.appendEvents([storedEvent(rex, 1)])
          await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        })
        expect(await storedEvents(other)).toBe(1)
        const failing = other.datastore.transaction(async () => {
          await otherRecorder?.appendEvents([storedEvent(rex, 2)])
          throw new Error('only the inner one')
        })
        await expect(failing).rejects.toThrow('only the inner one')
      })
      await transaction
      expect(await open.dogs()).toEqual(['Fido'])
      expect([await storedEvents(open), await storedEvents(other)]).toEqual([1, 1])
    })
  })

  describe('a transaction that is rolled back', () => {
    it('leaves no trace of its saves and loads in memory', async () => {
      await school.register('Fido')
      const transaction = open.datastore.transaction(async () => {
        await school.addTrick('Fido', 'roll over')
        expect((await school.repository.get(Dog, Dog.createId('Fido'))).tricks).toEqual(['roll over'])
        throw undo
      })
      await expect(transaction).rejects.toBe(undo)
      const dog = await school.repository.get(Dog, Dog.createId('Fido'))
      expect([dog.version, dog.tricks]).toEqual([1, []])
      await school.addTrick('Fido', 'sit')
      expect(await school.getTricks('Fido')).toEqual(['sit'])
      expect(await storedVersions('Fido')).toEqual([1, 2])
    })

    it('leaves aggregates that cannot be saved any more, so that no stream gets a gap', async () => {
      await school.register('Fido')
      const dog = await school.repository.get(Dog, Dog.createId('Fido'))
      const transaction = open.datastore.transaction(async (tx) => {
        dog.addTrick('roll over')
        await school.save(dog)
        await tx.flush()
        throw undo
      })
      await expect(transaction).rejects.toBe(undo)
      dog.addTrick('sit')
      await expect(school.save(dog)).rejects.toBeInstanceOf(ConcurrencyError)
      dog.addTrick('beg')
      await expect(open.datastore.transaction(() => school.save(dog))).rejects.toBeInstanceOf(ConcurrencyError)
      expect(await storedVersions('Fido')).toEqual([1])
      await school.addTrick('Fido', 'fetch')
      expect(await school.getTricks('Fido')).toEqual(['fetch'])
      // Another writer has stored the version that the aggregate believes to be its own.
      dog.addTrick('play dead')
      await expect(school.save(dog)).rejects.toBeInstanceOf(ConcurrencyError)
      expect(await school.getTricks('Fido')).toEqual(['fetch'])
    })

    it.each([
      ['whose save met a conflict', false],
      ['whose flush met a conflict', true],
    ])('so does an aggregate %s, although the transaction goes on', async (_label, inTransaction) => {
      await school.register('Fido')
      const [dog, other] = await Promise.all([1, 2].map(() => school.repository.get(Dog, Dog.createId('Fido'))))
      other?.addTrick('sit')
      await school.save(other)
      const lose = async (): Promise<void> => {
        dog?.addTrick('beg')
        const tx = open.datastore.tryCurrentTransaction
        await expect(school.save(dog).then(() => tx?.flush())).rejects.toBeInstanceOf(ConcurrencyError)
        dog?.addTrick('roll over')
        await expect(school.save(dog)).rejects.toBeInstanceOf(ConcurrencyError)
      }
      await (inTransaction ? open.datastore.transaction(lose) : lose())
      expect(await school.getTricks('Fido')).toEqual(['sit'])
    })

    it('leaves aggregates alone whose events were stored by another part of it', async () => {
      await school.register('Fido')
      const dog = await school.repository.get(Dog, Dog.createId('Fido'))
      await open.datastore.transaction(async () => {
        dog.addTrick('sit')
        await school.save(dog)
        await open.datastore
          .transaction(
            async () => {
              await school.register('Rex')
              throw undo
            },
            { propagation: 'nested' },
          )
          .catch(() => undefined)
      })
      dog.addTrick('beg')
      await school.save(dog)
      expect(await school.getTricks('Fido')).toEqual(['sit', 'beg'])
    })
  })

  it('a conflict that was caught leaves the transaction usable [264]', async () => {
    await school.register('Fido')
    await open.datastore.transaction(async (tx) => {
      await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      await school.register('Rex')
      await tx.flush()
      await school.register('Fido')
      await expect(tx.flush()).rejects.toBeInstanceOf(ConcurrencyError)
      await school.addTrick('Fido', 'sit')
      await open.db.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
    })
    expect(await open.dogs()).toEqual(['Fido', 'Rex'])
    expect(await school.getTricks('Fido')).toEqual(['sit'])
    expect(await school.getTricks('Rex')).toEqual([])
    expect(await storedVersions('Fido')).toEqual([1, 2])
  })
})

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  it('a transaction that stays open after its events were written keeps no other writer waiting', async () => {
    const open = await openDatabase(kind)
    const school = new TrainingSchool({ datastore: open.datastore })
    await school.register('Warm')
    const flushed = newGate()
    const mayEnd = newGate()
    const held = open.datastore.transaction(async (tx) => {
      await school.register('Fido')
      await tx.flush()
      flushed.open()
      await mayEnd.opened
    })
    await flushed.opened
    // Who had to wait for the transaction would wait until its own deadline, and fail.
    for (let n = 0; n < 10; n++) await open.datastore.transaction(() => school.register(`Rex${n}`))
    expect(await school.getTricks('Rex9')).toEqual([])
    mayEnd.open()
    await held
    expect(await school.getTricks('Fido')).toEqual([])
    await open.close()
  })
})

interface SqliteSource {
  readonly name: string
  /** Makes the adapter of a database with or without tables, and what removes the database. */
  readonly make: () => Promise<{ readonly adapter: Adapter; readonly drop: () => Promise<void> }>
}

const inFiles = databasesOf('sqlite').map(
  (kind): SqliteSource => ({
    name: kind.name,
    async make() {
      const database = await kind.createDatabase()
      return { adapter: database.adapter(), drop: () => database.drop() }
    },
  }),
)

function newBetterSqlite3(url: string): Adapter {
  const { PrismaBetterSqlite3 }: { PrismaBetterSqlite3: new (options: { url: string }) => Adapter } = createRequire(
    import.meta.url,
  )('@prisma/adapter-better-sqlite3')
  return new PrismaBetterSqlite3({ url })
}

const inMemory = databasesOf('sqlite').map(
  (kind): SqliteSource => ({
    name: `${kind.name}, in memory`,
    make: async () => ({
      adapter: kind.name.includes('libsql') ? new PrismaLibSql({ url: ':memory:' }) : newBetterSqlite3(':memory:'),
      drop: async () => {},
    }),
  }),
)

describe.each([...inFiles, ...inMemory])('on $name', ({ make }) => {
  it('two transactions at the same time neither wait for each other for ever nor see each other [262]', async () => {
    const { adapter, drop } = await make()
    const datastore = new PrismaDatastore({ adapter })
    const recorder = new PrismaApplicationRecorder(datastore)
    await recorder.createTable()
    const seen: Record<string, number[]> = {}
    const write = async (id: string, otherId: string): Promise<void> => {
      await datastore.transaction(async (tx) => {
        await delay(5)
        await recorder.appendEvents([storedEvent(id, 1)])
        await tx.flush()
        await delay(20)
        expect(versionsOf(await recorder.selectEvents(id))).toEqual([1])
        seen[id] = versionsOf(await recorder.selectEvents(otherId))
        throw undo
      })
    }
    const results = await Promise.allSettled([write(fido, rex), write(rex, fido)])
    expect(results.map((result) => result.status === 'rejected' && result.reason)).toEqual([undo, undo])
    expect(seen).toEqual({ [fido]: [], [rex]: [] })
    expect(await recorder.selectNotifications(null, 10)).toEqual([])

    const commit = (id: string): Promise<void> =>
      datastore.transaction(async () => {
        const before = await recorder.selectNotifications(null, 10)
        await delay(20)
        expect(await recorder.selectNotifications(null, 10)).toEqual(before)
        await recorder.appendEvents([storedEvent(id, 1)])
        await delay(5)
      })
    await Promise.all([commit(fido), commit(rex)])
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(2)
    await datastore.close()
    await drop()
  })
})
