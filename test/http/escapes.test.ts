/** What a request leaves behind: calls that nobody awaits, and the database used after the response. */
import { AsyncResource } from 'node:async_hooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemHeaders, problemOf } from '../../adapters/http.js'
import { EscapeError, PoolExhaustedError, TransactionClosedError } from '../../src/index.js'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { frameworks, type Route, type RunningServer } from './servers.js'

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const newOwner = (dog: string) => open.db.owner.create({ data: { name: 'Ann', dog } })

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer | undefined
    let errors: unknown[] = []
    afterEach(async () => {
      await server?.close()
      errors = []
    })

    const post = async (handle: Route['handle']): Promise<number> => {
      const describeError = (error: unknown): undefined => void errors.push(error)
      const route: Route = { method: 'POST', path: '/dogs/:name', handle }
      server = await framework.start(open.datastore, [route], { describe: describeError })
      const response = await fetch(`${server.url}/dogs/rex`, { method: 'POST' })
      await response.text()
      return response.status
    }

    it('drops the response of a handler that has not awaited a call, and names the route', async () => {
      const status = await post(async ({ send }) => {
        await newOwner('Ace')
        void newOwner('Bob')
        send(201)
      })
      expect(status).toBe(500)
      expect(errors[0]).toBeInstanceOf(EscapeError)
      expect(String(errors[0])).toContain(
        'made in the transaction "POST /dogs/:name" and not awaited before its commit',
      )
      expect(await open.dogs()).toEqual([])
    })

    it('drops the response of a handler that has left a call running', async () => {
      let late: Promise<unknown> | undefined
      const status = await post(async ({ send }) => {
        late = newOwner('Bob').then(() => undefined)
        send(201)
      })
      await late
      expect(status).toBe(500)
      expect(String(errors[0])).toContain('still running in the transaction "POST /dogs/:name" when it was to commit')
      expect(await open.dogs()).toEqual([])
    })

    it('waits for the part of the transaction in which a handler answers', async ({ skip }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      const { datastore } = open
      const status = await post(async ({ send }) => {
        const part = async (): Promise<void> => {
          await newOwner('Ace')
          send(201)
          await newOwner('Bob')
        }
        await datastore.transaction(part, { propagation: 'nested' })
      })
      expect(status).toBe(201)
      expect(await open.dogs()).toEqual(['Ace', 'Bob'])
    })

    it.for(['nested', '$transaction'] as const)(
      'drops the response that is sent in a part, when that is undone afterwards: %s',
      async (part, { skip }) => {
        skip(framework.answersByValue !== undefined, framework.answersByValue)
        const { datastore, db } = open
        const status = await post(async ({ send }) => {
          await newOwner('Ace')
          const work = async (): Promise<void> => {
            await newOwner('Bob')
            await datastore.transaction(async () => send(201), { propagation: 'nested' })
            await newOwner('Cid')
            throw new Error('no such dog')
          }
          if (part === 'nested') await datastore.transaction(work, { propagation: 'nested' })
          else await db.$transaction(work)
        })
        expect(status).toBe(500)
        expect(await open.dogs()).toEqual([])
        expect(errors.map(String)).toEqual([
          expect.stringMatching(/no such dog|asked for inside a nested part .* undone afterwards/),
        ])
      },
    )

    it('sends the response to which a part that was undone before had no more to add', async () => {
      const { datastore } = open
      const status = await post(async ({ send }) => {
        await newOwner('Ace')
        let answer: (() => void) | undefined
        const work = async (): Promise<never> => {
          // In the context of the part, but after it.
          answer = AsyncResource.bind(() => send(201))
          throw new Error('no such dog')
        }
        await expect(datastore.transaction(work, { propagation: 'nested' })).rejects.toThrow('no such dog')
        answer?.()
      })
      expect(status).toBe(201)
      expect(await open.dogs()).toEqual(['Ace'])
    })

    it('refuses db after the response, and lets a new transaction store', async () => {
      const { datastore } = open
      const isAnswered = newGate()
      const isDone = newGate()
      let late: unknown
      const status = await post(async ({ send }) => {
        await newOwner('Ace')
        send(201)
        await isAnswered.opened
        late = await newOwner('Bob').then(undefined, (error: unknown) => error)
        await datastore.transaction(async () => await newOwner('Cid'), { propagation: 'requiresNew' })
        isDone.open()
      })
      expect(status).toBe(201)
      isAnswered.open()
      await isDone.opened
      expect(late).toBeInstanceOf(TransactionClosedError)
      expect(String(late)).toContain('after the transaction "POST /dogs/:name" had ended')
      expect(await open.dogs()).toEqual(['Ace', 'Cid'])
    })
  })
})

it('a pool that is exhausted is a 503 with Retry-After, where it may pass', () => {
  const passing = problemOf(new PoolExhaustedError('no connection', { retryable: true }))
  expect(passing).toMatchObject({ status: 503, code: 'ES_POOL_EXHAUSTED' })
  expect(problemHeaders(passing)).toMatchObject({ 'retry-after': expect.stringMatching(/^[1-3]$/) })
  expect(problemOf(new PoolExhaustedError('too deep'))).toMatchObject({ status: 500, code: 'ES_POOL_EXHAUSTED' })
})
