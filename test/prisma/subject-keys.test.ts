/** Subject keys on Prisma keep the promises of all subject key recorders on every database, also in transactions. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CommitUnknownError, InterfaceError, PersistenceError, PrismaDatastore } from '../../src/index.js'
import { InMemorySubjectKeyRecorder, PrismaSubjectKeyRecorder, type SubjectKey } from '../../src/recorders.js'
import { faultyAdapter, subjectKeyRecorderContract } from '../../src/testing/index.js'
import { databases, databasesOf } from '../support/databases.js'
import { inMemorySqlites } from '../support/in-memory-sqlite.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const framework = { describe, it, expect }
const undo = new Error('undo')
const key = (subject: string, byte: number): SubjectKey => ({ subject, key: new Uint8Array([byte]) })

function contractOn(datastore: () => PrismaDatastore, options: { readonly schema?: string } = {}): void {
  let tables = 0
  subjectKeyRecorderContract(framework, 'PrismaSubjectKeyRecorder', async () => {
    tables += 1
    const recorder = new PrismaSubjectKeyRecorder(datastore(), { ...options, keysTable: `keys_${tables}` })
    await recorder.createTable()
    return { recorder }
  })
}

describe('in memory', () => {
  subjectKeyRecorderContract(framework, 'InMemorySubjectKeyRecorder', async () => ({
    recorder: new InMemorySubjectKeyRecorder(),
  }))
})

describe.each(inMemorySqlites)('on $name', ({ adapter }) => {
  let datastore: PrismaDatastore
  beforeAll(() => {
    datastore = new PrismaDatastore({ adapter: adapter() })
  })
  afterAll(async () => {
    await datastore.close()
  })

  contractOn(() => datastore)
})

describe.each(databasesOf('postgresql'))('in a named schema on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind, { schema: 'kennel' })
  })
  afterAll(async () => {
    await open.close()
  })

  contractOn(() => open.datastore, { schema: 'vet' })

  it('has its table there, or else where the datastore says', async () => {
    for (const options of [{}, { schema: 'vet' }]) {
      const recorder = new PrismaSubjectKeyRecorder(open.datastore, { ...options, keysTable: 'placed_keys' })
      await recorder.createTable()
      await recorder.insertKeys([key('ann', 1)])
    }
    const tables = `SELECT table_schema FROM information_schema.tables WHERE table_name = 'placed_keys' ORDER BY 1`
    expect(await open.database.query(tables)).toEqual([{ table_schema: 'kennel' }, { table_schema: 'vet' }])
    for (const schema of ['kennel', 'vet']) {
      expect(await open.database.query(`SELECT subject FROM ${schema}.placed_keys`)).toEqual([{ subject: 'ann' }])
    }
  })
})

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  contractOn(() => open.datastore)

  it('works in the current transaction, and comes to nothing with its rollback', async () => {
    const recorder = new PrismaSubjectKeyRecorder(open.datastore)
    await recorder.insertKeys([key('ann', 1)])
    const inside = open.datastore.transaction(async () => {
      expect(await recorder.deleteKey('ann')).toBe(true)
      await recorder.insertKeys([key('bob', 2)])
      expect(await recorder.selectKeys(['ann', 'bob'])).toEqual([key('bob', 2)])
      throw undo
    })
    await expect(inside).rejects.toBe(undo)
    expect(await recorder.selectKeys(['ann', 'bob'])).toEqual([key('ann', 1)])
  })

  it.skipIf(kind.provider === 'sqlite')('gives two writers of one key at the same time the same one', async () => {
    const recorder = new PrismaSubjectKeyRecorder(open.datastore)
    for (let round = 0; round < 10; round += 1) {
      const name = `person ${round}`
      const haveRead = [newGate(), newGate()] as const
      const insert = async (own: 0 | 1): Promise<SubjectKey[]> =>
        await open.datastore.transaction(async () => {
          // Both have begun, with a snapshot where the database has such, before either writes.
          expect(await recorder.selectKeys([name])).toEqual([])
          haveRead[own].open()
          await haveRead[own === 0 ? 1 : 0].opened
          const keys = await recorder.insertKeys([key(name, own)])
          // Whoever has a key can read what was encrypted with it.
          expect(await recorder.selectKeys([name])).toEqual(keys)
          return keys
        })
      const [one, other] = await Promise.all([insert(0), insert(1)])
      expect(one).toEqual(other)
      expect(await recorder.selectKeys([name])).toEqual(one)
    }
  })

  it('gives writers of many keys, in any order, the same ones', async () => {
    const recorder = new PrismaSubjectKeyRecorder(open.datastore)
    const names = Array.from({ length: 250 }, (_, index) => `one of many ${index}`)
    const insert = async (byte: number, order: readonly string[], alone: boolean): Promise<SubjectKey[]> => {
      const work = async (): Promise<SubjectKey[]> => await recorder.insertKeys(order.map((name) => key(name, byte)))
      return alone ? await work() : await open.datastore.transaction(work)
    }
    const found = await Promise.all([
      insert(1, names, false),
      insert(2, names.toReversed(), false),
      insert(3, names.slice(100), true),
      insert(4, names.slice(0, 150).toReversed(), true),
    ])
    const stored = new Map((await recorder.selectKeys(names)).map((each) => [each.subject, each.key]))
    expect(stored.size).toBe(names.length)
    expect(found.map((keys) => keys.length)).toEqual([250, 250, 150, 150])
    for (const each of found.flat()) expect(each.key).toEqual(stored.get(each.subject))
  })

  it.each([
    ['by itself', false],
    ['in a transaction', true],
  ])('always gives a key %s, however often others delete it', async (_where, isInTransaction) => {
    const recorder = new PrismaSubjectKeyRecorder(open.datastore)
    const insert = async (round: number): Promise<number> => {
      const work = async (): Promise<SubjectKey[]> => await recorder.insertKeys([key('ann', round)])
      return (await (isInTransaction ? open.datastore.transaction(work) : work())).length
    }
    const insertMany = async (): Promise<number[]> => {
      const counts: number[] = []
      for (let round = 0; round < 60; round += 1) counts.push(await insert(round))
      return counts
    }
    const over = new AbortController()
    const deleteAlways = async (): Promise<void> => {
      while (!over.signal.aborted) await recorder.deleteKey('ann')
    }
    const deleting = deleteAlways()
    const counts = await Promise.all([insertMany(), insertMany()]).finally(() => over.abort())
    await deleting
    expect(new Set(counts.flat())).toEqual(new Set([1]))
  })

  it('says that it does not know whether a key is deleted whose answer was lost', async () => {
    const faulty = faultyAdapter(open.database.adapter())
    await using datastore = new PrismaDatastore({ adapter: faulty })
    const recorder = new PrismaSubjectKeyRecorder(datastore)
    await recorder.insertKeys([key('ann', 1)])
    faulty.failAt(1, 'failed')
    await expect(recorder.deleteKey('ann')).rejects.toBeInstanceOf(InterfaceError)
    expect(await recorder.selectKeys(['ann'])).toHaveLength(1)
    if (kind.provider === 'sqlite') return
    faulty.failAt(1, 'unanswered')
    await expect(recorder.deleteKey('ann')).rejects.toBeInstanceOf(CommitUnknownError)
    expect(await recorder.selectKeys(['ann'])).toEqual([])
  })

  it('fails before its table exists, instead of finding nothing', async () => {
    const missing = new PrismaSubjectKeyRecorder(open.datastore, { keysTable: 'missing' })
    await expect(missing.selectKeys(['ann'])).rejects.toBeInstanceOf(PersistenceError)
    await expect(missing.insertKeys([key('ann', 1)])).rejects.toBeInstanceOf(PersistenceError)
    await expect(missing.deleteKey('ann')).rejects.toBeInstanceOf(PersistenceError)
  })
})
