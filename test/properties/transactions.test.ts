/**
 * Any interleaving of what transactions can do stores exactly what was committed, and shows inside what the model says.
 *
 * A failure is printed with its seed and path. TRANSACTIONS_SEED and TRANSACTIONS_PATH run it again (where transactions
 * were side by side the database has its part in the order); TRANSACTIONS_RUNS makes a longer run, such as 10000 (default
 * 100 for each database, and fewer where these take longer than 8 s).
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { databasesOf, oneOfEach } from '../support/databases.js'
import { Lane } from './lane.js'
import { ModelDatabase, type ModelEvent, ModelScope } from './model.js'
import { faults, withFault, wrongModels } from './mutants.js'
import { lanes, type Part } from './steps.js'
import { tables, World } from './world.js'

const { TRANSACTIONS_RUNS, TRANSACTIONS_SEED, TRANSACTIONS_PATH } = process.env
const numRuns = Number(TRANSACTIONS_RUNS ?? 100)
const limitMs = TRANSACTIONS_RUNS === undefined ? 8_000 : numRuns * 1_000
const parameters = {
  numRuns,
  interruptAfterTimeLimit: limitMs,
  ...(TRANSACTIONS_SEED === undefined ? {} : { seed: Number(TRANSACTIONS_SEED) }),
  ...(TRANSACTIONS_PATH === undefined ? {} : { path: TRANSACTIONS_PATH }),
}

/** The property on one database. @param Scope - the model, or a wrong one */
function storesWhatWasCommitted(
  world: World,
  Scope: typeof ModelScope = ModelScope,
): fc.IAsyncPropertyWithHooks<[Part[][], fc.Scheduler]> {
  const isRight = async (laneParts: Part[][], scheduler: fc.Scheduler): Promise<void> => {
    const isAlone = laneParts.length === 1
    const run = await world.newRun(laneParts.length, async (step) => {
      if (!isAlone) await scheduler.schedule(Promise.resolve(), step)
    })
    const isContended = (stream: string): boolean => !isAlone && stream === run.sharedStream
    const wasWritten = ({ label }: ModelEvent): boolean => run.ids.has(label)
    const all = laneParts.map((parts, at) => ({
      parts,
      lane: new Lane(run, String(at), new ModelDatabase({ isContended, wasWritten, Scope })),
    }))
    let isOver = false
    const [ends, ...followed] = await Promise.all([
      scheduler.waitFor(Promise.allSettled(all.map(({ parts, lane }) => lane.transactions(parts)))).finally(() => {
        isOver = true
      }),
      ...tables.map((table) => run.follow(table, () => isOver)),
    ])
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    const committed = all.map(({ lane }) => lane.committed)
    for (const [at, table] of tables.entries()) await run.check(table, committed, followed[at] ?? [])
    run.checkSeen(committed)
  }
  return fc.asyncProperty(lanes, fc.scheduler(), (laneParts, scheduler) => world.during(isRight(laneParts, scheduler)))
}

describe.each(oneOfEach)('on $name', (kind) => {
  let world: World
  beforeAll(async () => {
    world = await World.on(kind)
  })
  afterAll(async () => {
    await world.close()
  })

  it(
    'transactions store exactly what was committed, in order, and read what the model says',
    async () => {
      await fc.assert(storesWhatWasCommitted(world), parameters)
    },
    limitMs + 60_000,
  )
})

/** Of transactions side by side: Prisma has sent the statement of one in the context of another, which had the only writer. */
const failedBefore = { seed: -364492268, path: '6:1:2:2:2:2:2:2:2:2:3:3:9:3:4:5:6:6:6:6:6:7:7', endOnFailure: true }

describe.each(databasesOf('sqlite'))('on $name,', (kind) => {
  it('what has failed before holds', async () => {
    const world = await World.on(kind)
    await fc.assert(storesWhatWasCommitted(world), failedBefore)
    await world.close()
  })
})

/** The databases whose transactions are statements; one of them is always there. */
describe.each(databasesOf('sqlite').slice(-1))('the property, on $name,', (kind) => {
  const untilFound = { numRuns: 1_000, endOnFailure: true }

  it('holds where statements are passed on as they are', async () => {
    const world = await World.on(withFault(kind, (sql) => sql))
    await fc.assert(storesWhatWasCommitted(world), { ...parameters, numRuns: 20 })
    await world.close()
  })

  it.each(Object.entries(faults))('finds a database that %s', async (_, rewrite) => {
    const world = await World.on(withFault(kind, rewrite))
    const { failed } = await fc.check(storesWhatWasCommitted(world), untilFound)
    expect(failed).toBe(true)
    await world.close()
  })

  it.each(Object.entries(wrongModels))('finds that the database is not as a model that %s', async (_, Scope) => {
    const world = await World.on(kind)
    const { failed } = await fc.check(storesWhatWasCommitted(world, Scope), untilFound)
    expect(failed).toBe(true)
    await world.close()
  })

  it('tells how to run a failure again', async () => {
    const world = await World.on(kind)
    const failing = fc.assert(storesWhatWasCommitted(world, wrongModels['runs hooks from the last to the first']), {
      numRuns: 1_000,
      endOnFailure: true,
    })
    await expect(failing).rejects.toThrow(/seed: -?\d+, path: "[\d:]+"/)
    await world.close()
  })
})
