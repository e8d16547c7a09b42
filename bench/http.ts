/** One POST that does a command and changes a row: by the middleware, and by hand in the handler. */
import { Agent, request } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { medians, type Result } from './measure.js'

/** A server that answers POST /streams/:n, for n from 0, with 201. */
export interface Served {
  readonly name: string
  readonly server: FastifyInstance
}

/** Times bursts of requests over kept connections, 16 in flight; the result is per request. */
export async function runHttp(served: readonly Served[], rounds: number): Promise<Result> {
  const inFlight = 16
  const each = 20
  let stream = 0
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight })
  const timed = await Promise.all(
    served.map(async ({ name, server }) => {
      const url = await server.listen({ host: '127.0.0.1', port: 0 })
      return {
        contender: name,
        async work() {
          const client = async (): Promise<void> => {
            for (let n = 0; n < each; n += 1) {
              stream += 1
              const status = await post(agent, `${url}/streams/${stream}`)
              if (status !== 201) throw new Error(`${name} answered ${status}`)
            }
          }
          await Promise.all(Array.from({ length: inFlight }, client))
        },
      }
    }),
  )
  try {
    const workload = `POST: command and row, ${inFlight} in flight`
    return { workload, medians: await medians(rounds, timed, inFlight * each) }
  } finally {
    agent.destroy()
    for (const { server } of served) await server.close()
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
