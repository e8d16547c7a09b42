/** Queues that requests share: where their tasks run, and how each is kept in the transaction of its own request. */
import { AsyncResource } from 'node:async_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import Bottleneck from 'bottleneck'
import PQueue from 'p-queue'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../../adapters/express.js'
import * as fastifyAdapter from '../../../adapters/fastify.js'
import type { Listening } from '../../http/listening.js'
import { passingErrors } from '../../http/servers.js'
import { databasesOf } from '../../support/databases.js'
import { expresses, Kennel, startExpress, startFastify } from './apps.js'

type Task = () => Promise<void>

/** One task at a time, whichever request it is of. */
const queues: Readonly<Record<string, () => (task: Task) => Promise<void>>> = {
  'p-queue': () => {
    const queue = new PQueue({ concurrency: 1 })
    return async (task) => await queue.add(task)
  },
  bottleneck: () => {
    const limiter = new Bottleneck({ maxConcurrent: 1 })
    return async (task) => await limiter.schedule(task)
  },
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await delay(1)
}

const [postgresql] = databasesOf('postgresql')
if (postgresql === undefined) throw new Error('there is no PostgreSQL')

describe.each(Object.entries(queues))('with tasks of %s', (_name, makeQueue) => {
  let kennel: Kennel
  let server: Listening | undefined
  beforeAll(async () => {
    kennel = await Kennel.open(postgresql)
  })
  beforeEach(async () => await kennel.clear())
  afterEach(async () => await server?.close())
  afterAll(async () => await kennel.close())

  let queued = 0
  let done = 0
  /** A handler that registers a dog by the queue. The first task runs when both are in the queue, and no request ends before both have run. */
  const handlerOf = (isBound: boolean): ((query: Record<string, string>) => Promise<number>) => {
    const enqueue = makeQueue()
    return async ({ dog = '', status }) => {
      const task = async (): Promise<void> => {
        await until(() => queued === 2)
        await kennel.register(dog)
        done += 1
      }
      const running = enqueue(isBound ? AsyncResource.bind(task) : task)
      queued += 1
      await running
      await until(() => done === 2)
      return Number(status)
    }
  }
  /** The second request comes while the first one's task runs. */
  const postBoth = async (url: string, first: number, second: number): Promise<number[]> => {
    const post = async (dog: string, status: number): Promise<number> =>
      (await fetch(`${url}/dogs?dog=${dog}&status=${status}`, { method: 'POST' })).status
    queued = done = 0
    const earlier = post('first', first)
    await until(() => queued === 1)
    return await Promise.all([earlier, post('second', second)])
  }
  const startOn = async (framework: string, isBound: boolean): Promise<string> => {
    const handle = handlerOf(isBound)
    const express = expresses.find(({ name }) => name === framework)
    if (express !== undefined) {
      const app = express.makeApp().use(transactions(kennel.open.datastore))
      app.post(
        '/dogs',
        passingErrors(async (request, response) => {
          response.sendStatus(await handle(request.query as Record<string, string>))
        }),
      )
      server = await startExpress(app)
    } else {
      server = await startFastify(async (app) => {
        await app.register(fastifyAdapter.transactions, { datastore: kennel.open.datastore })
        app.post('/dogs', async (request, reply) => {
          return await reply.code(await handle(request.query as Record<string, string>)).send({})
        })
      })
    }
    return server.url
  }

  it.each(['Express 5', 'Express 4', 'Fastify 5'])(
    'keeps a bound task in the transaction of its own request: %s',
    async (framework) => {
      const url = await startOn(framework, true)
      expect(await postBoth(url, 422, 201)).toEqual([422, 201])
      expect(await kennel.open.dogs()).toEqual(['second'])
      await kennel.clear()
      expect(await postBoth(url, 201, 422)).toEqual([201, 422])
      expect(await kennel.open.dogs()).toEqual(['first'])
    },
  )

  it('runs a task that is not bound in the transaction of the request before it', async () => {
    const url = await startOn('Express 5', false)
    expect(await postBoth(url, 422, 201)).toEqual([422, 201])
    expect(await kennel.open.dogs()).toEqual([])
    expect(await postBoth(url, 201, 422)).toEqual([201, 422])
    expect(await kennel.open.dogs()).toEqual(['first', 'second'])
  })
})
