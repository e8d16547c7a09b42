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

/** The medians of each contender. @param operations - how many of them one round does */
export async function medians(rounds: number, timed: readonly Timed[], operations = 1): Promise<Map<string, Cost>> {
  const costs = new Map<string, Cost[]>(timed.map(({ contender }) => [contender, []]))
  const warmUp = Math.max(5, Math.ceil(rounds / 10))
  for (let round = 0; round < rounds + warmUp; round += 1) {
    // Another one goes first each time.
    const order = timed.map((_, index) => timed[(index + round) % timed.length])
    for (const one of order) {
      if (one === undefined) continue
      await one.prepare?.()
      const before = process.cpuUsage()
      const start = process.hrtime.bigint()
      await one.work()
      const wall = Number(process.hrtime.bigint() - start) / 1000
      const { user, system } = process.cpuUsage(before)
      const cost = { wall: wall / operations, processor: (user + system) / operations }
      if (round >= warmUp) costs.get(one.contender)?.push(cost)
    }
  }
  return new Map(
    [...costs].map(([contender, each]) => [
      contender,
      { wall: median(each.map(({ wall }) => wall)), processor: median(each.map(({ processor }) => processor)) },
    ]),
  )
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}
