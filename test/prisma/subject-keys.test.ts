/** Subject keys on Prisma keep the promises of all subject key recorders on every database, also in transactions. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { InMemorySubjectKeyRecorder, type PrismaDatastore, PrismaSubjectKeyRecorder } from '../../src/index.js'
import { subjectKeyRecorderContract } from '../../src/testing/index.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const framework = { describe, it, expect }
const undo = new Error('undo')
const key = (subject: string, byte: number) => ({ subject, key: new Uint8Array([byte]) })

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

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  contractOn(() => open.datastore)
  if (kind.provider === 'postgresql') contractOn(() => open.datastore, { schema: 'kennel' })

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

  it('gives two writers of one key at the same time the same one', async () => {
    const recorder = new PrismaSubjectKeyRecorder(open.datastore)
    for (let round = 0; round < 5; round += 1) {
      const name = `person ${round}`
      const insert = async (byte: number) =>
        await open.datastore.transaction(async () => {
          // The transaction has begun, with a snapshot where the database has such.
          expect(await recorder.selectKeys([name])).toEqual([])
          const keys = await recorder.insertKeys([key(name, byte)])
          // Long enough for the other to wait for this one's row.
          await new Promise((resolve) => setTimeout(resolve, 20))
          return keys
        })
      const [one, other] = kindOfWriters(kind.provider)
        ? await Promise.all([insert(1), insert(2)])
        : [await insert(1), await recorder.insertKeys([key(name, 2)])]
      expect(one).toEqual(other)
      expect(await recorder.selectKeys([name])).toEqual(one)
    }
  })
})

/** Whether two transactions can write at the same time. */
function kindOfWriters(provider: string): boolean {
  return provider !== 'sqlite'
}
