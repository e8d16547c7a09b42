/** Times contenders side by side: they take turns within one run, so that what disturbs one disturbs all. */

/** A piece of work to be timed; `prepare` is not. */
export interface Timed {
  readonly contender: string
  prepare?(): Promise<void>
  work(): Promise<unknown>
}

/** What an operation costs, in microseconds. */
export interface Cost {
  readonly wall: number
  /** The processor time of this process, its threads included: without the database, unless that runs inside of it. */
  readonly processor: number
}

/** Medians of one workload, for one operation. */
export interface Result {
  readonly workload: string
  readonly medians: ReadonlyMap<string, Cost>
}

/** How long each contender works before it counts: a server has been up for longer, and its functions are compiled. */
const warmUpMs = 1_000
const leastWarmUp = 5
const mostWarmUp = 60

/** The medians of each contender. @param operations - how many of them one round does */
export async function medians(rounds: number, timed: readonly Timed[], operations = 1): Promise<Map<string, Cost>> {
  const costs = new Map<string, Cost[]>(timed.map(({ contender }) => [contender, []]))
  const begin = performance.now()
  const isWarm = (): boolean => performance.now() - begin >= warmUpMs * timed.length
  let round = 0
  while (round < leastWarmUp || (round < mostWarmUp && !isWarm())) await runRound(timed, (round += 1), operations)
  for (const last = round + rounds; round < last; ) {
    for (const [contender, cost] of await runRound(timed, (round += 1), operations)) costs.get(contender)?.push(cost)
  }
  return new Map(
    [...costs].map(([contender, each]) => [
      contender,
      { wall: median(each.map(({ wall }) => wall)), processor: median(each.map(({ processor }) => processor)) },
    ]),
  )
}

/** All contenders, each time with another one first. */
async function runRound(timed: readonly Timed[], round: number, operations: number): Promise<Array<[string, Cost]>> {
  const costs: Array<[string, Cost]> = []
  for (const index of timed.keys()) {
    const one = timed[(index + round) % timed.length]
    if (one === undefined) continue
    await one.prepare?.()
    const before = process.cpuUsage()
    const start = process.hrtime.bigint()
    await one.work()
    const wall = Number(process.hrtime.bigint() - start) / 1000
    const { user, system } = process.cpuUsage(before)
    costs.push([one.contender, { wall: wall / operations, processor: (user + system) / operations }])
  }
  return costs
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}
