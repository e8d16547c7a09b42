/** Decisions under load, and the judge of them: each event of a decision must follow from what is stored before it. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { Application, PrismaDatastore } from '../../../src/index.js'
import { bundled } from '../../support/bundled.js'
import type { TestDatabaseKind } from '../../support/databases.js'
import { type Counts, type DecisionPlan, type DecisionSettings, mostCourses } from './plan.js'

/** What came of it. */
export interface DecisionResult extends Omit<Counts, 'others'> {
  readonly others: Readonly<Record<string, number>>
  /** Events of decisions. */
  readonly decided: number
  /** Of these, such as do not follow from what is stored before them. */
  readonly wrong: number
}

const program = new URL('./worker.ts', import.meta.url)

/** Runs it on a fresh database of this kind. */
export async function tortureDecisions(kind: TestDatabaseKind, settings: DecisionSettings): Promise<DecisionResult> {
  const database = await kind.createDatabase()
  try {
    const { name, provider } = kind
    const plan = { ...settings, database: name, provider, url: database.url }
    const workers = Array.from({ length: settings.processes }, (_, number) => new Worker({ ...plan, number }))
    for (const worker of workers) await worker.ready
    const startedAt = Date.now()
    const all = await Promise.all(workers.map((worker) => worker.work(startedAt)))
    await using datastore = new PrismaDatastore({ adapter: database.adapter() })
    return { ...sum(all), ...judge(await readEvents(datastore)) }
  } finally {
    await database.drop()
  }
}

class Worker {
  readonly #child: ChildProcess
  readonly ready: Promise<unknown>

  constructor(plan: DecisionPlan) {
    this.#child = fork(bundled(program), [JSON.stringify(plan)], { execArgv: [] })
    this.ready = once(this.#child, 'message')
  }

  /** @param startedAt - milliseconds since 1970, alike for all */
  async work(startedAt: number): Promise<Counts> {
    const exit = once(this.#child, 'exit')
    let counts: Counts | undefined
    this.#child.on('message', (message) => {
      counts = message as Counts // what a worker sends
    })
    this.#child.send(startedAt)
    const [code] = (await exit) as [number | null]
    if (counts === undefined) throw new Error(`A process of the torture has ended by ${code} without an answer`)
    return counts
  }
}

function sum(all: readonly Counts[]): Counts {
  const total: Counts = { committed: 0, refused: 0, rolledBack: 0, conflicts: 0, deadlocks: 0, others: {} }
  for (const { others, ...counts } of all) {
    for (const name of ['committed', 'refused', 'rolledBack', 'conflicts', 'deadlocks'] as const)
      total[name] += counts[name]
    for (const [text, count] of Object.entries(others)) total.others[text] = (total.others[text] ?? 0) + count
  }
  return total
}

/** An event in the order of the log. */
interface Told {
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}

/** All events, in the order of the log. */
async function readEvents(datastore: PrismaDatastore): Promise<Told[]> {
  const school = new Application({ name: '', datastore })
  const store = await school.eventStore()
  const events: Told[] = []
  for (let position: bigint | null = null; ; ) {
    const page = await school.recorder.selectNotifications(position, 1_000, { inclusiveOfStart: false })
    for (const { topic, data } of await store.toDomainEvents(page)) {
      events.push({ type: topic.slice(topic.lastIndexOf('.') + 1), data })
    }
    position = page.at(-1)?.id ?? null
    if (position === null) return events
  }
}

/** Decides each of them anew. */
function judge(events: readonly Told[]): Pick<DecisionResult, 'decided' | 'wrong'> {
  const capacities = new Map<string, number>()
  const students = new Map<string, string[]>()
  const courses = new Map<string, number>()
  let [decided, wrong] = [0, 0]
  for (const { type, data } of events) {
    const [course, student] = [String(data['course']), String(data['student'])]
    if (type === 'StudentSubscribed') {
      const inCourse = students.get(course) ?? []
      const ofStudent = courses.get(student) ?? 0
      if (data['isForced'] !== true) {
        decided += 1
        const isFull = inCourse.length >= (capacities.get(course) ?? 0)
        if (isFull || ofStudent >= mostCourses || inCourse.includes(student)) wrong += 1
      }
      students.set(course, [...inCourse, student])
      courses.set(student, ofStudent + 1)
      continue
    }
    if (type === 'CourseDefined') {
      decided += 1
      if ((capacities.get(course) ?? 0) > 0) wrong += 1
    }
    capacities.set(course, Number(data['capacity']))
  }
  return { decided, wrong }
}
