/** A short torture of every database: nothing is lost, repeated or out of order; and where the protection is taken away, it is. */
import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { databases, databasesOf } from '../support/databases.js'
import { torture } from './torture.js'

const seed = Number(process.env['TORTURE_SEED'] ?? randomInt(2 ** 31))
const told = `TORTURE_SEED=${seed}`

describe.each(databases)('a log on $name', (kind) => {
  it('loses nothing, repeats nothing and keeps the order of each stream, although processes are killed', async () => {
    const { readers, stored, acknowledgedAndGone, killed } = await torture(kind, {
      writers: 2,
      events: 1_000,
      seed,
      kills: 1,
    })
    expect(stored, told).toBeGreaterThanOrEqual(1_000)
    expect([acknowledgedAndGone, killed], told).toEqual([0, 1])
    expect(readers.length, told).toBe(kind.provider === 'postgresql' ? 4 : 3)
    for (const { reader, seen, lost, duplicated, outOfOrder, invented } of readers) {
      const faults = { reader, seen, lost, duplicated, outOfOrder, invented }
      expect(faults, told).toEqual({ reader, seen: stored, lost: 0, duplicated: 0, outOfOrder: 0, invented: 0 })
    }
  }, 120_000)
})

// On SQLite one transaction writes at a time: there is no protection that could be taken away.
describe.each(databasesOf('postgresql', 'mysql'))('a log on $name without its protection', (kind) => {
  it('is seen to lose events', async () => {
    const { readers } = await torture(kind, { writers: 2, events: 1_000, seed, kills: 0, isProtected: false })
    expect(
      readers.reduce((sum, { lost }) => sum + lost, 0),
      told,
    ).toBeGreaterThan(0)
  }, 120_000)
})
