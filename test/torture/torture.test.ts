/** A short torture of every database: nothing is lost, repeated or out of order; and where the protection is taken away, it is. */
import { randomInt, randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { PrismaApplicationRecorder, PrismaDatastore, type StoredEvent } from '../../src/index.js'
import { databasesOf, oneOfEach } from '../support/databases.js'
import { torture } from './torture.js'
import { unprotect } from './unprotected.js'

const seed = Number(process.env['TORTURE_SEED'] ?? randomInt(2 ** 31))
const told = `TORTURE_SEED=${seed}`

describe.each(oneOfEach)('a log on $name', (kind) => {
  it('loses nothing, repeats nothing and keeps the order of each stream, although processes are killed', async () => {
    const { readers, stored, acknowledgedAndGone, holes, writersKilled } = await torture(kind, {
      writers: 2,
      events: 1_000,
      seed,
      kills: 1,
    })
    expect(stored, told).toBeGreaterThanOrEqual(1_000)
    expect([acknowledgedAndGone, holes, writersKilled], told).toEqual([0, 0, 1])
    expect(readers.length, told).toBe(kind.provider === 'postgresql' ? 5 : 4)
    for (const { reader, seen, lost, duplicated, outOfOrder, invented } of readers) {
      const faults = { reader, seen, lost, duplicated, outOfOrder, invented }
      expect(faults, told).toEqual({ reader, seen: stored, lost: 0, duplicated: 0, outOfOrder: 0, invented: 0 })
    }
  }, 120_000)
})

// On SQLite one transaction writes at a time: there is no protection that could be taken away.
describe.each(databasesOf('postgresql', 'mysql'))('a log on $name without its protection', (kind) => {
  it('loses the event of a transaction that commits after a later one', async () => {
    const database = await kind.createDatabase()
    const newDatastore = (): PrismaDatastore => new PrismaDatastore({ adapter: database.adapter() })
    // Each has a datastore of its own, as if it were another process.
    const [slow, quick, following] = [newDatastore(), newDatastore(), newDatastore()]
    const [first, second, follower] = [recorderOn(slow), recorderOn(quick), recorderOn(following)]
    const [held, later] = [randomUUID(), randomUUID()]
    const seen = await slow.transaction(async () => {
      await first.insertEvents([eventOf(held)])
      await second.insertEvents([eventOf(later)])
      return await follower.selectNotifications(null, 10)
    })
    const position = seen.at(-1)?.id ?? null
    const seenAfterwards = await follower.selectNotifications(position, 10, { inclusiveOfStart: false })
    const stored = await follower.selectEvents(held)
    await Promise.all([slow.close(), quick.close(), following.close()])
    await database.drop()
    expect(seen.map(({ originatorId }) => originatorId)).toEqual([later])
    expect([seenAfterwards.length, stored.length]).toEqual([0, 1])
  })

  it('is seen by the torture to lose events', async () => {
    const { readers } = await torture(kind, { writers: 2, events: 1_000, seed, kills: 0, isProtected: false })
    const lost = readers.reduce((sum, verdict) => sum + verdict.lost, 0)
    expect(lost, told).toBeGreaterThan(0)
  }, 120_000)
})

function recorderOn(datastore: PrismaDatastore): PrismaApplicationRecorder {
  unprotect(datastore)
  return new PrismaApplicationRecorder(datastore)
}

function eventOf(originatorId: string): StoredEvent {
  return { originatorId, originatorVersion: 1, topic: 'Written', state: new Uint8Array(1) }
}
