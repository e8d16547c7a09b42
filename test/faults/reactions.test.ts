/** A reaction, and a timer, with a fault at every statement: what they save, write and have done is stored together, or not at all. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defineReaction, on, onTimer, PrismaDatastore, ProjectionRunner } from '../../src/index.js'
import { checkEveryFault, type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import { accounts, Dog, TrainingSchool } from '../application/dogs.js'
import type { TestClient } from '../prisma/open-database.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

const poison = { attempts: 100, minMs: 5, maxMs: 10 }

/** A school on a datastore, with a runner of its reaction. */
interface Place {
  readonly datastore: PrismaDatastore<TestClient>
  readonly school: TrainingSchool
  readonly runner: ProjectionRunner
}

function placeOf(database: TestDatabase, adapter: ReturnType<TestDatabase['adapter']> | FaultyAdapter): Place {
  const datastore = new PrismaDatastore<TestClient>({
    adapter,
    client: (ours) => database.newClient(ours) as TestClient,
  })
  const school = new TrainingSchool({ datastore })
  const act = async (name: string): Promise<void> => {
    await school.execute(accounts, Dog.createId(`account of ${name}`), 'open', name)
    await datastore.client.owner.create({ data: { name, dog: Dog.createId(name) } })
  }
  const reaction = defineReaction({
    name: 'acting',
    from: 'start',
    on: [
      on(Dog, 'Registered', async ({ data }) => await act((data as { readonly name: string }).name)),
      onTimer<string>('alarm', async ({ data }) => await act(data)),
    ],
  })
  return {
    datastore,
    school,
    runner: new ProjectionRunner({ application: school, datastore, projections: [reaction], poison }),
  }
}

describe.each(oneOfEach)('on $name', (kind) => {
  let database: TestDatabase
  let faults: FaultyAdapter
  let faulty: Place
  let sound: Place
  let runs = 0
  beforeAll(async () => {
    database = await kind.createDatabase()
    faults = faultyAdapter(database.adapter())
    sound = placeOf(database, database.adapter())
    await sound.school.recorder.createTable()
    await sound.runner.createTable()
    faulty = placeOf(database, faults)
  })
  afterAll(async () => {
    await Promise.all([faulty.datastore.close(), sound.datastore.close()])
    await database.drop()
  })

  const quoted = (name: string): string => (kind.provider === 'mysql' ? `\`${name}\`` : `"${name}"`)

  /** What a run has left undone is done, and its lease given up. */
  async function settled(): Promise<void> {
    await database.query(`UPDATE ${quoted('trainingschool_projections')} SET owner = NULL, leased_until = NULL`)
    await sound.runner.runOnce()
    // What the reaction has saved itself is passed by then.
    await sound.runner.runOnce()
    runs += 1
  }

  /** After the transaction it looks for what else there is to do: where that fails, all is stored, or nothing. */
  const run = async (): Promise<unknown> => await faulty.runner.runOnce().catch(() => 'unknown')

  /** The columns that are of the work, and not of the lease. */
  const snapshot = async (table: string): Promise<readonly unknown[]> => {
    const columns = { trainingschool_projections: 'position', owners: 'dog', trainingschool_timers: 'id' }
    const chosen = Object.entries(columns).find(([name]) => name === table)?.[1] ?? 'id'
    return await database.query(`SELECT ${chosen} FROM ${quoted(table)} ORDER BY ${chosen}`)
  }

  it('stores events, rows and the position of a reaction together, whatever fails', { timeout: 240_000 }, async () => {
    // What is asked once in a while is asked before statements are counted.
    for (let round = 0; round < 3; round += 1) {
      await settled()
      await sound.school.register(`dog ${runs}`)
      await run()
    }
    const { statements, changes, outcomes } = await checkEveryFault({
      faults,
      reset: async () => {
        await settled()
        await sound.school.register(`dog ${runs}`)
      },
      run,
      tables: ['trainingschool_events', 'owners', 'trainingschool_projections'],
      snapshot,
    })
    expect(changes.map(({ added }) => added)).toEqual([1, 1, 1])
    expect(outcomes).toHaveLength(statements.length * faults.kinds.length)
    await settled()
    const [events, owners] = [await snapshot('trainingschool_events'), await snapshot('owners')]
    expect(events).toHaveLength(2 * owners.length)
  })

  it('stores what a timer does with its end, whatever fails', { timeout: 240_000 }, async () => {
    const before = (await snapshot('owners')).length
    let timers = 0
    const { changes } = await checkEveryFault({
      faults,
      reset: async () => {
        await settled()
        timers += 1
        await sound.school.timers.set({
          id: `timer ${runs}`,
          at: new Date(Date.now() - 1_000),
          topic: 'alarm',
          data: `timed dog ${runs}`,
        })
      },
      run,
      tables: ['trainingschool_events', 'owners', 'trainingschool_timers'],
      snapshot,
    })
    expect(changes.map(({ added, removed }) => [added, removed])).toEqual([
      [1, 0],
      [1, 0],
      [0, 1],
    ])
    await settled()
    expect((await snapshot('owners')).length - before).toBe(timers)
  })
})
