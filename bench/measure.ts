/** Times contenders side by side: they take turns within one run, so that what disturbs one disturbs all. */

/** A piece of work to be timed; `prepare` is not. */
export interface Timed {
  readonly contender: string
  prepare?(): Promise<void>
  work(): Promise<unknown>
}

/** The median of each contender, in microseconds. */
export async function medians(rounds: number, timed: readonly Timed[]): Promise<Map<string, number>> {
  const times = new Map<string, number[]>(timed.map(({ contender }) => [contender, []]))
  const warmUp = Math.max(2, Math.ceil(rounds / 10))
  for (let round = 0; round < rounds + warmUp; round += 1) {
    // Another one goes first each time.
    const order = timed.map((_, index) => timed[(index + round) % timed.length])
    for (const one of order) {
      if (one === undefined) continue
      await one.prepare?.()
      const start = process.hrtime.bigint()
      await one.work()
      const microseconds = Number(process.hrtime.bigint() - start) / 1000
      if (round >= warmUp) times.get(one.contender)?.push(microseconds)
    }
  }
  return new Map([...times].map(([contender, values]) => [contender, median(values)]))
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}
