/** Projections in parts, on every database: each event in one of them, and a wait for all. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { defineProjection, on, type Projection, ProjectionRunner } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const timeoutMs = 30_000

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
  })
  afterEach(async () => {
    await open.close()
  })

  const inParts = (partitions: number, version = 1): Projection =>
    defineProjection({
      name: 'owners',
      version,
      partitions,
      models: ['Owner'],
      on: [
        on(Dog, 'Registered', async ({ originatorId }) => {
          await open.db.owner.create({ data: { dog: originatorId, name: 'x' } })
        }),
      ],
    })

  async function runnerOf(projection: Projection): Promise<ProjectionRunner> {
    const runner = new ProjectionRunner({ application: school, datastore: open.datastore, projections: [projection] })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  it('handles each event in one part', async () => {
    const runner = await runnerOf(inParts(4))
    await runner.start()
    for (let n = 0; n < 9; n += 1) await school.register(`Dog ${n}`)
    await runner.wait('owners', 9n, { timeoutMs })
    expect(await open.dogs()).toHaveLength(9)
    await vi.waitFor(() => expect(runner.stats['owners']).toMatchObject({ events: 9, state: 'running' }), {
      timeout: timeoutMs,
    })
  })

  it('is divided anew while it is paused and level, and goes on where it was', async () => {
    const two = await runnerOf(inParts(2))
    for (let n = 0; n < 5; n += 1) await school.register(`Dog ${n}`)
    await two.runOnce()
    await two.pause('owners')
    const four = await runnerOf(inParts(4))
    await four.runOnce()
    await four.resume('owners')
    await school.register('Rex')
    await four.runOnce()
    expect(await open.dogs()).toHaveLength(6)
    await expect(two.runOnce()).rejects.toThrow(/pause it/)
    await four.pause('owners')
    const table = open.quoted('trainingschool_projections')
    await open.database.query(`UPDATE ${table} SET position = 3 WHERE ${open.quoted('partition')} = 1`)
    await expect(two.runOnce()).rejects.toThrow(/Let it come to the end/)
  })

  it('keeps its number of parts with its version', async () => {
    await school.register('Fido')
    await (await runnerOf(inParts(2))).runOnce()
    await expect((await runnerOf(inParts(3))).runOnce()).rejects.toThrow(/greater version/)
    await school.register('Rex')
    await (await runnerOf(inParts(3, 2))).runOnce()
    expect(await open.dogs()).toHaveLength(2)
  })
})
