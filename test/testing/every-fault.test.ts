/** The kit for faults passes what is right, on every framework, and finds what is wrong. */
import { AssertionError } from 'node:assert/strict'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { transactions } from '../../adapters/fastify.js'
import { PrismaApplicationRecorder, PrismaDatastore, ProgrammingError, uuid5 } from '../../src/index.js'
import { checkEveryFault, type FaultCheckOptions, type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { frameworks, type Route } from '../http/servers.js'
import type { TestClient } from '../prisma/open-database.js'
import { casesOn, oneOfEach, type TestDatabase } from '../support/databases.js'
import { inMemorySqlites } from '../support/in-memory-sqlite.js'

const namespace = uuid5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', '/every-fault')
const tables = ['owners', 'stored_events']

interface App {
  readonly database: TestDatabase
  readonly faults: FaultyAdapter
  readonly datastore: PrismaDatastore<TestClient>
  readonly recorder: PrismaApplicationRecorder<TestClient>
  /** A row and an event, by the ambient client and the recorder. */
  write(name: string): Promise<void>
}

describe.each(oneOfEach)('on $name', (kind) => {
  let app: App
  let runs = 0
  beforeAll(async () => {
    const database = await kind.createDatabase()
    const faults = faultyAdapter(database.adapter())
    const client = (adapter: PrismaDatastore['adapter']): TestClient => database.newClient(adapter) as TestClient
    const datastore = new PrismaDatastore<TestClient>({ adapter: faults, client, deadlineMs: 1_000 })
    const recorder = new PrismaApplicationRecorder<TestClient>(datastore)
    const write = async (name: string): Promise<void> => {
      await datastore.client.owner.create({ data: { name: 'Ann', dog: name } })
      await recorder.appendEvents([storedEvent(uuid5(namespace, name), 1)])
    }
    app = { database, faults, datastore, recorder, write }
  })
  afterAll(async () => {
    await app.datastore.close()
    await app.database.drop()
  })

  const newName = (): string => {
    runs += 1
    return `dog ${runs}`
  }
  const check = async (options: Partial<FaultCheckOptions> & Pick<FaultCheckOptions, 'run'>) =>
    await checkEveryFault({ faults: app.faults, tables, ...options })
  const messageOf = async (options: Parameters<typeof check>[0]): Promise<string> => {
    const error: unknown = await check(options).then(
      () => new Error('nothing was found'),
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(AssertionError)
    return error instanceof Error ? error.message : ''
  }

  describe.each(casesOn(kind, frameworks))('a route of $name', (framework) => {
    const route = (retries: number): Route => ({
      method: 'POST',
      path: '/',
      // The first request of a process may take a second on a loaded machine.
      transaction: { retries, deadlineMs: 20_000 },
      async handle({ body, send }) {
        await app.write(String(body['name']))
        send(201)
      },
    })
    const post = async (url: string): Promise<Response> =>
      await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: newName() }),
      })

    it.each([0, 2])(
      'is all or nothing with %i retries',
      async (retries) => {
        const server = await framework.start(app.datastore, [route(retries)])
        try {
          const { outcomes, changes } = await check({ run: async () => await post(server.url) })
          expect(changes.map(({ added }) => added)).toEqual([1, 1])
          const conflicts = outcomes.filter(({ kind: fault }) => fault === 'conflict')
          if (retries > 0) expect(new Set(conflicts.map(({ told }) => told))).toEqual(new Set(['success']))
          expect(outcomes.some(({ told }) => told === 'unknown')).toBe(kind.provider !== 'sqlite')
        } finally {
          await server.close()
        }
      },
      120_000,
    )
  })

  describe('finds', () => {
    let server: FastifyInstance
    let second: PrismaDatastore<TestClient>
    beforeEach(() => {
      server = Fastify()
      second = new PrismaDatastore<TestClient>({
        adapter: app.database.adapter(),
        client: (adapter) => app.database.newClient(adapter) as TestClient,
        deadlineMs: 1_000,
      })
      return async () => {
        await server.close()
        await second.close()
      }
    })
    /** Declares the route, with the middleware or without. */
    const serve = async (handle: (name: string, reply: FastifyReply) => Promise<unknown>, withMiddleware = true) => {
      if (withMiddleware) await server.register(transactions, { datastore: app.datastore })
      server.post<{ Body: { name: string } }>('/', async ({ body }, reply) => await handle(body.name, reply))
      return async (): Promise<unknown> =>
        await server.inject({ method: 'POST', url: '/', payload: { name: newName() } })
    }

    // On SQLite such a handler waits for itself.
    it.skipIf(kind.provider === 'sqlite')('a handler that writes outside of the transaction', async () => {
      const run = await serve(async (name, reply) => {
        await app.write(name)
        await second.client.owner.create({ data: { name: 'Bea', dog: `${name}'s friend` } })
        return await reply.code(201).send()
      })
      const message = await messageOf({ run, kinds: ['failed'] })
      expect(message).toContain('Without a fault a run stores: owners +2, stored_events +1')
      expect(message).toMatch(
        /failed .*: COMMIT\n +told: +failure, by HTTP 500\n +stored: owners \+1, stored_events \+0\n/,
      )
      expect(message).toContain('After a failure nothing may be stored.')
    })

    it('a response that leaves before the commit', async () => {
      const run = await serve(async (name, reply) => {
        const transaction = app.datastore.transaction(async () => {
          await app.write(name)
          void reply.code(201).send()
        })
        return await transaction.catch(() => (reply.sent ? reply : reply.code(500).send()))
      }, false)
      const message = await messageOf({ run, kinds: ['conflict', 'failed'] })
      expect(message).toMatch(
        /failed .*: COMMIT\n +told: +success, by HTTP 201\n +stored: owners \+0, stored_events \+0\n/,
      )
      expect(message).toContain('After a success everything has to be stored, and once.')
    })

    it('an error that is swallowed', async () => {
      const run = await serve(async (name, reply) => {
        await app.datastore.transaction(async () => await app.write(name)).catch(() => undefined)
        return await reply.code(201).send()
      }, false)
      const message = await messageOf({ run, kinds: ['failed'] })
      expect(message).toMatch(/Something is wrong after (\d+) of \1 faults/)
      expect(message).toMatch(/failed .*: COMMIT\n +told: +success, by HTTP 201\n/)
    })

    it('a retry that stores twice', async () => {
      const run = async (): Promise<void> => {
        const name = newName()
        const attempt = async (part: string): Promise<void> =>
          await app.datastore.transaction(async () => await app.write(`${name} ${part}`))
        await attempt('once').catch(async () => await attempt('again'))
      }
      if (kind.provider === 'sqlite') {
        // No answer is lost there.
        await check({ run })
        return
      }
      const message = await messageOf({ run, kinds: ['unanswered'] })
      expect(message).toMatch(/unanswered .*: COMMIT\n +told: +success\n +stored: owners \+2, stored_events \+2\n/)
    })

    it.skipIf(kind.provider === 'sqlite')(
      'an answer that asks for another try after a commit that nobody knows of',
      async () => {
        const run = async (): Promise<{ readonly status: number }> => {
          const transaction = app.datastore.transaction(async () => await app.write(newName()))
          return await transaction.then(
            () => ({ status: 201 }),
            () => ({ status: 503 }),
          )
        }
        const message = await messageOf({ run, kinds: ['unanswered', 'disconnected'] })
        expect(message).toMatch(/Something is wrong after 1 of \d+ faults/)
        expect(message).toMatch(
          /unanswered .*: COMMIT\n +told: +failure, by HTTP 503\n +stored: owners \+1, stored_events \+1\n/,
        )
      },
    )

    it.skipIf(kind.provider === 'sqlite')('two datastores in one request', async () => {
      const run = async (): Promise<void> => {
        const name = newName()
        await app.datastore.transaction(async () => {
          await second.transaction(async () => {
            await second.client.owner.create({ data: { name: 'Bea', dog: `${name}'s friend` } })
            await app.write(name)
          })
        })
      }
      const message = await messageOf({ run, kinds: ['failed', 'conflict'] })
      // What was saved is written with the commit of the first one, and by then the second one has committed.
      expect(message).toMatch(
        /conflict .*: (WITH|INSERT) .*\n +told: +failure, .*\n +stored: owners \+1, stored_events \+0\n/,
      )
      expect(message).toMatch(/failed .*: COMMIT\n +told: +failure, .*\n +stored: owners \+1, stored_events \+0\n/)
    })

    it('work that is told as done and still goes on', async () => {
      let end = (): void => undefined
      const run = async (n: number): Promise<void> => {
        const begun = new Promise<void>((resolve, reject) => {
          const work = async (): Promise<void> => {
            await app.write(newName())
            if (n < 3) return
            resolve()
            await new Promise<void>((done) => (end = done))
          }
          void app.datastore.transaction(work, { deadlineMs: 20_000 }).then(resolve, reject)
        })
        await begun
      }
      const message = await messageOf({ run, kinds: ['delayed'], delayMs: 1 })
      expect(message).toContain('Every transaction has to end, and every statement, when the caller has been told.')
      end()
      expect(await app.faults.settled(5_000)).toBe(true)
    })

    it('a run that does not end', async () => {
      let end = (): void => undefined
      const run = async (n: number): Promise<void> => {
        await app.datastore.transaction(async () => await app.write(newName()))
        if (n > 2) await new Promise<void>((resolve) => (end = resolve))
      }
      const message = await messageOf({ run, kinds: ['delayed'], delayMs: 1, timeoutMs: 300 })
      expect(message).toContain('A run has to come to an end.')
      end()
    })

    it('work that is done only once', async () => {
      const run = async (n: number): Promise<void> => {
        await app.datastore.transaction(async () => await app.write(newName()))
        if (n > 3) throw new Error('not again')
      }
      const message = await messageOf({ run, kinds: ['delayed'], delayMs: 1 })
      expect(message).toContain('and then a run without a fault\n   told:   failure, by Error: not again\n')
      expect(message).toContain('The next run, without a fault, has to succeed.')
    })

    it('work that is another one each time', async () => {
      const run = async (n: number): Promise<void> => {
        await app.datastore.transaction(async () => {
          await app.write(newName())
          if (n === 2) await app.write(newName())
        })
      }
      expect(await messageOf({ run, kinds: ['delayed'], delayMs: 1 })).toContain(
        'This time fewer statements were sent. The work has to send the same ones each time: use `n`, or `reset`.',
      )
    })
  })

  it('takes rows from the test, and resets before each run', async () => {
    const names: string[] = []
    const { changes } = await check({
      kinds: ['failed'],
      tables: ['owners'],
      run: async () => await app.datastore.transaction(async () => await app.write('Rex')),
      reset: async () => {
        for (const table of tables) await app.database.query(`DELETE FROM ${table}`)
      },
      async snapshot(table) {
        names.push(table)
        return await app.database.query('SELECT dog FROM owners')
      },
    })
    expect(changes).toEqual([{ table: 'owners', added: 1, removed: 0 }])
    expect(new Set(names)).toEqual(new Set(['owners']))
  })

  it('refuses what cannot be checked', async () => {
    const run = async (): Promise<unknown> => await app.datastore.transaction(async () => await app.write(newName()))
    await expect(check({ run, tables: ['toys'] })).rejects.toThrow(ProgrammingError)
    await expect(check({ run, tables: [] })).rejects.toThrow(/changes nothing in no tables/)
    await expect(check({ run, tables: ['no such table'] })).rejects.toThrow(/^Could not read the table no such table: /)
    const failing = check({ run: () => Promise.reject(new Error('not even so')) })
    await expect(failing).rejects.toThrow('A run without a fault came to: failure, by Error: not even so.')
    if (kind.provider !== 'sqlite') return
    expect(() => app.faults.failAt(1, 'unanswered')).toThrow(ProgrammingError)
  })

  it('looks at a PrismaClient without a datastore', async () => {
    const faults = faultyAdapter(app.database.adapter())
    const client = app.database.newClient(faults) as TestClient
    const run = async (): Promise<unknown> => {
      const dog = newName()
      return await client.$transaction(async (tx) => {
        await tx.owner.create({ data: { name: 'Ann', dog } })
        await tx.owner.create({ data: { name: 'Bea', dog: `${dog}'s friend` } })
      })
    }
    const options: FaultCheckOptions = { faults, run, tables: ['owners'], kinds: ['conflict'] }
    try {
      if (kind.name === 'SQLite (better-sqlite3)') {
        // Prisma 7.10 leaves the transaction open there whose COMMIT has failed.
        expect(await messageOf(options)).toMatch(/COMMIT\n +told: +failure, .*\n +stored: owners \+2\n/)
        return
      }
      const { statements, outcomes } = await check(options)
      expect([statements[0], statements.at(-1)]).toEqual(['BEGIN', 'COMMIT'])
      expect(outcomes).toHaveLength(statements.length)
    } finally {
      await client.$disconnect()
    }
  })
})

describe.each(inMemorySqlites)('on $name', ({ adapter }) => {
  it('is all or nothing in memory, too', async () => {
    const faults = faultyAdapter(adapter())
    await using datastore = new PrismaDatastore({ adapter: faults })
    const recorder = new PrismaApplicationRecorder(datastore)
    await recorder.createTable()
    const run = async (n: number): Promise<unknown> =>
      await recorder.appendEvents([storedEvent(uuid5(namespace, `${n}`), 1), storedEvent(uuid5(namespace, `${n}`), 2)])
    const { changes, outcomes } = await checkEveryFault({ faults, run, tables: ['stored_events'] })
    expect(changes).toEqual([{ table: 'stored_events', added: 2, removed: 0 }])
    expect(outcomes.length).toBeGreaterThanOrEqual(2)
  })
})
