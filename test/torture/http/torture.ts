/** The torture of the request transaction: a server, its clients, and the comparison of what they know with the database. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { bundled } from '../../support/bundled.js'
import { connectionCounts } from '../../support/connections.js'
import type { TestDatabase, TestDatabaseKind } from '../../support/databases.js'
import { randomNumbers } from '../plan.js'
import { type Outcome, TortureClients } from './client.js'
import { type PlannedRequest, planRequests } from './kinds.js'
import { type HttpTortureSettings, inFlight, type Question, type ServerPlan, type ServerState } from './plan.js'
import { type HttpVerdict, judgeRequests, readStored } from './verdict.js'

/** What came of a run. */
export interface HttpTortureResult extends HttpVerdict {
  readonly seconds: number
  readonly requests: number
  /** How long the client waited that waited longest, and for what. */
  readonly longest: string
  /** Answered with success when another connection did not see the row yet; looked at for one in ten. */
  readonly early: readonly string[]
  /** Connections that were not idle in the end; 0 where there is no server to ask. */
  readonly busyConnections: number
  /** Whether all connections of the pool could be used in the end. */
  readonly isWhole: boolean
  /** Whether every transaction had ended in the end. */
  readonly hasEnded: boolean
  readonly unhandled: readonly string[]
  /** Bytes of the server's heap in use at the start, and after each quarter of the requests. */
  readonly heap: readonly number[]
}

const server = new URL('./server.ts', import.meta.url)
const quarters = 4
const lookShare = 0.1
/** How many requests it takes to tell a leak from noise. */
const leastForGrowth = 10_000
/** Bytes per request: less than any object that a request leaves behind. */
const mostGrowth = 100

/** Runs it on a fresh database of this kind. */
export async function tortureHttp(kind: TestDatabaseKind, settings: HttpTortureSettings): Promise<HttpTortureResult> {
  const database = await kind.createDatabase()
  const { framework, mutation } = settings
  const server = new ServerProcess({
    framework,
    mutation,
    database: kind.name,
    provider: kind.provider,
    url: database.url,
  })
  try {
    return await run(kind, database, server, settings)
  } finally {
    server.kill()
    await database.drop()
  }
}

async function run(
  kind: TestDatabaseKind,
  database: TestDatabase,
  server: ServerProcess,
  { framework, requests, seed, longestMs = 600_000 }: HttpTortureSettings,
): Promise<HttpTortureResult> {
  const clients = new TortureClients(await server.started())
  const planned = planRequests(requests, randomNumbers(seed), framework)
  const deadline = performance.now() + longestMs
  const outcomes: Outcome[] = []
  const early: string[] = []
  const start = performance.now()
  const heap = [(await server.ask('heap')).heapUsed]
  const look = async (request: PlannedRequest, status: number): Promise<void> => {
    if (!request.kind.stores || status >= 400 || request.chance > lookShare) return
    const rows = await database.query(`SELECT dog FROM owners WHERE dog = '${request.name}'`)
    if (rows.length === 0) early.push(`${request.name}: ${request.kind.path}, answered ${status}`)
  }
  for (let quarter = 0; quarter < quarters; quarter += 1) {
    const size = Math.ceil(planned.length / quarters)
    const waiting = planned.slice(quarter * size, (quarter + 1) * size)
    const sendAll = async (): Promise<void> => {
      for (let request = waiting.shift(); request !== undefined; request = waiting.shift()) {
        if (performance.now() > deadline) throw new Error(`the run was not over after ${longestMs} ms`)
        const asked = request
        outcomes.push(await clients.send(asked, (status) => look(asked, status)))
      }
    }
    await Promise.all(Array.from({ length: inFlight }, sendAll))
    heap.push((await server.ask('heap')).heapUsed)
  }
  const { isWhole } = await server.ask('isWhole')
  const busy = await lastingBusy(kind, database)
  clients.close()
  const { isWhole: hasEnded, unhandled } = await server.ask('close')
  const verdict = judgeRequests(outcomes, await readStored(database))
  const seconds = (performance.now() - start) / 1000
  return {
    ...verdict,
    seconds,
    requests: outcomes.length,
    longest: longestOf(outcomes),
    early,
    busyConnections: busy,
    isWhole,
    hasEnded,
    unhandled,
    heap,
  }
}

function longestOf(outcomes: readonly Outcome[]): string {
  const [first] = outcomes.toSorted((one, other) => other.ms - one.ms)
  return first === undefined ? 'none' : `${(first.ms / 1000).toFixed(1)} s for ${first.request.kind.path}`
}

/** Connections that are at work for good: a server may tell that a statement has ended before its list of connections does. */
async function lastingBusy(kind: TestDatabaseKind, database: TestDatabase): Promise<number> {
  for (let looks = 1; ; looks += 1) {
    const busy = (await connectionCounts(kind, database))?.busy ?? 0
    if (busy === 0 || looks === 50) return busy
    await delay(100)
  }
}

/** Everything that must not be, by what it is. */
export function faultsOf(result: HttpTortureResult): Record<string, readonly string[]> {
  const { missing, torn, invented, misanswered, early, unhandled } = result
  const leaks = [
    ...(result.busyConnections === 0 ? [] : [`${result.busyConnections} connections are still at work`]),
    ...(result.hasEnded ? [] : ['a transaction has not ended']),
    ...(result.isWhole ? [] : ['not all connections of the pool can be used']),
  ]
  return { missing, torn, invented, misanswered, early, unhandled, leaks, growth: growth(result) }
}

/** Bytes per request by which the heap has grown in the second half: what comes in the first is caches and compiled code. */
export function growthOf({ heap, requests }: HttpTortureResult): number {
  const [, , half = 0, , end = 0] = heap
  return (end - half) / (requests / 2)
}

/** In a short run a few bytes more are a great deal per request. */
function growth(result: HttpTortureResult): string[] {
  const bytes = growthOf(result)
  return result.requests < leastForGrowth || bytes <= mostGrowth ? [] : [`${bytes.toFixed(0)} bytes per request`]
}

/** The process of the server, and what it says. */
class ServerProcess {
  readonly #process: ChildProcess

  constructor(plan: ServerPlan) {
    this.#process = fork(bundled(server), [JSON.stringify(plan)], {
      execArgv: ['--expose-gc'],
      // Express writes every error to standard error otherwise.
      env: { ...process.env, NODE_ENV: 'test' },
    })
  }

  /** @returns the port */
  async started(): Promise<number> {
    // The first message is the port.
    return Number(await this.#message())
  }

  async ask(question: Question): Promise<ServerState> {
    this.#process.send(question)
    // Every other message is an answer.
    return (await this.#message()) as ServerState
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  async #message(): Promise<unknown> {
    const gone = new AbortController()
    const failed = async (): Promise<never> => {
      const [code] = await once(this.#process, 'exit', { signal: gone.signal })
      throw new Error(`the server has ended by itself: ${String(code)}`)
    }
    try {
      const [message] = await Promise.race([once(this.#process, 'message'), failed()])
      return message
    } finally {
      gone.abort()
    }
  }
}
