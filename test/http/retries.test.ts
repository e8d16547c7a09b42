/** Requests whose handlers are run again: nothing of a failed attempt is seen, and the last error is what the client gets. */
import express, { type RequestHandler } from 'express'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/express.js'
import { ConcurrencyError, ProgrammingError } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { listen } from './listening.js'
import { type Exchange, frameworks, type Route, type RunningServer } from './servers.js'

const conflict = () => new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterAll(async () => await open.close())

  describe.each(frameworks)('a handler with retries on $name', (framework) => {
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

    it('runs it once where a repetition would not help', async () => {
      expect((await post('/final')).status).toBe(500)
      expect((await post('/refused')).status).toBe(422)
      expect((await post('/once')).status).toBe(201)
      expect(attempts).toEqual([1, 1, 1])
      expect(await open.dogs()).toEqual([])
    })
  })
})

it('is refused in Express for a middleware that has no handler to run', () => {
  const datastore = { begin: () => Promise.reject(new Error('not to be called')) } as never
  expect(() => transactions(datastore, { retries: 1 })).toThrow(ProgrammingError)
  expect(() => transactions(datastore, { retries: 1 })).toThrow('Give it the handler')
  expect(() => transactions(datastore, { retries: 1 }, () => undefined)).not.toThrow()
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
