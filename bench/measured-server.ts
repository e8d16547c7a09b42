/** A server in a process of its own, whose requests are counted and whose processor time is asked for. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'

/** How many requests are under way at a time. */
export const inFlight = 16
const builtLibrary = fileURLToPath(new URL('./tsconfig.json', import.meta.url))
const serverFile = fileURLToPath(new URL('./http-server.ts', import.meta.url))

/** What one server did. */
export interface Cost {
  readonly requestsPerSecond: number
  /** Microseconds of processor time that the server's process took for a request. */
  readonly cpuPerRequest: number
}

/** Where a server listens, and what it is to be asked. */
export interface Started {
  readonly url: string
  readonly method: string
  readonly paths: readonly string[]
}

/** A server in a process of its own. */
export class MeasuredServer {
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

  async started(): Promise<Started> {
    // The first message says where it listens.
    this.#target = (await this.#message()) as Started
    return this.#target
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
