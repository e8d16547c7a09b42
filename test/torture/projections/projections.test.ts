/** A short torture of projections: each event counts once, whatever happens to the runners; and without the compare-and-set it does not. */
import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { databasesOf, oneOfEach } from '../../support/databases.js'
import { tortureProjections } from './torture.js'

const seed = Number(process.env['TORTURE_SEED'] ?? randomInt(2 ** 31))
const told = `TORTURE_SEED=${seed}`

describe.each(oneOfEach)('projections on $name', (kind) => {
  it('double nothing and miss nothing, although their runners are killed, and stopped beyond their lease', async () => {
    const settings = { events: 1_500, runners: 2, kills: 1, stops: 1, seed, rebuilds: true }
    const { doubled, missed, wrongSums, kills, stops } = await tortureProjections(kind, settings)
    expect({ doubled, missed, wrongSums, kills, stops }, told).toEqual({
      doubled: 0,
      missed: 0,
      wrongSums: 0,
      kills: 1,
      stops: 1,
    })
  }, 300_000)
})

describe.each(databasesOf('postgresql'))('projections on $name without the compare-and-set', (kind) => {
  it('are seen by the torture to count events twice', async () => {
    const settings = { events: 3_000, runners: 2, kills: 0, stops: 3, seed, isProtected: false }
    const { doubled, wrongSums } = await tortureProjections(kind, settings)
    expect(doubled + wrongSums, told).toBeGreaterThan(0)
  }, 300_000)
})
