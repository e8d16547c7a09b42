/** A test on a real database leaves nothing behind, and the code under test does not notice. */
import express from 'express'
import Fastify from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { transactions as forExpress } from '../../adapters/express.js'
import { transactions as forFastify } from '../../adapters/fastify.js'
import {
  AggregateNotFoundError,
  ConcurrencyError,
  NoTransactionError,
  NotSupportedError,
  ProgrammingError,
  TransactionClosedError,
  TransactionTimeoutError,
} from '../../src/index.js'
import { withRollback } from '../../src/testing/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { listen } from '../http/listening.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const undo = new Error('undo')
const dog = (name: string) => ({ data: { name: 'Ann', dog: name } })

describe.each(oneOfEach)('withRollback on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterEach(async () => {
    // Whatever the test did, nothing is there, and the datastore works.
    expect(await open.dogs()).toEqual([])
    expect(await open.database.query(`SELECT * FROM ${open.quoted('trainingschool_events')}`)).toEqual([])
    await open.db.owner.create(dog('after'))
    expect(await open.dogs()).toEqual(['after'])
    await open.clear()
  })
  afterAll(async () => {
    await open.close()
  })

  const names = async (): Promise<string[]> => (await open.db.owner.findMany()).map((owner) => owner.dog).sort()

  it('keeps what is done outside of transactions until its end', async () => {
    const given = await withRollback(open.datastore, async () => {
      await open.db.owner.create(dog('Rex'))
      await open.base.owner.create(dog('Ace'))
      await school.register('Fido')
      await school.addTrick('Fido', 'sit')
      expect(await names()).toEqual(['Ace', 'Rex'])
      expect(await school.getTricks('Fido')).toEqual(['sit'])
      expect(await school.recorder.selectNotifications(null, 10)).toHaveLength(2)
      expect(await open.dogs()).toEqual([])
      return 'given'
    })
    expect(given).toBe('given')
    await expect(school.getTricks('Fido')).rejects.toThrow(AggregateNotFoundError)
  })

  it('leaves nothing in a cache that reads no further', async () => {
    const cached = new TrainingSchool({
      name: 'TrainingSchool',
      datastore: open.datastore,
      cache: { fastForward: false },
    })
    await cached.register('Ace')
    await withRollback(open.datastore, async () => {
      await cached.register('Fido')
      await cached.addTrick('Fido', 'sit')
      await cached.addTrick('Ace', 'beg')
      expect(await cached.getTricks('Fido')).toEqual(['sit'])
      await open.datastore.transaction(async () => await cached.addTrick('Ace', 'roll'))
      expect(await cached.getTricks('Ace')).toEqual(['beg', 'roll'])
    })
    await expect(cached.getTricks('Fido')).rejects.toThrow(AggregateNotFoundError)
    expect(await cached.getTricks('Ace')).toEqual([])
    await cached.addTrick('Ace', 'wave')
    expect(await cached.getTricks('Ace')).toEqual(['wave'])
    await open.database.query(`DELETE FROM ${open.quoted('trainingschool_events')}`)
  })

  it('passes on what the test throws', async () => {
    const test = withRollback(open.datastore, async () => {
      await open.db.owner.create(dog('Rex'))
      throw undo
    })
    await expect(test).rejects.toBe(undo)
  })

  it('lets the transactions of the code commit and roll back, with their hooks and states', async () => {
    await withRollback(open.datastore, async () => {
      const seen: string[] = []
      await open.datastore.transaction(async (tx) => {
        expect(tx.state).toBe('idle')
        await open.db.owner.create(dog('Rex'))
        await school.register('Fido')
        tx.afterCommit(() => seen.push('committed'))
      })
      expect(seen).toEqual(['committed'])
      const failing = open.datastore.transaction(async (tx) => {
        tx.afterRollback(() => seen.push('rolled back'))
        await open.db.owner.create(dog('Max'))
        await school.addTrick('Fido', 'sit')
        throw undo
      })
      await expect(failing).rejects.toBe(undo)
      expect(seen).toEqual(['committed', 'rolled back'])
      expect(await names()).toEqual(['Rex'])
      expect(await school.getTricks('Fido')).toEqual([])
      const [first] = await open.db.$transaction([open.db.owner.create(dog('Ace')), open.db.owner.count()])
      expect(first.dog).toBe('Ace')
      await open.base.$transaction(async (tx) => await tx.owner.create(dog('Zoe')))
      expect(await names()).toEqual(['Ace', 'Rex', 'Zoe'])
    })
  })

  it('keeps to every propagation', async () => {
    await withRollback(open.datastore, async () => {
      const run = open.datastore.transaction.bind(open.datastore)
      await expect(run(async () => {}, { propagation: 'mandatory' })).rejects.toThrow(NoTransactionError)
      await run(async () => await open.db.owner.create(dog('supports')), { propagation: 'supports' })
      await run(async () => await open.db.owner.create(dog('never')), { propagation: 'never' })
      await run(async () => {
        await open.db.owner.create(dog('outer'))
        await expect(run(async () => {}, { propagation: 'never' })).rejects.toThrow(ProgrammingError)
        const nested = run(
          async () => {
            await open.db.owner.create(dog('nested'))
            throw undo
          },
          { propagation: 'nested' },
        )
        await expect(nested).rejects.toBe(undo)
        await run(async () => await open.db.owner.count(), { propagation: 'notSupported' })
        const another = run(async () => await open.db.owner.create(dog('another')), { propagation: 'requiresNew' })
        if (kind.provider === 'sqlite') await expect(another).rejects.toThrow(NotSupportedError)
        else await another
      })
      const others = kind.provider === 'sqlite' ? [] : ['another']
      expect(await names()).toEqual([...others, 'never', 'outer', 'supports'])
    })
  })

  it('keeps the savepoints of a transaction apart from those of another inside of it', async () => {
    if (kind.provider === 'sqlite') return
    await withRollback(open.datastore, async () => {
      const run = open.datastore.transaction.bind(open.datastore)
      await run(async () => {
        await open.db.owner.create(dog('kept'))
        const failing = run(
          async () => {
            await open.db.owner.create(dog('undone'))
            const inside = async (): Promise<unknown> =>
              await run(async () => await open.db.owner.create(dog('inside')), { propagation: 'nested' })
            await run(inside, { propagation: 'requiresNew' })
            throw undo
          },
          { propagation: 'nested' },
        )
        await expect(failing).rejects.toBe(undo)
      })
      expect(await names()).toEqual(['kept'])
    })
  })

  it('goes on after statements that fail', async () => {
    await withRollback(open.datastore, async () => {
      await open.db.owner.create(dog('Rex'))
      await expect(open.db.owner.create(dog('Rex'))).rejects.toMatchObject({ code: 'P2002' })
      await school.register('Fido')
      await expect(school.register('Fido')).rejects.toThrow(ConcurrencyError)
      const twice = open.datastore.transaction(async () => {
        await open.db.owner.create(dog('Ace'))
        await school.register('Fido')
      })
      await expect(twice).rejects.toThrow(ConcurrencyError)
      expect(await names()).toEqual(['Rex'])
    })
  })

  it('lets code repeat its work, and stops it at its deadline', async () => {
    await withRollback(open.datastore, async () => {
      const attempts: number[] = []
      await open.datastore.transaction(
        async (tx) => {
          attempts.push(tx.attempt)
          await open.db.owner.create(dog('Rex'))
          if (tx.attempt < 3) throw new ConcurrencyError('again', { originatorId: 'x', expectedVersion: 1 })
        },
        { retries: 3 },
      )
      expect(attempts).toEqual([1, 2, 3])
      const slow = open.datastore.transaction(
        async () => {
          await open.db.owner.create(dog('Ace'))
          await new Promise((resolve) => setTimeout(resolve, 200))
        },
        { deadlineMs: 50 },
      )
      await expect(slow).rejects.toThrow(TransactionTimeoutError)
      expect(await names()).toEqual(['Rex'])
    })
  })

  it('lets transactions take turns', async () => {
    await withRollback(open.datastore, async () => {
      const add = async (name: string): Promise<unknown> =>
        await open.datastore.transaction(async () => {
          await open.db.owner.create(dog(name))
          await school.register(name)
          if (name === 'b') throw undo
        })
      const results = await Promise.allSettled(['a', 'b', 'c', 'd'].map(add))
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
      expect(await names()).toEqual(['a', 'c', 'd'])
      expect(await school.recorder.selectNotifications(null, 10)).toHaveLength(3)
    })
  })

  it('takes in requests that come over a socket', async () => {
    const app = express()
    app.use(forExpress(open.datastore))
    app.post('/dogs/:name', async (request, response) => {
      await school.register(request.params.name)
      await open.db.owner.create(dog(request.params.name))
      response.status(request.params.name === 'Bad' ? 400 : 201).end()
    })
    const fastify = Fastify()
    await fastify.register(forFastify, { datastore: open.datastore })
    fastify.post<{ Params: { name: string } }>('/dogs/:name', async (request, reply) => {
      await school.register(request.params.name)
      await open.db.owner.create(dog(request.params.name))
      return await reply.code(request.params.name === 'Bad' ? 400 : 201).send()
    })
    const expressServer = await listen(app)
    const fastifyUrl = await fastify.listen({ port: 0, host: '127.0.0.1' })
    try {
      for (const url of [expressServer.url, fastifyUrl]) {
        await withRollback(open.datastore, async () => {
          const post = async (name: string): Promise<number> =>
            (await fetch(`${url}/dogs/${name}`, { method: 'POST' })).status
          expect(await Promise.all([post('Rex'), post('Ace'), post('Bad')])).toEqual([201, 201, 400])
          expect(await post('Rex')).toBe(500) // its row is there already
          expect(await names()).toEqual(['Ace', 'Rex'])
          expect((await school.repository.get(Dog, Dog.createId('Rex'))).version).toBe(1)
        })
        expect(await open.dogs()).toEqual([])
      }
    } finally {
      await expressServer.close()
      await fastify.close()
    }
  })

  it('refuses a second test on the datastore, and what comes after its end', async () => {
    let late: Promise<unknown> | undefined
    let ended = (): void => {}
    const end = new Promise<void>((resolve) => {
      ended = resolve
    })
    await withRollback(open.datastore, async () => {
      await expect(withRollback(open.datastore, async () => {})).rejects.toThrow(ProgrammingError)
      late = end.then(async () => await school.register('Late'))
      late.catch(() => undefined)
      await open.db.owner.create(dog('Rex'))
    })
    ended()
    await expect(late).rejects.toThrow(TransactionClosedError)
    await withRollback(open.datastore, async () => expect(await names()).toEqual([]))
  })

  it('ends transactions that were left open', async () => {
    let left: Promise<unknown> | undefined
    await withRollback(open.datastore, async () => {
      await new Promise<void>((resolve) => {
        left = open.datastore.transaction(async () => {
          await open.db.owner.create(dog('Rex'))
          resolve()
          await new Promise((done) => setTimeout(done, 50))
          await open.db.owner.create(dog('Ace'))
        })
        left.catch(() => undefined)
      })
    })
    await expect(left).rejects.toThrow(TransactionClosedError)
  })
})
