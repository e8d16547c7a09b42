/** One look at the rows of projections for all who wait: it belongs to none of them. */
import { expect, it, onTestFinished } from 'vitest'
import type { Projection } from '../../src/index.js'
import type { ProjectionRecorder, ProjectionRow } from '../../src/persistence/projection-recorder.js'
import { PositionWaits } from '../../src/projection/position-waits.js'
import { openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'

it('goes on when the transaction has ended in which the first of them waits', async () => {
  const [kind] = databases
  if (kind === undefined) throw new Error('there is no database')
  const open = await openDatabase(kind)
  onTestFinished(() => open.close())
  let position = 0n
  const projection = { name: 'dogs', version: 1, partitions: 1 } as Projection
  const row = (): Partial<ProjectionRow> => ({ name: 'dogs', version: 1, upstream: 'School', position, status: 'live' })
  const recorder = { rows: async () => [row()], mayPass: () => false } as unknown as ProjectionRecorder
  const asked: bigint[] = []
  const waits = new PositionWaits(recorder, {
    name: 'School',
    // As an application's, it reads in the transaction around it, where there is one.
    async endBefore(furthest) {
      await open.db.owner.count()
      asked.push(furthest)
      return undefined
    },
  })
  let later: Promise<void> | undefined
  await open.datastore.transaction(async () => {
    const first = waits.wait(projection, 10n)
    later = waits.wait(projection, 100n, { timeoutMs: 20_000 })
    position = 10n
    waits.moved()
    await first
  })
  await waits.wait(projection, 3n)
  position = 100n
  waits.moved()
  await later
  expect(asked).toEqual([10n])
})
