/** What a request costs with the middleware and without: servers in processes of their own, in short rounds by turns. */
import { median } from './measure.js'
import { type Cost, MeasuredServer } from './measured-server.js'

/** A comparison of two servers. */
export interface Comparison {
  readonly name: string
  /** The server that the other is compared with, and that other one: names of `httpServers`. */
  readonly servers: readonly [string, string]
  /** Requests in one round of each. */
  readonly amount: number
}

/** Medians, and the medians of what the second is to the first in each round. */
export interface ComparedCost {
  readonly name: string
  readonly costs: Readonly<Record<string, Cost>>
  readonly requestsPerSecond: number
  readonly cpuPerRequest: number
}

/** How much is measured. */
export interface Extent {
  /** How often both servers are started: processes that do the same differ from each other by more than their rounds do. */
  readonly starts: number
  /** Of each start. */
  readonly rounds: number
}

type Pair = readonly [Cost, Cost]

const warmUpRounds = 3

/** @param url - of the database, which is prepared */
export async function compareCosts(comparison: Comparison, extent: Extent, url: string): Promise<ComparedCost> {
  const pairs: Pair[] = []
  for (let start = 0; start < extent.starts; start += 1)
    pairs.push(...(await measurePairs(comparison, extent.rounds, url)))
  const ratio = (what: keyof Cost): number => median(pairs.map(([first, second]) => second[what] / first[what]))
  const { name, servers } = comparison
  return {
    name,
    costs: Object.fromEntries(servers.map((server, index) => [server, medianCost(pairs.map((pair) => pair[index]))])),
    requestsPerSecond: ratio('requestsPerSecond'),
    cpuPerRequest: ratio('cpuPerRequest'),
  }
}

async function measurePairs({ servers, amount }: Comparison, rounds: number, url: string): Promise<Pair[]> {
  const base = new MeasuredServer(servers[0], url)
  const other = new MeasuredServer(servers[1], url)
  const pairs: Pair[] = []
  try {
    await Promise.all([base.started(), other.started()])
    for (let round = -warmUpRounds; round < rounds; round += 1) {
      // The other one goes first each time.
      const second = round % 2 === 0 ? undefined : await other.measure(amount)
      const first = await base.measure(amount)
      const pair = [first, second ?? (await other.measure(amount))] as const
      if (round >= 0) pairs.push(pair)
    }
  } finally {
    base.kill()
    other.kill()
  }
  return pairs
}

function medianCost(costs: ReadonlyArray<Cost | undefined>): Cost {
  const all = (what: keyof Cost): number => median(costs.map((cost) => cost?.[what] ?? Number.NaN))
  return { requestsPerSecond: all('requestsPerSecond'), cpuPerRequest: all('cpuPerRequest') }
}
