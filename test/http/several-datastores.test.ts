/** Requests with transactions on several datastores: who commits when, and what is said when one cannot. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  ConcurrencyError,
  NAMESPACE_URL,
  PartialCommitError,
  PrismaApplicationRecorder,
  type TransactionTimeoutError,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { casesOn, databases, oneOfEach } from '../support/databases.js'
import { postRaw, Signal } from './listening.js'
import { type Exchange, frameworks, type Route, type RunningServer, type ServerOptions } from './servers.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')
const conflict = () => new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })

describe.each(oneOfEach)('on $name', (kind) => {
  /** As they are registered. */
  let all: OpenDatabase[] = []
  let recorders: Array<PrismaApplicationRecorder<TestClient>> = []
  beforeAll(async () => {
    all = await Promise.all(['kennel', 'shop', 'log'].map(async (name) => await openDatabase(kind, { name })))
    recorders = all.map(({ datastore }) => new PrismaApplicationRecorder(datastore))
    if (kind.provider !== 'postgresql') return
    const statements = [
      "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END'",
      "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON owners DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.dog = 'slow') EXECUTE FUNCTION slow()",
    ]
    for (const sql of statements) await all[0]?.database.query(sql)
  })
  beforeEach(async () => {
    for (const open of all) await open.clear()
  })
  afterAll(async () => {
    for (const open of all) await open.close()
  })

  const save = async (index: number, dog = 'Fido'): Promise<void> => {
    await all[index]?.db.owner.create({ data: { name: 'Ann', dog } })
  }
  /** Lets the transaction of a datastore fail when it commits. */
  const fail = (index: number): void => {
    all[index]?.datastore.currentTransaction.rollbackOnly()
  }
  const stored = async (): Promise<string[][]> => await Promise.all(all.map(async (open) => await open.dogs()))

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer
    let errors: unknown[] = []
    afterEach(async () => {
      await server.close()
      expect(all.map(({ datastore }) => datastore.stats.open)).toEqual([0, 0, 0])
    })

    const serve = async (
      handle: (exchange: Exchange) => Promise<void>,
      { transaction, ...options }: ServerOptions & Pick<Route, 'transaction'> = {},
    ): Promise<RunningServer> => {
      errors = []
      server = await framework.start(
        all.map(({ datastore }) => datastore),
        [{ method: 'POST', path: '/', handle, ...(transaction === undefined ? {} : { transaction }) }],
        {
          ...options,
          describe(error) {
            errors.push(error)
            return undefined
          },
        },
      )
      return server
    }
    const post = async (
      handle: (exchange: Exchange) => Promise<void>,
      options?: Parameters<typeof serve>[1],
    ): Promise<{ status: number; body: unknown }> => {
      const { url } = await serve(handle, options)
      const response = await fetch(url, { method: 'POST' })
      return { status: response.status, body: response.status === 201 ? undefined : await response.json() }
    }

    it('commits them in the order in which they are registered', async () => {
      const order: string[] = []
      const { status } = await post(async ({ send }) => {
        for (const index of [2, 0, 1]) {
          await save(index)
          const { datastore } = all[index] ?? {}
          datastore?.currentTransaction.afterCommit(() => order.push(datastore.name))
        }
        send(201)
      })
      expect(status).toBe(201)
      expect(order).toEqual(['kennel', 'shop', 'log'])
      expect(await stored()).toEqual([['Fido'], ['Fido'], ['Fido']])
    })

    it('says which have committed when one cannot, and rolls back those after it', async () => {
      const { status, body } = await post(async ({ send }) => {
        for (const index of [0, 1, 2]) await save(index)
        fail(1)
        send(201, { made: true })
      })
      expect(status).toBe(500)
      expect(body).toEqual({
        type: 'about:blank',
        title: 'Internal Server Error',
        status: 500,
        code: 'ES_PARTIAL_COMMIT',
      })
      expect(await stored()).toEqual([['Fido'], [], []])
      const [error] = errors
      expect(error).toBeInstanceOf(PartialCommitError)
      expect(error).toMatchObject({
        committed: ['kennel'],
        failed: 'shop',
        rolledBack: ['log'],
        cause: expect.objectContaining({ code: 'ES_ROLLBACK_ONLY' }),
      })
    })

    it('gives the plain error where nothing is committed', async () => {
      const first = await post(async ({ send }) => {
        for (const index of [0, 1, 2]) await save(index)
        fail(0)
        send(201)
      })
      expect(first.body).toMatchObject({ code: 'ES_ROLLBACK_ONLY' })
      await server.close()
      // The first is not used.
      const second = await post(async ({ send }) => {
        for (const index of [1, 2]) await save(index)
        fail(1)
        send(201)
      })
      expect(second.body).toMatchObject({ code: 'ES_ROLLBACK_ONLY' })
      expect(await stored()).toEqual([[], [], []])
    })

    it('rolls all of them back when the handler throws', async () => {
      const { status } = await post(async () => {
        for (const index of [0, 1, 2]) await save(index)
        throw conflict()
      })
      expect(status).toBe(409)
      expect(await stored()).toEqual([[], [], []])
    })

    it('runs the handler again in fresh transactions of all of them, as long as none has committed', async () => {
      await recorders[0]?.insertEvents([storedEvent(fido, 1)])
      const attempts: number[][] = []
      const { status } = await post(
        async ({ send }) => {
          const numbers = all.map(({ datastore }) => datastore.currentTransaction.attempt)
          attempts.push(numbers)
          for (const [index, number] of numbers.entries()) await save(index, `Fido ${number}`)
          // The first attempt fails at once, the second when the first datastore commits.
          if (attempts.length === 1) throw conflict()
          await recorders[0]?.appendEvents([storedEvent(fido, attempts.length === 2 ? 1 : 2)])
          send(201)
        },
        { transaction: { retries: 2 } },
      )
      expect(status).toBe(201)
      expect(attempts).toEqual([
        [1, 1, 1],
        [2, 2, 2],
        [3, 3, 3],
      ])
      expect(await stored()).toEqual([['Fido 3'], ['Fido 3'], ['Fido 3']])
    })

    it('does not run the handler again once one of them has committed', async () => {
      await recorders[1]?.insertEvents([storedEvent(fido, 1)])
      let count = 0
      const { body } = await post(
        async ({ send }) => {
          count += 1
          await save(0)
          await recorders[1]?.appendEvents([storedEvent(fido, 1)])
          send(201)
        },
        { transaction: { retries: 2 } },
      )
      expect(body).toMatchObject({ code: 'ES_PARTIAL_COMMIT' })
      expect(errors[0]).toMatchObject({ cause: expect.objectContaining({ code: 'ES_CONCURRENCY' }) })
      expect(count).toBe(1)
      expect(await stored()).toEqual([['Fido'], [], []])
    })

    it.runIf(kind.provider === 'postgresql')('tells of a deadline that passes while another one commits', async () => {
      const { status } = await post(
        async ({ send }) => {
          // The COMMIT of the first takes two seconds, and ends before its own deadline, a second after that of the second one.
          await save(1)
          await delay(1_500)
          await save(0, 'slow')
          send(201)
        },
        { deadlineMs: 2_500 },
      )
      expect(status).toBe(500)
      expect(errors[0]).toMatchObject({ committed: ['kennel'], failed: 'shop', rolledBack: ['log'] })
      expect((errors[0] as PartialCommitError).cause).toMatchObject({
        code: 'ES_TRANSACTION_TIMEOUT',
      } satisfies Partial<TransactionTimeoutError>)
      expect(await stored()).toEqual([['slow'], [], []])
    })

    it.runIf(kind.provider === 'postgresql')(
      'commits the rest when the client goes away while the first one commits',
      async () => {
        const answered = new Signal()
        const { port } = await serve(async ({ send }) => {
          await save(0, 'slow')
          await save(1)
          send(201)
          answered.give()
        })
        const socket = await postRaw(port, '/')
        await answered.given
        await delay(50)
        socket.destroy()
        await once(socket, 'close')
        await expect.poll(stored, { timeout: 10_000 }).toEqual([['slow'], ['Fido'], []])
      },
    )
  })
})

it('names a datastore by its adapter and a number where nobody does', async () => {
  const [kind] = databases
  if (kind === undefined) throw new Error('there is a database')
  const open = await openDatabase(kind)
  const named = await openDatabase(kind, { name: 'kennel' })
  expect(open.datastore.name).toMatch(/^(postgres|sqlite)-\d+$/)
  expect(named.datastore.name).toBe('kennel')
  await open.close()
  await named.close()
})
