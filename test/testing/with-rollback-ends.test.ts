/** However a test in withRollback() ends, it leaves nothing behind: no rows, no open transaction, no datastore that is blocked. */
import express from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { transactions as forExpress } from '../../adapters/express.js'
import {
  ProgrammingError,
  RollbackOnlyError,
  type TransactionOptions,
  TransactionTimeoutError,
} from '../../src/index.js'
import { withRollback } from '../../src/testing/index.js'
import { TrainingSchool } from '../application/dogs.js'
import { listen } from '../http/listening.js'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const undo = new Error('undo')
const dog = (name: string) => ({ data: { name: 'Ann', dog: name } })
const sleep = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms))
const never = async (): Promise<never> => await new Promise(() => undefined)

describe.each(oneOfEach)('the end of withRollback on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ name: 'TrainingSchool', datastore: open.datastore })
  })
  afterEach(async () => {
    expect(await open.dogs()).toEqual([])
    expect(await open.database.query(`SELECT * FROM ${open.quoted('trainingschool_events')}`)).toEqual([])
    expect(await openTransactions()).toEqual([])
    await withRollback(open.datastore, async () => await open.db.owner.create(dog('again')))
    await open.datastore.transaction(async () => await open.db.owner.create(dog('after')))
    expect(await open.dogs()).toEqual(['after'])
    await open.clear()
  })
  afterAll(async () => await open.close())

  const names = async (): Promise<string[]> => (await open.db.owner.findMany()).map((owner) => owner.dog).sort()
  const run = async <T>(work: () => Promise<T>, options?: TransactionOptions): Promise<T> =>
    await open.datastore.transaction(work, options)

  /** Those of this database that an observer sees; on SQLite it would fail to begin one. */
  async function openTransactions(): Promise<unknown[]> {
    const { database } = open
    if (kind.provider === 'postgresql') {
      return await database.query(
        "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
      )
    }
    if (kind.provider === 'mysql') {
      return await database.query(
        'SELECT t.trx_id FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id ' +
          'WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()',
      )
    }
    await database.query('BEGIN IMMEDIATE')
    return await database.query('ROLLBACK')
  }

  it('ends at its deadline, and refuses what the test does after it', async () => {
    const late = newGate()
    let refused: Promise<unknown> | undefined
    const test = withRollback(
      open.datastore,
      async () => {
        refused = late.opened.then(async () => await open.db.owner.create(dog('Late')))
        refused.catch(() => undefined)
        await open.db.owner.create(dog('Rex'))
        await never()
      },
      { deadlineMs: 500 },
    )
    await expect(test).rejects.toThrow(TransactionTimeoutError)
    late.open()
    await expect(refused).rejects.toThrow(/after the end of withRollback/)
  })

  it('ends when its signal aborts', async () => {
    const controller = new AbortController()
    const reason = new Error('the framework has given up')
    const test = withRollback(
      open.datastore,
      async () => {
        await run(async () => {
          await open.db.owner.create(dog('Rex'))
          controller.abort(reason)
          await never()
        })
      },
      { signal: controller.signal },
    )
    await expect(test).rejects.toBe(reason)
    const again = withRollback(open.datastore, async () => 'ran', { signal: controller.signal })
    await expect(again).rejects.toBe(reason)
  })

  it('refuses deadlines that no timer can measure', async () => {
    const test = withRollback(open.datastore, async () => {}, { deadlineMs: Number.POSITIVE_INFINITY })
    await expect(test).rejects.toThrow(ProgrammingError)
  })

  it('is refused inside of a transaction', async () => {
    const inside = async (): Promise<void> => {
      const test = withRollback(open.datastore, async () => await open.db.owner.create(dog('Rex')))
      await expect(test).rejects.toThrow(ProgrammingError)
    }
    const around = run(async () => {
      await inside()
      await run(inside, { propagation: 'notSupported' })
      throw undo
    })
    await expect(around).rejects.toBe(undo)
  })

  it('lets transactions that are inside of another take turns', async () => {
    // There is no second transaction on SQLite, and loose writes would wait for the first.
    if (kind.provider === 'sqlite') return
    await withRollback(open.datastore, async () => {
      const add = async (name: string): Promise<void> =>
        await run(
          async () => {
            await open.db.owner.create(dog(name))
            await sleep(2)
            await open.db.owner.create(dog(`${name}2`))
            if (name === 'a') throw undo
          },
          { propagation: 'requiresNew' },
        )
      await run(async () => {
        await open.db.owner.create(dog('outer'))
        const results = await Promise.allSettled(['a', 'b', 'c'].map(add))
        expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
      })
      expect(await names()).toEqual(['b', 'b2', 'c', 'c2', 'outer'])
    })
  })

  it('goes on after a transaction of Prisma that hides a failure', async () => {
    await withRollback(open.datastore, async () => {
      await open.db.owner.create(dog('Rex'))
      const hiding = open.base.$transaction(async (tx) => {
        await tx.owner.create(dog('Ace'))
        await tx.owner.create(dog('Rex')).catch(() => undefined)
      })
      // PostgreSQL can keep nothing after a failure.
      if (kind.provider === 'postgresql') await expect(hiding).rejects.toThrow()
      else await hiding
      expect(await names()).toEqual(kind.provider === 'postgresql' ? ['Rex'] : ['Ace', 'Rex'])
    })
  })

  it('goes on after a transaction that may only roll back', async () => {
    await withRollback(open.datastore, async () => {
      const ended: string[] = []
      const doomed = open.datastore.transaction(async (tx) => {
        tx.afterCommit(() => ended.push('committed'))
        tx.afterRollback(() => ended.push('rolled back'))
        await open.db.owner.create(dog('Rex'))
        tx.rollbackOnly()
      })
      await expect(doomed).rejects.toThrow(RollbackOnlyError)
      expect(ended).toEqual(['rolled back'])
      expect(await names()).toEqual([])
    })
  })

  it('goes on after a request that has passed its deadline, and runs the hooks of requests at their ends', async () => {
    const ended: string[] = []
    const app = express()
    app.use(forExpress(open.datastore, { deadlineMs: 1_000 }))
    app.post('/:name', async (request, response) => {
      const { name } = request.params
      open.datastore.currentTransaction.afterCommit(() => ended.push(`${name} committed`))
      open.datastore.currentTransaction.afterRollback(() => ended.push(`${name} rolled back`))
      await open.db.owner.create(dog(name))
      if (name === 'Slow') await sleep(1_500)
      response.status(201).end()
    })
    const server = await listen(app)
    try {
      await withRollback(open.datastore, async () => {
        const post = async (name: string): Promise<number> =>
          (await fetch(`${server.url}/${name}`, { method: 'POST' })).status
        expect([await post('Rex'), await post('Slow'), await post('Ace')]).toEqual([201, 503, 201])
        expect(ended).toEqual(['Rex committed', 'Slow rolled back', 'Ace committed'])
        expect(await names()).toEqual(['Ace', 'Rex'])
      })
    } finally {
      await server.close()
    }
  })

  it('stores nothing of a request that has sent no statement by its end', async () => {
    const [entered, late] = [newGate(), newGate()]
    const app = express()
    app.use(forExpress(open.datastore))
    app.post('/', async (_request, response) => {
      entered.open()
      await late.opened
      await school.register('Late')
      await open.db.owner.create(dog('Late'))
      response.status(201).end()
    })
    const server = await listen(app)
    try {
      let left: Promise<Response> | undefined
      await withRollback(open.datastore, async () => {
        left = fetch(server.url, { method: 'POST' })
        await entered.opened
      })
      late.open()
      expect((await left)?.status).toBe(500)
    } finally {
      await server.close()
    }
  })

  it('does not keep the datastore from closing with a transaction that it has left open', async () => {
    const other = await openDatabase(kind)
    let ended: unknown
    await withRollback(other.datastore, async () => {
      const left = other.datastore.transaction(async (tx) => {
        ended = new Promise((resolve) => tx.afterRollback(() => resolve('rolled back')))
        await never()
      })
      left.catch(() => undefined)
    })
    expect(await ended).toBe('rolled back')
    await other.close()
  })

  it('lets subscriptions follow what the test stores', async () => {
    await withRollback(open.datastore, async () => {
      const subscription = school.recorder.subscribe()
      const seen = (async () => {
        for await (const { id } of subscription) return id
        return undefined
      })()
      await school.register('Fido')
      expect(await seen).toBe((await school.recorder.selectNotifications(null, 1))[0]?.id)
    })
  })

  it.each(['$disconnect', 'close'] as const)('undoes everything when the test calls %s', async (end) => {
    const other = await openDatabase(kind)
    try {
      await withRollback(other.datastore, async () => {
        await other.db.owner.create(dog('Rex'))
        await (end === 'close' ? other.datastore.close() : other.db.$disconnect())
      })
      expect(await other.dogs()).toEqual([])
    } finally {
      await other.close()
    }
  })
})
