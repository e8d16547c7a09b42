/** A short torture of decisions on every database: none is wrong; and where what guards them is taken away, some are. */
import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { databasesOf, oneOfEach } from '../../support/databases.js'
import type { Variant } from './plan.js'
import { tortureDecisions } from './torture.js'

const seed = Number(process.env['TORTURE_SEED'] ?? randomInt(2 ** 31))
const told = `TORTURE_SEED=${seed}`
const short = { seconds: 2.5, writers: 16, processes: 2, seed }

describe.each(oneOfEach)('decisions on $name', (kind) => {
  it('are made on what is stored when they are', async () => {
    const { wrong, deadlocks, others, decided } = await tortureDecisions(kind, { ...short, variant: 'guarded' })
    expect({ wrong, deadlocks, others }, told).toEqual({ wrong: 0, deadlocks: 0, others: {} })
    expect(decided, told).toBeGreaterThan(0)
  }, 120_000)
})

const unguarded: Array<[Variant, 'postgresql' | 'mysql']> = [
  ['no-locks', 'postgresql'],
  ['plain-read', 'mysql'],
]

describe.each(unguarded)('decisions with %s', (variant, provider) => {
  it.runIf(databasesOf(provider).length > 0)(
    'are found to be wrong',
    async () => {
      for (const kind of databasesOf(provider)) {
        const { wrong } = await tortureDecisions(kind, { ...short, variant })
        expect(wrong, told).toBeGreaterThan(0)
      }
    },
    120_000,
  )
})
