/** What a call of Prisma met that may pass is known as that, is run again by `retries`, and half an operation is never stored. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { isTransient, OperationalError, RollbackOnlyError } from '../../src/index.js'
import { databases, databasesOf } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const failureOf = async (work: Promise<unknown>): Promise<unknown> =>
  await work.then(
    () => undefined,
    (error: unknown) => error,
  )

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => {
    await open.clear()
    for (const dog of ['a', 'b']) await open.db.owner.create({ data: { name: 'Ann', dog } })
  })

  const [ownId, kill] =
    kind.provider === 'postgresql'
      ? ['SELECT pg_backend_pid() AS id', (id: unknown) => `SELECT pg_terminate_backend(${String(id)})`]
      : ['SELECT CONNECTION_ID() AS id', (id: unknown) => `KILL ${String(id)}`]
  const killOwn = async (): Promise<void> => {
    const [row] = await open.db.$queryRawUnsafe<Array<{ id: unknown }>>(ownId)
    await open.database.query(kill(row?.id))
  }
  const rename = async (dog: string, name: string): Promise<unknown> =>
    await open.db.owner.update({ where: { dog }, data: { name } })

  it.each<[string, (open: OpenDatabase) => PromiseLike<unknown>]>([
    ['a model', ({ db }) => db.owner.count()],
    ['raw SQL', ({ db }) => db.$queryRawUnsafe('SELECT 1 AS one')],
    [
      'a nested write',
      ({ db }) => db.owner.create({ data: { name: 'Ann', dog: 'c', toys: { create: [{ name: 'x' }] } } }),
    ],
  ])('a killed session that a call of Prisma meets is an OperationalError that may pass: %s', async (_name, call) => {
    const once = open.datastore.transaction(async () => {
      await rename('a', 'lost')
      await killOwn()
      await call(open)
    })
    const error = await failureOf(once)
    expect(error).toBeInstanceOf(OperationalError)
    expect(error).toMatchObject({ code: 'ES_OPERATIONAL', retryable: true })
    expect(isTransient(error)).toBe(true)
    let attempts = 0
    await open.datastore.transaction(
      async () => {
        attempts += 1
        await rename('a', 'kept')
        if (attempts === 1) await killOwn()
        await call(open)
      },
      { retries: 1 },
    )
    expect(attempts).toBe(2)
    expect(await open.db.owner.findUnique({ where: { dog: 'a' } })).toMatchObject({ name: 'kept' })
  })

  it('a deadlock that calls of Prisma meet keeps its code, may pass, and is run again', async () => {
    const seen: unknown[] = []
    const bothHaveOne = [newGate(), newGate()] as const
    const work = async (first: string, second: string, own: 0 | 1): Promise<void> =>
      await open.datastore.transaction(
        async () => {
          await rename(first, `by ${own}`)
          bothHaveOne[own].open()
          await bothHaveOne[own === 0 ? 1 : 0].opened
          await rename(second, `by ${own}`).catch((error: unknown) => {
            seen.push(error)
            throw error
          })
        },
        { retries: 3, deadlineMs: 20_000 },
      )
    await Promise.all([work('a', 'b', 0), work('b', 'a', 1)])
    expect(seen.length).toBeGreaterThan(0)
    expect(seen[0]).toMatchObject({ code: 'P2034' })
    expect(isTransient(seen[0])).toBe(true)
  })
})

it.each([new Error('read ECONNRESET'), Object.assign(new Error('no'), { code: 'P2002' }), undefined, 'P2034', {}])(
  'what says nothing of the database does not pass: %s',
  (error) => {
    expect(isTransient(error)).toBe(false)
  },
)

describe.each(databases)('half an operation on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => {
    await open.clear()
    await open.db.owner.create({ data: { name: 'Ann', dog: 'taken' } })
  })

  // More than what one statement can hold.
  const owners = kind.provider === 'mysql' ? 33_000 : 17_000
  const operations: ReadonlyArray<[string, (db: OpenDatabase['db']) => PromiseLike<unknown>]> = [
    [
      'an update with what is not there',
      (db) =>
        db.owner.update({
          where: { dog: 'taken' },
          data: { name: 'Changed', toys: { create: [{ name: 'x' }], connect: [{ id: -1 }] } },
        }),
    ],
    [
      'createMany in several statements',
      (db) =>
        db.owner.createMany({
          data: Array.from({ length: owners }, (_, n) => ({ name: 'Ann', dog: n === owners - 1 ? 'taken' : `m${n}` })),
        }),
    ],
  ]

  it.each(operations)(
    'is never committed, also where its failure is caught: %s',
    async (_name, operation) => {
      let caught: unknown
      const done = open.datastore.transaction(
        async () => {
          await open.db.owner.create({ data: { name: 'Ann', dog: 'before' } })
          caught = await failureOf(Promise.resolve(operation(open.db)))
        },
        { deadlineMs: 100_000 },
      )
      await expect(done).rejects.toBeInstanceOf(RollbackOnlyError)
      expect(caught).toMatchObject({ code: expect.stringMatching(/^P20/) })
      expect(await open.db.owner.findMany({ select: { name: true, dog: true } })).toEqual([
        { name: 'Ann', dog: 'taken' },
      ])
      expect(await open.db.toy.count()).toBe(0)
    },
    120_000,
  )

  it.each(operations.slice(0, 1))('is undone alone in a nested part: %s', async (_name, operation) => {
    await open.datastore.transaction(
      async () => {
        await open.db.owner.create({ data: { name: 'Ann', dog: 'before' } })
        const part = open.datastore.transaction(async () => await operation(open.db), { propagation: 'nested' })
        await failureOf(part)
      },
      { deadlineMs: 100_000 },
    )
    expect(await open.dogs()).toEqual(['before', 'taken'])
  })

  it('is never committed with whole ones that are carried out beside it', async () => {
    const { datastore, db } = open
    const half = async (): Promise<unknown> => await failureOf(Promise.resolve(operations[0]?.[1](db)))
    const whole = (dog: string) => db.owner.create({ data: { name: 'Bob', dog } })
    const beside = datastore.transaction(async () => await Promise.allSettled([whole('one'), half(), whole('two')]))
    await expect(beside).rejects.toBeInstanceOf(RollbackOnlyError)
    expect(await open.dogs()).toEqual(['taken'])
  })

  it('is what Prisma makes of operations that are made at the same time, of which one fails: the others say so', async () => {
    const { datastore, db } = open
    const newOwner = (dog: string) => db.owner.create({ data: { name: 'Bob', dog } })
    const single = async (): Promise<unknown> => await failureOf(Promise.resolve(newOwner('taken')))
    const lost = datastore.transaction(async () => await Promise.all([newOwner('one'), single(), newOwner('two')]))
    await expect(lost).rejects.toThrow('was not carried out')
    const caught = datastore.transaction(
      async () => await Promise.allSettled([newOwner('one'), single(), newOwner('two')]),
    )
    await expect(caught).rejects.toBeInstanceOf(RollbackOnlyError)
    expect(await open.dogs()).toEqual(['taken'])
  })
})
