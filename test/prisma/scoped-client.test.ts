/** Applications inside transactions that somebody else manages, with a plain PrismaClient on Prisma's own adapter. */
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  AggregateNotFoundError,
  ConcurrencyError,
  Environment,
  IntegrityError,
  NoTransactionError,
  NotSupportedError,
  PrismaFactory,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { storedEvent } from '../contracts/stored-events.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'
import { transactionClients } from './fixtures/current-tx.js'
import type { TestClient } from './open-database.js'

const fixture = fileURLToPath(new URL('./fixtures/current-tx.ts', import.meta.url))

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let client: TestClient
  let school: TrainingSchool
  const variables = (): Record<string, string> => ({
    PERSISTENCE_MODULE: 'eventsourcing-prisma',
    PRISMA_SCOPED_CLIENT_TOPIC: `${fixture}#currentTx`,
    PRISMA_URL: database.url,
  })
  beforeAll(async () => {
    database = await kind.createDatabase()
    client = database.newClient(database.adapter()) as TestClient
    school = new TrainingSchool({ env: variables() })
  })
  afterAll(async () => {
    await school.close()
    await client.$disconnect()
    await database.drop()
  })
  beforeEach(async () => {
    for (const table of ['trainingschool_events', 'owners']) await database.query(`DELETE FROM ${table}`)
  })

  const theirTransaction = async <T>(work: (tx: { readonly owner: TestClient['owner'] }) => Promise<T>): Promise<T> =>
    await client.$transaction(async (tx) => await transactionClients.run(tx, async () => await work(tx)))

  it('saves and gets inside, and is read in the next transaction after their commit [257]', async () => {
    await theirTransaction(async (tx) => {
      await school.register('Fido')
      await school.addTrick('Fido', 'roll over')
      await tx.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      expect(await school.getTricks('Fido')).toEqual(['roll over'])
    })
    await theirTransaction(async (tx) => {
      expect(await tx.owner.count()).toBe(1)
      expect(await school.getTricks('Fido')).toEqual(['roll over'])
      await school.addTrick('Fido', 'sit')
    })
    const fido = await theirTransaction(() => school.repository.get(Dog, Dog.createId('Fido')))
    expect(fido.tricks).toEqual(['roll over', 'sit'])
    expect(fido.version).toBe(3)
  })

  it('keeps nothing of a transaction that was not committed [257]', async () => {
    const undone = theirTransaction(async (tx) => {
      await tx.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      await school.register('Fido')
      expect(await school.getTricks('Fido')).toEqual([])
      throw new Error('forgotten commit')
    })
    await expect(undone).rejects.toThrow('forgotten commit')
    await theirTransaction(async (tx) => {
      await expect(school.getTricks('Fido')).rejects.toBeInstanceOf(AggregateNotFoundError)
      expect(await tx.owner.count()).toBe(0)
    })
  })

  it.each([true, false])('keeps nothing of it in a cache either [190], with fast-forward %s', async (fastForward) => {
    const cached = new TrainingSchool({ env: variables(), cache: { fastForward } })
    await theirTransaction(async () => await cached.register('Ace'))
    const undone = theirTransaction(async () => {
      await cached.register('Fido')
      await cached.addTrick('Ace', 'beg')
      expect(await cached.getTricks('Ace')).toEqual(['beg'])
      throw new Error('forgotten commit')
    })
    await expect(undone).rejects.toThrow('forgotten commit')
    await theirTransaction(async () => {
      await expect(cached.getTricks('Fido')).rejects.toBeInstanceOf(AggregateNotFoundError)
      expect(await cached.getTricks('Ace')).toEqual([])
    })
    await cached.close()
  })

  it('has the log of all that was committed', async () => {
    await theirTransaction(async () => void (await school.register('Fido')))
    await theirTransaction(async () => void (await school.register('Rex')))
    const topics = await theirTransaction(async () => {
      const notifications = await school.recorder.selectNotifications(null, 10)
      return notifications.map(({ originatorId, topic }) => [originatorId, topic])
    })
    expect(topics).toEqual([
      [Dog.createId('Fido'), 'Dog.Registered'],
      [Dog.createId('Rex'), 'Dog.Registered'],
    ])
  })

  it('finds a conflict, after which their transaction goes on', async () => {
    await theirTransaction(async () => void (await school.register('Fido')))
    await theirTransaction(async () => {
      await expect(school.register('Fido')).rejects.toBeInstanceOf(ConcurrencyError)
      await school.register('Rex')
    })
    expect(await theirTransaction(() => school.getTricks('Rex'))).toEqual([])
  })

  it('stores tracking with events, and goes on after a conflict of the two', async () => {
    const environment = new Environment('', {
      PRISMA_SCOPED_CLIENT_TOPIC: `${fixture}#currentTx`,
      PRISMA_URL: database.url,
    })
    const factory = new PrismaFactory(environment)
    await factory.prepare()
    const recorder = factory.processRecorder()
    const at = (notificationId: bigint) => ({ tracking: { applicationName: 'upstream', notificationId } })
    const event = storedEvent(Dog.createId('Fido'), 1)
    await theirTransaction(async () => {
      await recorder.insertEvents([event], at(1n))
      await expect(recorder.insertEvents([event], at(2n))).rejects.toBeInstanceOf(IntegrityError)
      expect(await recorder.maxTrackingId('upstream')).toBe(1n)
      await recorder.insertEvents([], at(3n))
    })
    expect(await theirTransaction(() => recorder.maxTrackingId('upstream'))).toBe(3n)
    expect(() => recorder.subscribe()).toThrow(NotSupportedError)
  })

  it('reads an originator from its latest snapshot on', async () => {
    const environment = new Environment('', {
      PRISMA_SCOPED_CLIENT_TOPIC: `${fixture}#currentTx`,
      PRISMA_URL: database.url,
    })
    const factory = new PrismaFactory(environment)
    await factory.prepare()
    const [events, snapshots] = [factory.applicationRecorder(), factory.aggregateRecorder('snapshots')]
    const id = Dog.createId('Rex')
    const [first, second] = [storedEvent(id, 1), { ...storedEvent(id, 2), metadata: { by: 'Ann' } }]
    await theirTransaction(async () => {
      expect(await events.selectSinceSnapshot?.(snapshots, id, { limit: 2 })).toEqual({
        snapshot: undefined,
        isAhead: false,
        events: [],
      })
      await events.insertEvents([first, second])
      await snapshots.insertEvents([first])
      const found = { snapshot: first, isAhead: false, events: [second] }
      expect(await events.selectSinceSnapshot?.(snapshots, id, { limit: 2 })).toEqual(found)
    })
  })

  it('keeps subject keys, which come to nothing with their transaction', async () => {
    const environment = new Environment('', {
      PRISMA_SCOPED_CLIENT_TOPIC: `${fixture}#currentTx`,
      PRISMA_URL: database.url,
    })
    const factory = new PrismaFactory(environment)
    await factory.prepare()
    const recorder = factory.subjectKeyRecorder()
    const keys = ['änn', 'bob'].map((subject, index) => ({ subject, key: new Uint8Array([index, 255]) }))
    await theirTransaction(async () => {
      expect(await recorder?.insertKeys(keys)).toHaveLength(2)
      expect(await recorder?.insertKeys([{ subject: 'bob', key: new Uint8Array([7]) }])).toEqual(keys.slice(1))
    })
    const undone = theirTransaction(async () => {
      expect(await recorder?.deleteKey('änn')).toBe(true)
      expect(await recorder?.deleteKey('änn')).toBe(false)
      throw new Error('forgotten commit')
    })
    await expect(undone).rejects.toThrow('forgotten commit')
    expect(await theirTransaction(async () => await recorder?.selectKeys(['änn', 'Bob']))).toEqual(keys.slice(0, 1))
    await expect(recorder?.insertKeys(keys)).rejects.toBeInstanceOf(NoTransactionError)
  })

  it('finds out the database from the client where no URL is given, and makes its tables there [258]', async () => {
    const unnamed = new TrainingSchool({
      name: 'unnamed',
      env: {
        PERSISTENCE_MODULE: 'eventsourcing-prisma',
        PRISMA_SCOPED_CLIENT_TOPIC: `${fixture}#currentTx`,
        CREATE_TABLE: 'y',
      },
    })
    await theirTransaction(async () => void (await unnamed.register('Fido')))
    expect(await theirTransaction(() => unnamed.getTricks('Fido'))).toEqual([])
    await unnamed.close()
  })

  it('refuses to work outside of any transaction', async () => {
    await expect(school.register('Fido')).rejects.toBeInstanceOf(NoTransactionError)
  })
})
