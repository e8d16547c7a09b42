/** Prisma as a guest: whatever goes through the client inside a transaction ends with it, on every adapter. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PrismaDatastore, TransactionClosedError } from '../../src/index.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
  })

  const undo = new Error('roll back')
  const rolledBack = async (work: () => Promise<unknown>): Promise<void> => {
    await expect(
      open.datastore.transaction(async () => {
        await work()
        throw undo
      }),
    ).rejects.toBe(undo)
  }

  it('sends nothing before the first statement, and commits model calls', async () => {
    const { datastore, db } = open
    await datastore.transaction(async (tx) => {
      expect(tx.state).toBe('idle')
      await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      expect(tx.state).toBe('open')
      await tx.client.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
      expect(await open.dogs()).toEqual([])
    })
    expect(await open.dogs()).toEqual(['Fido', 'Rex'])
  })

  it('undoes model calls, nested writes and fluent calls', async () => {
    const { db } = open
    await rolledBack(async () => {
      await db.owner.create({
        data: { name: 'Ann', dog: 'Fido', toys: { create: [{ name: 'ball' }, { name: 'bone' }] } },
      })
      const toys = await db.owner.findUniqueOrThrow({ where: { dog: 'Fido' } }).toys()
      expect(toys).toHaveLength(2)
      await db.owner.update({ where: { dog: 'Fido' }, data: { dog: 'Rex' } })
      expect(await db.owner.count()).toBe(1)
    })
    expect(await open.dogs()).toEqual([])
    expect(await db.toy.count()).toBe(0)
  })

  it('undoes the array form of $transaction, with one element and with several', async () => {
    const { db } = open
    await rolledBack(async () => {
      const several = await db.$transaction([
        db.owner.create({ data: { name: 'Ann', dog: 'Fido' } }),
        db.owner.create({ data: { name: 'Bea', dog: 'Rex' } }),
        db.owner.count(),
      ])
      expect(several[2]).toBe(2)
      const [owner] = await db.$transaction([db.owner.create({ data: { name: 'Cem', dog: 'Ace' } })])
      expect(owner.dog).toBe('Ace')
    })
    expect(await open.dogs()).toEqual([])
  })

  it('undoes the array form alone when one of its elements fails, and goes on', async () => {
    const { datastore, db } = open
    await datastore.transaction(async () => {
      await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      const failing = db.$transaction([
        db.owner.create({ data: { name: 'Bea', dog: 'Rex' } }),
        db.owner.create({ data: { name: 'Cem', dog: 'Fido' } }),
      ])
      await expect(failing).rejects.toMatchObject({ code: 'P2002' })
    })
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('undoes the callback form of $transaction, of the ambient client and of the transaction client', async () => {
    const { datastore, db } = open
    await expect(
      datastore.transaction(async (tx) => {
        await db.$transaction(async (inner) => {
          await inner.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        })
        await tx.client.$transaction(async (inner) => {
          await inner.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
        })
        throw undo
      }),
    ).rejects.toBe(undo)
    expect(await open.dogs()).toEqual([])
  })

  it('goes on after a callback form whose failure was caught', async () => {
    const { datastore, db } = open
    await datastore.transaction(async () => {
      await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      const failing = db.$transaction(async (inner) => {
        await inner.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
        await inner.owner.create({ data: { name: 'Cem', dog: 'Fido' } })
      })
      await expect(failing).rejects.toMatchObject({ code: 'P2002' })
      await db.owner.create({ data: { name: 'Dan', dog: 'Ace' } })
    })
    expect(await open.dogs()).toEqual(['Ace', 'Fido'])
  })

  it('undoes raw queries, tagged and unsafe', async () => {
    const { db } = open
    const table = open.quoted('owners')
    await rolledBack(async () => {
      await db.$executeRawUnsafe(`INSERT INTO ${table} (name, dog) VALUES ('Ann', 'Fido')`)
      const unsafe = await db.$queryRawUnsafe<Array<{ dog: string }>>(`SELECT dog FROM ${table}`)
      expect(unsafe).toEqual([{ dog: 'Fido' }])
      const one = await db.$queryRaw<Array<{ n: unknown }>>`SELECT ${1} + 1 AS n`
      expect(Number(one[0]?.n)).toBe(2)
      expect(await db.$executeRaw`UPDATE toys SET name = ${'x'} WHERE 1 = 0`).toBe(0)
    })
    expect(await open.dogs()).toEqual([])
  })

  it('undoes what extensions do, of models, of the client and of queries', async () => {
    const { db } = open
    const extended = db.$extends({
      model: {
        owner: {
          async adopt(this: unknown, dog: string) {
            return await (this as typeof db.owner).create({ data: { name: 'Eve', dog } })
          },
        },
      },
      client: {
        async owners(this: unknown) {
          return await (this as typeof db).owner.count()
        },
      },
      query: {
        owner: {
          async create({ args, query }) {
            return await query({ ...args, data: { ...args.data, name: 'extended' } })
          },
        },
      },
    })
    await rolledBack(async () => {
      await extended.owner.adopt('Fido')
      expect(await extended.owners()).toBe(1)
      expect((await extended.owner.create({ data: { name: 'Ann', dog: 'Rex' } })).name).toBe('extended')
    })
    expect(await open.dogs()).toEqual([])
  })

  it('makes a savepoint of a transaction that a client outside of the datastore proxy begins', async () => {
    const { base } = open
    await rolledBack(async () => {
      await base.$transaction(async (inner) => {
        await inner.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      })
      await base.$transaction([
        base.owner.create({ data: { name: 'Bea', dog: 'Rex' } }),
        base.owner.create({ data: { name: 'Cem', dog: 'Ace' } }),
      ])
    })
    expect(await open.dogs()).toEqual([])
  })

  it('refuses a plain statement of a client that does not join', async () => {
    const { datastore, db, base } = open
    await expect(
      datastore.transaction(async () => {
        await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        await base.owner.count()
      }),
    ).rejects.toThrow('does not join the transaction')
    expect(await open.dogs()).toEqual([])
  })

  it('refuses work that comes after the end', async () => {
    const { datastore, db } = open
    let late: Promise<unknown> | undefined
    await datastore.transaction(async () => {
      await db.owner.count()
      late = new Promise((resolve) => setTimeout(resolve, 30)).then(() =>
        db.owner.create({ data: { name: 'Ann', dog: 'Fido' } }),
      )
      late.catch(() => undefined)
    })
    await expect(late).rejects.toBeInstanceOf(TransactionClosedError)
    expect(await open.dogs()).toEqual([])
  })

  it('keeps parallel transactions apart', async () => {
    const { datastore, db } = open
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, (_, n) =>
        datastore.transaction(async () => {
          await db.owner.create({ data: { name: `owner ${n}`, dog: `dog ${n}` } })
          await new Promise((resolve) => setTimeout(resolve, n % 5))
          if (n % 2 === 1) throw undo
        }),
      ),
    )
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(20)
    expect(await open.dogs()).toHaveLength(20)
    expect((await open.dogs()).every((dog) => Number(dog.split(' ')[1]) % 2 === 0)).toBe(true)
  })

  // Prisma sends the calls of one tick together, in the async context of the first: how far they are apart is varied.
  const distances = Array.from({ length: 12 }, (_, n) => n)
  const ticks = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await Promise.resolve()
  }

  it('undoes a nested part whose calls Prisma sends together with those of another transaction', async () => {
    const { datastore, db } = open
    for (const distance of distances) {
      const other = datastore.transaction(async () => {
        await db.owner.create({ data: { name: 'Ann', dog: `outer ${distance}` } })
      })
      const nested = datastore.transaction(async () => {
        const part = datastore.transaction(
          async () => {
            await ticks(distance)
            await db.owner.create({ data: { name: 'Bea', dog: `nested ${distance}` } })
            throw undo
          },
          { propagation: 'nested' },
        )
        await expect(part).rejects.toBe(undo)
      })
      await Promise.all([other, nested])
    }
    expect(await open.dogs()).toEqual(distances.map((distance) => `outer ${distance}`).sort())
  })

  it('takes a call outside of any transaction for none, although Prisma sends it together with one inside', async () => {
    const { datastore, db } = open
    await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
    for (const distance of distances) {
      await datastore.transaction(async () => {
        const find = async (): Promise<string | undefined> =>
          (await db.owner.findUnique({ where: { dog: 'Fido' } }))?.name
        expect(await find()).toBe('Ann')
        const outside = async (): Promise<string | undefined> => {
          await ticks(distance)
          return await find()
        }
        const found = [find(), datastore.transaction(outside, { propagation: 'notSupported' })]
        expect(await Promise.all(found)).toEqual(['Ann', 'Ann'])
      })
    }
  })

  it('serves a client that a framework makes, by its adapter and bind', async () => {
    const datastore = new PrismaDatastore<typeof open.base>({ adapter: open.database.adapter() })
    const client = open.database.newClient(datastore.adapter) as typeof open.base
    datastore.bind(client)
    await expect(
      datastore.transaction(async () => {
        await datastore.client.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        throw undo
      }),
    ).rejects.toBe(undo)
    await datastore.client.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
    expect(await open.dogs()).toEqual(['Rex'])
    await client.$disconnect()
    await datastore.close()
  })
})
