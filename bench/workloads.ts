/** The workloads on the store: what each contender does in one round, and what that is divided by. */
import { randomUUID } from 'node:crypto'
import { type BenchEvent, type Contender, eventsOf } from './contender.js'
import { medians, type Timed } from './measure.js'

/** Medians of one workload, in microseconds for one operation. */
export interface Result {
  readonly workload: string
  readonly medians: ReadonlyMap<string, number>
}

/** How thorough a run is. */
export interface Effort {
  /** Rounds of a short workload; longer ones have fewer. */
  readonly rounds: number
  /** Events in the log that is read. */
  readonly logSize: number
}

/** Runs everything on contenders that share one database. */
export async function runWorkloads(contenders: readonly Contender[], effort: Effort): Promise<Result[]> {
  const results: Result[] = []
  for (const count of [1, 10, 100, 1000]) results.push(await append(contenders, count, effort))
  for (const count of [10, 100, 1000]) results.push(await load(contenders, count, effort))
  for (const inFlight of [1, 16]) results.push(await command(contenders, inFlight, effort))
  results.push(await readLog(contenders, effort))
  return results
}

async function append(contenders: readonly Contender[], count: number, { rounds }: Effort): Promise<Result> {
  const timed = contenders.map((contender): Timed => {
    let events: BenchEvent[] = []
    return {
      contender: contender.name,
      prepare: async () => {
        events = eventsOf(randomUUID(), 1, count)
      },
      work: async () => await contender.append(events),
    }
  })
  return { workload: `append ${count}`, medians: await medians(fewer(rounds, count), timed) }
}

async function load(contenders: readonly Contender[], count: number, { rounds }: Effort): Promise<Result> {
  const originatorId = randomUUID()
  await contenders[0]?.append(eventsOf(originatorId, 1, count))
  const timed = contenders.map(
    (contender): Timed => ({
      contender: contender.name,
      work: async () => expectCount(contender, await contender.load(originatorId), count),
    }),
  )
  return { workload: `load ${count}`, medians: await medians(fewer(rounds, count), timed) }
}

async function command(contenders: readonly Contender[], inFlight: number, { rounds }: Effort): Promise<Result> {
  const streamLength = 20
  const each = 2
  const timed = contenders.map((contender): Timed => {
    let ids: string[] = []
    return {
      contender: contender.name,
      async prepare() {
        ids = Array.from({ length: inFlight * each }, () => randomUUID())
        for (const id of ids) await contender.append(eventsOf(id, 1, streamLength))
      },
      async work() {
        const workers = Array.from({ length: inFlight }, async (_, worker) => {
          for (const id of ids.slice(worker * each, (worker + 1) * each)) {
            for (const event of eventsOf(id, streamLength + 1, 1)) await contender.command(event)
          }
        })
        await Promise.all(workers)
      },
    }
  })
  const perRound = await medians(fewer(rounds, inFlight * each), timed)
  const perCommand = new Map([...perRound].map(([name, time]) => [name, time / (inFlight * each)]))
  return { workload: `command (load 20, append 1), ${inFlight} in flight`, medians: perCommand }
}

async function readLog(contenders: readonly Contender[], { logSize }: Effort): Promise<Result> {
  const [first] = contenders
  if (first !== undefined) {
    for (let missing = logSize - (await first.readLog()); missing > 0; missing -= 1_000) {
      await first.append(eventsOf(randomUUID(), 1, Math.min(1_000, missing)))
    }
  }
  const expected = await first?.readLog()
  const timed = contenders.map(
    (contender): Timed => ({
      contender: contender.name,
      work: async () => expectCount(contender, await contender.readLog(), expected ?? 0),
    }),
  )
  return { workload: `read a log of ${expected?.toLocaleString('en')}`, medians: await medians(5, timed) }
}

function expectCount(contender: Contender, found: number, expected: number): void {
  if (found !== expected) throw new Error(`${contender.name} read ${found} events instead of ${expected}`)
}

function fewer(rounds: number, size: number): number {
  return Math.max(10, Math.round(rounds / Math.sqrt(size)))
}
