/** What the protection of the log costs writers whose transactions stay open after their save: both ways, in turns, in one run. */
import { setTimeout as delay } from 'node:timers/promises'
import { PrismaPg } from '@prisma/adapter-pg'
import { NAMESPACE_URL, PrismaApplicationRecorder, PrismaDatastore, uuid5 } from '../../src/index.js'
import type { TestDatabaseKind } from '../support/databases.js'
import { unprotect } from './unprotected.js'

const writers = 16
const openMs = 50
const roundMs = 3_000
const rounds = 7

/** Transactions per second, one number for each round. */
export interface Throughput {
  readonly protected: readonly number[]
  readonly unprotected: readonly number[]
}

/** Measures on a fresh PostgreSQL database. */
export async function measureThroughput(kind: TestDatabaseKind): Promise<Throughput> {
  const database = await kind.createDatabase()
  const newDatastore = (): PrismaDatastore =>
    new PrismaDatastore({ adapter: new PrismaPg({ connectionString: database.url, max: writers }) })
  const [shielded, bare] = [newDatastore(), newDatastore()]
  unprotect(bare)
  const [protectedRecorder, bareRecorder] = [
    new PrismaApplicationRecorder(shielded),
    new PrismaApplicationRecorder(bare),
  ]
  const measured = { protected: [] as number[], unprotected: [] as number[] }
  await round(shielded, protectedRecorder, 'warm up')
  await round(bare, bareRecorder, 'warm up too')
  for (let n = 0; n < rounds; n += 1) {
    measured.protected.push(await round(shielded, protectedRecorder, `protected ${n}`))
    measured.unprotected.push(await round(bare, bareRecorder, `unprotected ${n}`))
  }
  await shielded.close()
  await bare.close()
  await database.drop()
  return measured
}

async function round(datastore: PrismaDatastore, recorder: PrismaApplicationRecorder, name: string): Promise<number> {
  const start = performance.now()
  let stored = 0
  const write = async (writer: number): Promise<void> => {
    for (let n = 0; performance.now() - start < roundMs; n += 1) {
      const originatorId = uuid5(NAMESPACE_URL, `/${name}/${writer}/${n}`)
      await datastore.transaction(async (tx) => {
        await recorder.appendEvents([
          { originatorId, originatorVersion: 1, topic: 'Written', state: new Uint8Array(200) },
        ])
        await tx.flush()
        await delay(openMs)
      })
      stored += 1
    }
  }
  await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)))
  return stored / ((performance.now() - start) / 1000)
}
