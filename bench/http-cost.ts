/** What a request costs with the middleware and without: servers in processes of their own, in short rounds by turns. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import { median } from './measure.js'

/** A comparison of two servers. */
export interface Comparison {
  readonly name: string
  /** The server that the other is compared with, and that other one: names of `httpServers`. */
  readonly servers: readonly [string, string]
  /** Requests in one round of each. */
  readonly amount: number
}

/** What one server did. */
export interface Cost {
  readonly requestsPerSecond: number
  /** Microseconds of processor time that the server's process took for a request. */
  readonly cpuPerRequest: number
}

/** Medians, and the medians of what the second is to the first in each round. */
export interface ComparedCost {
  readonly name: string
  readonly costs: Readonly<Record<string, Cost>>
  readonly requestsPerSecond: number
  readonly cpuPerRequest: number
}

const inFlight = 16
const warmUpRounds = 3
const builtLibrary = fileURLToPath(new URL('./tsconfig.json', import.meta.url))
const serverFile = fileURLToPath(new URL('./http-server.ts', import.meta.url))

/** @param url - of the database, which is prepared */
export async function compareCosts(comparison: Comparison, rounds: number, url: string): Promise<ComparedCost> {
  const { name, servers, amount } = comparison
  const [base, other] = servers.map((server) => new MeasuredServer(server, url))
  if (base === undefined || other === undefined) throw new Error('there are two servers')
  const costs: Array<readonly [Cost, Cost]> = []
  try {
    await Promise.all([base.started(), other.started()])
    for (let round = -warmUpRounds; round < rounds; round += 1) {
      // The other one goes first each time.
      const second = round % 2 === 0 ? undefined : await other.measure(amount)
      const first = await base.measure(amount)
      const pair = [first, second ?? (await other.measure(amount))] as const
      if (round >= 0) costs.push(pair)
    }
  } finally {
    base.kill()
    other.kill()
  }
  const ratio = (what: keyof Cost): number => median(costs.map(([first, second]) => second[what] / first[what]))
  return {
    name,
    costs: Object.fromEntries(servers.map((server, index) => [server, medianCost(costs.map((pair) => pair[index]))])),
    requestsPerSecond: ratio('requestsPerSecond'),
    cpuPerRequest: ratio('cpuPerRequest'),
  }
}

function medianCost(costs: ReadonlyArray<Cost | undefined>): Cost {
  const all = (what: keyof Cost): number => median(costs.map((cost) => cost?.[what] ?? Number.NaN))
  return { requestsPerSecond: all('requestsPerSecond'), cpuPerRequest: all('cpuPerRequest') }
}

/** What a server's process says first. */
interface Started {
  readonly url: string
  readonly method: string
  readonly paths: readonly string[]
}

class MeasuredServer {
  readonly #name: string
  readonly #process: ChildProcess
  #target: Started | undefined

  constructor(name: string, url: string) {
    this.#name = name
    this.#process = fork(serverFile, [name, url], {
      execArgv: ['--import', 'tsx'],
      // The library as it is published: tsx gives each function its name when it is made, which costs more than some of them.
      env: { ...process.env, TSX_TSCONFIG_PATH: builtLibrary },
    })
  }

  async started(): Promise<void> {
    // The first message says where it listens.
    this.#target = (await this.#message()) as Started
  }

  async measure(amount: number): Promise<Cost> {
    if (this.#target === undefined) throw new Error('the server has not started')
    const { url, method, paths } = this.#target
    const requests = paths.map((path) => ({ method, path }))
    const cpuBefore = await this.#cpu()
    const start = performance.now()
    let end = start
    const run = autocannon({ url, connections: inFlight, amount, requests, sampleInt: 50 })
    // It notices its own end at the next sample only.
    run.on('response', () => {
      end = performance.now()
    })
    const result = await run
    const seconds = (end - start) / 1000
    const cpu = (await this.#cpu()) - cpuBefore
    const { '2xx': succeeded, errors, timeouts } = result
    if (succeeded !== amount || errors + timeouts > 0) {
      throw new Error(`${this.#name} answered ${succeeded} of ${amount} with success, with ${errors} errors`)
    }
    return { requestsPerSecond: amount / seconds, cpuPerRequest: cpu / amount }
  }

  kill(): void {
    this.#process.kill()
  }

  async #cpu(): Promise<number> {
    this.#process.send('cpu')
    // Every other message is the processor time so far.
    return Number(await this.#message())
  }

  async #message(): Promise<unknown> {
    const [message] = await once(this.#process, 'message', { signal: AbortSignal.timeout(60_000) })
    return message
  }
}
