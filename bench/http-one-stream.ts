/** 16 clients that append to one stream: conflicts are retried by the server, or by the clients, in rounds by turns. */
import { Agent, request } from 'node:http'
import { median } from './measure.js'
import { inFlight, MeasuredServer, type Started } from './measured-server.js'

/** What the clients of one round were answered. */
interface Round {
  /** Requests that came to a success, for each second. */
  readonly successesPerSecond: number
  /** What was sent for each success. */
  readonly sentPerSuccess: number
  /** Share of the requests that were given up after ten retries. */
  readonly givenUp: number
}

/** Medians of both ways. */
export type OneStreamResult = Readonly<Record<'server' | 'clients', Round>>

const roundMs = 2_000
const retries = 10

/** @param url - of the database, which is prepared */
export async function compareRetries(rounds: number, url: string): Promise<OneStreamResult> {
  const ways = {
    server: new MeasuredServer('one stream, retried by the server', url),
    clients: new MeasuredServer('one stream, retried by clients', url),
  }
  const measured = { server: [] as Round[], clients: [] as Round[] }
  try {
    const targets = { server: await ways.server.started(), clients: await ways.clients.started() }
    for (let round = -1; round < rounds; round += 1) {
      // Each round has a stream of its own for each way: a stream that grows is slower to load.
      const paths = { server: `/streams/${2 * round + 2}`, clients: `/streams/${2 * round + 3}` }
      for (const way of round % 2 === 0 ? (['server', 'clients'] as const) : (['clients', 'server'] as const)) {
        const result = await runRound(targets[way], paths[way], way === 'clients')
        if (round >= 0) measured[way].push(result)
      }
    }
  } finally {
    for (const server of Object.values(ways)) server.kill()
  }
  return { server: medianRound(measured.server), clients: medianRound(measured.clients) }
}

async function runRound({ url }: Started, path: string, clientsRetry: boolean): Promise<Round> {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight })
  const count = { sent: 0, succeeded: 0, givenUp: 0 }
  const end = performance.now() + roundMs
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      let status = 0
      for (let attempt = 0; attempt <= (clientsRetry ? retries : 0) && status !== 201; attempt += 1) {
        status = await post(agent, url + path)
        count.sent += 1
        if (![201, 409, 503].includes(status)) throw new Error(`the server answered ${status}`)
      }
      if (status === 201) count.succeeded += 1
      else count.givenUp += 1
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: inFlight }, client))
  const seconds = (performance.now() - start) / 1000
  agent.destroy()
  return {
    successesPerSecond: count.succeeded / seconds,
    sentPerSuccess: count.sent / count.succeeded,
    givenUp: count.givenUp / (count.givenUp + count.succeeded),
  }
}

async function post(agent: Agent, url: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
    })
    sent.once('error', reject)
    sent.end()
  })
}

function medianRound(rounds: readonly Round[]): Round {
  const of = (what: keyof Round): number => median(rounds.map((round) => round[what]))
  return {
    successesPerSecond: of('successesPerSecond'),
    sentPerSuccess: of('sentPerSuccess'),
    givenUp: of('givenUp'),
  }
}
