/** One process of a torture of decisions: some writers side by side, for so many seconds. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { AppendConditionError, PrismaDatastore } from '../../../src/index.js'
import { adapterOf } from '../open.js'
import { type Counts, coursesAtOnce, type DecisionPlan, generationMs, seats, studentsAtOnce } from './plan.js'
import { Refused, TorturedSchool } from './school.js'
import { unguard } from './unguarded.js'

class RolledBack extends Error {}

const plan: DecisionPlan = JSON.parse(process.argv[2] ?? '')
// All begin together, however long they have taken to come so far.
process.send?.('ready')
const [startedAt] = (await once(process, 'message')) as [number]
const counts: Counts = { committed: 0, refused: 0, rolledBack: 0, conflicts: 0, deadlocks: 0, others: {} }
const datastore = new PrismaDatastore({ adapter: adapterOf(plan), deadlineMs: 60_000 })
unguard(datastore, plan.variant)
const school = new TorturedSchool({ name: '', datastore })
const end = startedAt + plan.seconds * 1_000
const writers = Math.ceil(plan.writers / plan.processes)
await Promise.all(Array.from({ length: writers }, (_, number) => write(plan.number * writers + number)))
await datastore.close()
process.send?.(counts)
process.disconnect()

async function write(writer: number): Promise<void> {
  const random = randomNumbers(plan.seed + writer * 7_919)
  while (Date.now() < end) {
    const generation = Math.floor((Date.now() - startedAt) / generationMs)
    const course = `${generation}-${Math.floor(random() * coursesAtOnce)}`
    const student = `${generation}-${Math.floor(random() * studentsAtOnce)}`
    try {
      await act(random, course, student)
      counts.committed += 1
    } catch (error) {
      count(error)
    }
  }
}

/** Most decide in a transaction that stays open for a while; some at once; some without asking. */
async function act(random: () => number, course: string, student: string): Promise<void> {
  const kind = random()
  const [openMs, lock, fails] = [random() * 50, random() < 0.15, random() < 0.1]
  if (kind < 0.05) await school.force(course, student)
  else if (kind < 0.1) await school.changeCapacity(course, seats - Math.floor(random() * 3))
  else if (kind < 0.2) await school.subscribeStudent(course, student, lock)
  else {
    await datastore.transaction(
      async () => {
        await school.define(course)
        await school.subscribeStudent(course, student, lock)
        // After a lock, further tags would be locked out of order, which the server may have to end as a deadlock.
        if (kind < 0.3 && !lock)
          await school.subscribeStudent(course.replace(/\d+$/, '0'), student, false).catch(unlessRefused)
        await delay(openMs)
        if (fails) throw new RolledBack()
      },
      { retries: kind < 0.5 ? 2 : 0 },
    )
  }
}

function unlessRefused(error: unknown): void {
  if (!(error instanceof Refused)) throw error
}

function count(error: unknown): void {
  if (error instanceof Refused) counts.refused += 1
  else if (error instanceof RolledBack) counts.rolledBack += 1
  else if (error instanceof AppendConditionError) counts.conflicts += 1
  else if (/deadlock/i.test(textOf(error))) counts.deadlocks += 1
  else {
    const text = textOf(error).slice(0, 160)
    counts.others[text] = (counts.others[text] ?? 0) + 1
  }
}

function textOf(error: unknown): string {
  return error instanceof Error
    ? `${error.message} ${error.cause === undefined ? '' : textOf(error.cause)}`
    : String(error)
}

/** Numbers from 0 to 1 that follow from the seed. @see mulberry32 */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
