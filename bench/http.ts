/** One POST that does a command and changes a row: by the middleware, and by hand in the handler. */
import autocannon from 'autocannon'
import type { FastifyInstance } from 'fastify'
import { medians } from './measure.js'
import type { Result } from './workloads.js'

/** A server that answers POST /streams/:n, for n from 0, with 201. */
export interface Served {
  readonly name: string
  readonly server: FastifyInstance
}

/** Times bursts of requests, 16 in flight; the result is per request. */
export async function runHttp(served: readonly Served[], rounds: number): Promise<Result> {
  const connections = 16
  const amount = 320
  let stream = 0
  const timed = await Promise.all(
    served.map(async ({ name, server }) => {
      const url = await server.listen({ host: '127.0.0.1', port: 0 })
      return {
        contender: name,
        async work() {
          const setupClient = (client: autocannon.Client): void => {
            client.setRequests([
              {
                method: 'POST',
                setupRequest: (request) => {
                  stream += 1
                  return { ...request, path: `/streams/${stream}` }
                },
              },
            ])
          }
          const result = await autocannon({ url, connections, amount, setupClient })
          if (result['2xx'] !== amount)
            throw new Error(`${name} answered ${result['2xx']} of ${amount} requests with 2xx`)
        },
      }
    }),
  )
  try {
    const perBurst = await medians(rounds, timed)
    const perRequest = new Map([...perBurst].map(([name, time]) => [name, time / amount]))
    return { workload: `POST: command and row, ${connections} in flight`, medians: perRequest }
  } finally {
    for (const { server } of served) await server.close()
  }
}
