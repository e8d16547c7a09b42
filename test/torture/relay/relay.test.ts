/** A short torture of a relay with each broker: nothing is lost, nothing doubled, and each originator's events are in order. */
import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { natsUrl, rabbitUrl } from '../../relay/brokers.js'
import { databasesOf } from '../../support/databases.js'
import { tortureRelay } from './torture.js'

const seed = Number(process.env['TORTURE_SEED'] ?? randomInt(2 ** 31))
const brokers = [
  { broker: 'jetstream', url: natsUrl },
  { broker: 'rabbitmq', url: rabbitUrl },
] as const

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  describe.each(brokers)('a relay to $broker', ({ broker, url }) => {
    it.skipIf(url === undefined)(
      'loses and doubles nothing, although its processes are killed and doubled',
      async () => {
        const result = await tortureRelay(kind, { broker, events: 2_000, writers: 8, kills: 3, seed })
        expect(result.stored, `TORTURE_SEED=${seed}`).toBeGreaterThanOrEqual(2_000)
        expect(result, `TORTURE_SEED=${seed}`).toMatchObject({ lost: 0, doubled: 0, outOfOrder: 0, kills: 3 })
      },
      180_000,
    )
  })
})
