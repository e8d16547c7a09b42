/** Requests that roll back and keep their answer: by `rollbackOnly({ answer: 'keep' })`, and by what `commitOn` finds in the body. */
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RouteTransactionOptions } from '../../adapters/http.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { frameworks, type Route, type RunningServer } from './servers.js'

const hasErrors = (answer: unknown): boolean =>
  typeof answer === 'object' && answer !== null && 'errors' in answer && answer.errors !== undefined

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const newOwner = async (dog: string) => await open.db.owner.create({ data: { name: 'Ann', dog } })

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer | undefined
    afterEach(async () => await server?.close())

    const post = async (
      handle: Route['handle'],
      transaction?: RouteTransactionOptions,
      headers: Record<string, string> = {},
    ) => {
      await server?.close()
      const route: Route = { method: 'POST', path: '/dogs', handle }
      server = await framework.start(open.datastore, [route], transaction ?? {})
      const response = await fetch(`${server.url}/dogs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: '{}',
      })
      return { status: response.status, body: await response.json() }
    }

    it('sends the answer of a transaction that is only to be rolled back, and runs its hooks', async () => {
      const calls: string[] = []
      const answer = await post(async ({ send }) => {
        const tx = open.datastore.currentTransaction
        tx.afterCommit(() => calls.push('committed'))
        tx.afterRollback(() => calls.push('rolled back'))
        await newOwner('Ace')
        tx.rollbackOnly({ answer: 'keep' })
        send(200, { errors: ['no'] })
      })
      expect(answer).toEqual({ status: 200, body: { errors: ['no'] } })
      expect(await open.dogs()).toEqual([])
      expect(calls).toEqual(['rolled back'])
    })

    it('keeps the answer although a statement has failed', async () => {
      const answer = await post(async ({ send }) => {
        await newOwner('Ace')
        const failure = await newOwner('Ace').catch((error: Error) => error.name)
        open.datastore.currentTransaction.rollbackOnly({ answer: 'keep' })
        send(200, { failure })
      })
      expect(answer).toEqual({ status: 200, body: { failure: 'PrismaClientKnownRequestError' } })
      expect(await open.dogs()).toEqual([])
    })

    it('drops the answer where both are asked for', async () => {
      const { status } = await post(async ({ send }) => {
        await newOwner('Ace')
        open.datastore.currentTransaction.rollbackOnly({ answer: 'keep' })
        open.datastore.currentTransaction.rollbackOnly()
        send(200)
      })
      expect(status).toBe(500)
      expect(await open.dogs()).toEqual([])
    })

    it('lets commitOn decide by the body, sent at once, in pieces, or compressed', async ({ skip }) => {
      skip(framework.answersByValue !== undefined, framework.answersByValue)
      const options: RouteTransactionOptions = {
        commitOn: (status, _request, answer) => status < 400 && !hasErrors(answer.json()),
      }
      const text = JSON.stringify({ errors: ['no'] })
      const failed = { status: 200, body: { errors: ['no'] } }
      const atOnce: Route['handle'] = async ({ send }) => {
        await newOwner('Ace')
        send(200, { errors: ['no'] })
      }
      const inPieces: Route['handle'] = async ({ raw }) => {
        await newOwner('Bob')
        const response = raw()
        response.writeHead(200, { 'content-type': 'application/json' })
        response.write(text.slice(0, 5))
        response.end(text.slice(5))
      }
      const compressed: Route['handle'] = async ({ raw }) => {
        await newOwner('Cap')
        const response = raw()
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        response.end(gzipSync(text))
      }
      for (const handle of [atOnce, inPieces, compressed]) expect(await post(handle, options)).toEqual(failed)
      expect(await open.dogs()).toEqual([])
      const good = async ({ send }: Parameters<Route['handle']>[0]): Promise<void> => {
        await newOwner('Dot')
        send(200, { data: 1 })
      }
      expect(await post(good, options)).toEqual({ status: 200, body: { data: 1 } })
      expect(await open.dogs()).toEqual(['Dot'])
    })
  })
})
