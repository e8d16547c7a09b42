/** Requests whose handlers are run again: nothing of a failed attempt is seen, and the last error is what the client gets. */
import { setTimeout as delay } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import express, { type RequestHandler } from 'express'
import Fastify from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/express.js'
import * as fastifyAdapter from '../../adapters/fastify.js'
import { mergeOptions } from '../../adapters/http.js'
import { ConcurrencyError, ProgrammingError } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, databases, oneOfEach } from '../support/databases.js'
import { listen } from './listening.js'
import { type Exchange, frameworks, type Route, type RunningServer } from './servers.js'

const conflict = () => new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  describe.each(casesOn(kind, frameworks))('a handler with retries on $name', (framework) => {
    let server: RunningServer
    let attempts: number[] = []
    /** As it was before somebody else changed it. */
    let stale: Dog | undefined
    const attempt = (): number => {
      const { attempt: number } = open.datastore.currentTransaction
      attempts.push(number)
      return number
    }
    const store = async (name: string): Promise<unknown> =>
      await open.db.owner.create({ data: { name: 'Ann', dog: name } })
    const route = (path: string, handle: (exchange: Exchange) => Promise<void>, retries = 2): Route => ({
      method: 'POST',
      path,
      transaction: { retries },
      handle,
    })
    const routes: Route[] = [
      route('/thrown', async ({ send, body }) => {
        const number = attempt()
        await store(`Rex ${number}`)
        if (number < 3) throw conflict()
        send(201, { number, body }, { 'x-attempt': String(number) })
      }),
      // The response is there before the commit fails.
      route('/at-commit', async ({ send }) => {
        const number = attempt()
        const dog = number === 1 ? stale : await school.repository.get(Dog, Dog.createId('Fido'))
        dog?.addTrick(`trick ${number}`)
        await school.save(dog)
        await store(`Ace ${number}`)
        send(number === 1 ? 202 : 201, { number }, number === 1 ? { 'x-first': 'yes' } : { 'x-second': 'yes' })
      }),
      route(
        '/hot',
        async ({ send, body }) => {
          await school.addTrick('Fido', String(body['trick']))
          send(201)
        },
        10,
      ),
      route('/never', async () => {
        await store(`Max ${attempt()}`)
        throw conflict()
      }),
      {
        ...route('/late', async () => {
          await store(`Bob ${attempt()}`)
          throw conflict()
        }),
        transaction: { retries: 1_000, deadlineMs: 150 },
      },
      route('/final', async () => {
        attempt()
        throw new Error('not to be repeated')
      }),
      route('/refused', async ({ send }) => {
        attempt()
        await store('Zoe')
        send(422, { no: true })
      }),
      route(
        '/once',
        async ({ send }) => {
          attempt()
          send(201)
        },
        5,
      ),
    ]
    beforeAll(async () => {
      server = await framework.start(open.datastore, routes)
    })
    beforeEach(async () => {
      attempts = []
      await open.clear()
      await open.database.query(`DELETE FROM ${open.quoted('trainingschool_events')}`)
    })
    afterAll(async () => await server.close())

    const post = async (path: string, body: object = {}): Promise<Response> =>
      await fetch(`${server.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })

    it('runs it in a fresh transaction after what may pass, with the body that was parsed', async () => {
      const response = await post('/thrown', { name: 'Rex' })
      expect(response.status).toBe(201)
      expect(await response.json()).toEqual({ number: 3, body: { name: 'Rex' } })
      expect(response.headers.get('x-attempt')).toBe('3')
      expect(attempts).toEqual([1, 2, 3])
      expect(await open.dogs()).toEqual(['Rex 3'])
    })

    it('runs it again when the commit fails, without a trace of the answer', async () => {
      await school.register('Fido')
      stale = await school.repository.get(Dog, Dog.createId('Fido'))
      await school.addTrick('Fido', 'by somebody else')
      const response = await post('/at-commit')
      expect(response.status).toBe(201)
      expect(await response.json()).toEqual({ number: 2 })
      expect([response.headers.get('x-first'), response.headers.get('x-second')]).toEqual([null, 'yes'])
      expect(attempts).toEqual([1, 2])
      expect(await open.dogs()).toEqual(['Ace 2'])
      expect(await school.getTricks('Fido')).toEqual(['by somebody else', 'trick 2'])
    })

    it('loses nothing of what 16 clients do to one aggregate, and answers each honestly', async () => {
      await school.register('Fido')
      const statuses = await Promise.all(
        Array.from({ length: 16 }, async (_, client) => {
          const answers: Array<[string, number]> = []
          for (let n = 0; n < 4; n += 1) {
            const trick = `${client} ${n}`
            answers.push([trick, (await post('/hot', { trick })).status])
          }
          return answers
        }),
      )
      const answers = statuses.flat()
      expect(answers.every(([, status]) => [201, 409, 503].includes(status))).toBe(true)
      const done = answers.filter(([, status]) => status === 201).map(([trick]) => trick)
      expect((await school.getTricks('Fido')).toSorted()).toEqual(done.toSorted())
      expect(done.length).toBeGreaterThan(answers.length / 2)
    })

    it('gives the client the last error', async () => {
      const response = await post('/never')
      expect(response.status).toBe(409)
      expect(await response.json()).toMatchObject({ code: 'ES_CONCURRENCY', detail: 'somebody was faster' })
      expect(attempts).toEqual([1, 2, 3])
      expect(await open.dogs()).toEqual([])
    })

    it('runs it again only until the deadline, which counts for all attempts together', async () => {
      const response = await post('/late')
      // The conflict of the last attempt, or the deadline in the middle of one.
      expect([409, 503]).toContain(response.status)
      expect(attempts.length).toBeLessThan(100)
      expect(await open.dogs()).toEqual([])
      const { length } = attempts
      await delay(300)
      expect(attempts).toHaveLength(length)
    })

    it('runs it once where a repetition would not help', async () => {
      expect((await post('/final')).status).toBe(500)
      expect((await post('/refused')).status).toBe(422)
      expect((await post('/once')).status).toBe(201)
      expect(attempts).toEqual([1, 1, 1])
      expect(await open.dogs()).toEqual([])
    })
  })
})

describe('of the app, in Fastify,', () => {
  const open = async (): Promise<OpenDatabase> => {
    const [kind] = databases
    if (kind === undefined) throw new Error('there is a database')
    return await openDatabase(kind)
  }

  it('are for all routes that come after the plugin, in whatever plugin, and for no others', async () => {
    const opened = await open()
    const { datastore } = opened
    const server = Fastify()
    let attempts: number[] = []
    const handler = async (): Promise<string> => {
      const { attempt } = datastore.currentTransaction
      attempts.push(attempt)
      if (attempt < 3) throw conflict()
      return 'made'
    }
    server.setErrorHandler(fastifyAdapter.problemDetails())
    server.get('/before', handler)
    await server.register(fastifyAdapter.transactions, { datastore, retries: 2 })
    server.get('/after', handler)
    server.get('/less', { config: { transaction: { retries: 1 } } }, handler)
    await server.register(async (child) => void child.get('/inside', handler), { prefix: '/child' })
    const seen: unknown[] = []
    const urls = ['/after', '/child/inside', '/less', '/before', '/unknown']
    for (const url of urls) {
      attempts = []
      const { statusCode } = await server.inject({ url })
      seen.push([url, statusCode, attempts])
    }
    expect(seen).toEqual([
      ['/after', 200, [1, 2, 3]],
      ['/child/inside', 200, [1, 2, 3]],
      ['/less', 409, [1, 2]],
      // A route that would be run once without a word is refused.
      ['/before', 500, []],
      ['/unknown', 404, []],
    ])
    attempts = []
    expect((await server.inject({ method: 'HEAD', url: '/after' })).statusCode).toBe(200)
    expect(attempts).toEqual([1, 2, 3])
    await server.close()
    await opened.close()
  })

  it('are none for a handler whose hooks have used its transaction, since they are not run again', async () => {
    const opened = await open()
    const { datastore, db } = opened
    const school = new TrainingSchool({ name: 'TrainingSchool', datastore })
    const server = Fastify()
    await server.register(fastifyAdapter.transactions, { datastore, retries: 2 })
    server.addHook('preHandler', async ({ url }) => {
      if (url === '/row') await db.owner.create({ data: { name: 'Ann', dog: url } })
      if (url === '/event') await school.save(new Dog('Fido'))
    })
    const attempts: Record<string, number[]> = { '/row': [], '/event': [], '/none': [] }
    for (const [url, own] of Object.entries(attempts)) {
      server.get(url, async () => {
        own.push(datastore.currentTransaction.attempt)
        throw conflict()
      })
    }
    for (const url of Object.keys(attempts)) expect((await server.inject({ url })).statusCode).toBe(409)
    expect(attempts).toEqual({ '/row': [1], '/event': [1], '/none': [1, 2, 3] })
    expect(await opened.dogs()).toEqual([])
    await server.close()
    await opened.close()
  })

  it('are for promises of other kinds as well, as Prisma has them', async () => {
    const opened = await open()
    const { datastore } = opened
    const server = Fastify()
    await server.register(fastifyAdapter.transactions, { datastore, retries: 2 })
    // Those of another realm are no instances of our Promise either.
    const OtherPromise: PromiseConstructor = runInNewContext('Promise')
    let count = 0
    server.get('/', () => {
      count += 1
      return count === 3 ? OtherPromise.resolve('made') : OtherPromise.reject(conflict())
    })
    expect((await server.inject({ url: '/' })).body).toBe('made')
    expect(count).toBe(3)
    await server.close()
    await opened.close()
  })

  it('say which route was added too early', async () => {
    const opened = await open()
    const { datastore } = opened
    const server = Fastify()
    void server.register(fastifyAdapter.transactions, { datastore, retries: 2 })
    server.get('/dogs/:name', async () => 'made')
    const { body } = await server.inject({ url: '/dogs/fido' })
    expect(body).toContain('Could not give GET /dogs/:name its retries')
    await server.close()
    await opened.close()
  })
})

describe('of a handler that reads the body by itself', () => {
  const datastore = { name: 'none', begin: () => Promise.reject(new Error('not to be called')) } as never
  const options = { retries: 1, body: 'stream' } as const

  it('are refused when its route is registered', async () => {
    expect(() => transactions(datastore, options, () => undefined)).toThrow(ProgrammingError)
    const server = Fastify()
    await server.register(fastifyAdapter.transactions, { datastore })
    const add = (): unknown => server.post('/', { config: { transaction: options } }, async () => 'made')
    expect(add).toThrow(ProgrammingError)
    expect(add).toThrow("body: 'stream'")
    await expect(Fastify().register(fastifyAdapter.transactions, { datastore, ...options })).rejects.toThrow(
      ProgrammingError,
    )
  })

  it('are none where only the app has some', async () => {
    const server = Fastify()
    await server.register(fastifyAdapter.transactions, { datastore, retries: 2 })
    server.post('/', { config: { transaction: { body: 'stream' } } }, async () => 'made')
    await server.ready()
    expect(server.hasRoute({ method: 'POST', url: '/' })).toBe(true)
    expect(mergeOptions({ retries: 2 }, { body: 'stream' })).toMatchObject({ retries: 0 })
    expect(mergeOptions({ retries: 2, body: 'stream' }, { body: 'parsed' })).toMatchObject({ retries: 2 })
  })
})

it('is refused in Express for a middleware that has no handler to run', () => {
  const datastore = { begin: () => Promise.reject(new Error('not to be called')) } as never
  expect(() => transactions(datastore, { retries: 1 })).toThrow(ProgrammingError)
  expect(() => transactions(datastore, { retries: 1 })).toThrow('Give it the handler')
  expect(() => transactions(datastore, { retries: 1 }, () => undefined)).not.toThrow()
})

it('does not run a handler again in Express that has passed the request on', async () => {
  const [kind] = databases
  if (kind === undefined) throw new Error('there is a database')
  const open = await openDatabase(kind)
  const school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  await school.register('Fido')
  const calls: string[] = []
  const app = express()
  const passing: RequestHandler = (_request, _response, next) => {
    calls.push('first')
    next('route')
  }
  app.post('/', transactions(open.datastore, { retries: 3 }, passing))
  app.post('/', async (_request, response) => {
    calls.push('second')
    await school.save(new Dog('Fido'))
    response.status(201).end()
  })
  app.use(problemDetails())
  const server = await listen(app)
  try {
    expect((await fetch(server.url, { method: 'POST' })).status).toBe(409)
    expect(calls).toEqual(['first', 'second'])
  } finally {
    await server.close()
    await open.close()
  }
})

it('runs a handler once that reads the body by itself', async () => {
  const [kind] = databases
  if (kind === undefined) throw new Error('there is a database')
  const open = await openDatabase(kind)
  let count = 0
  const app = express()
  const handler: RequestHandler = async (request, _response) => {
    count += 1
    for await (const chunk of request) expect(String(chunk)).toBe('the body')
    throw conflict()
  }
  app.post('/', transactions(open.datastore, { retries: 3 }, handler))
  app.use(problemDetails())
  const server = await listen(app)
  try {
    const { status } = await fetch(server.url, { method: 'POST', body: 'the body' })
    expect([status, count]).toEqual([409, 1])
  } finally {
    await server.close()
    await open.close()
  }
})
