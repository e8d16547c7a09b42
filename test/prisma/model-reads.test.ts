/** A read by a model, where nothing has begun in a transaction, goes without one and without a guest: what it shows, and what beside it may go wrong. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { countedStatements } from '../support/counted-statements.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import type { TestClient } from './open-database.js'

// Elsewhere a transaction begins with its first statement.
describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  let db: TestClient
  const sent: string[] = []
  /** How often Prisma has begun a transaction, which is a guest. */
  let opened = 0

  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore<TestClient>({
      adapter: countedStatements(database.adapter(), sent),
      client: (adapter) =>
        database.newClient({
          ...adapter,
          provider: adapter.provider,
          adapterName: adapter.adapterName,
          async connect() {
            const connected = await adapter.connect()
            const begin = connected.startTransaction.bind(connected)
            connected.startTransaction = async (level) => {
              opened += 1
              return await begin(level)
            }
            return connected
          },
        }) as TestClient,
    })
    db = datastore.client
  })
  afterAll(async () => {
    await datastore.close({ timeoutMs: Infinity })
    await database.drop()
  })
  beforeEach(async () => {
    await database.query('DELETE FROM owners')
    await database.query(`INSERT INTO owners (name, dog) VALUES ('Ann', 'Fido'), ('Bob', 'Rex')`)
    // The first one of a client has a guest, which shows that the client is on this datastore.
    await datastore.transaction(async () => await db.owner.count())
    sent.length = opened = 0
  })

  const create = async (dog: string): Promise<unknown> => await db.owner.create({ data: { name: 'Cem', dog } })
  const nameOf = async (dog: string): Promise<string | undefined> =>
    (await db.owner.findFirst({ where: { dog } }))?.name

  it('sends one statement, and no more for relations, lists and counts than Prisma', async () => {
    await datastore.transaction(async () => expect(await nameOf('Fido')).toBe('Ann'))
    expect(sent).toEqual([expect.stringMatching(/^SELECT .* FROM "public"."owners"/)])
    await datastore.transaction(async () => {
      expect(await db.owner.findMany({ include: { toys: true } })).toHaveLength(2)
      expect(await db.owner.count()).toBe(2)
      expect(await db.owner.aggregate({ _count: true })).toEqual({ _count: 2 })
      expect(await db.owner.groupBy({ by: ['name'], orderBy: { name: 'asc' } })).toEqual([
        { name: 'Ann' },
        { name: 'Bob' },
      ])
      expect(await db.owner.findFirst({ where: { dog: 'Rex' } })).toMatchObject({ name: 'Bob' })
      await expect(db.owner.findUniqueOrThrow({ where: { dog: 'Ace' } })).rejects.toMatchObject({ code: 'P2025' })
    })
    expect(sent.filter((sql) => !sql.startsWith('SELECT'))).toEqual([])
    expect(opened).toBe(0)
  })

  it('is in the transaction once that has begun, and sees what it has written', async () => {
    await datastore.transaction(async () => {
      expect(await nameOf('Ace')).toBeUndefined()
      await create('Ace')
      expect(await nameOf('Ace')).toBe('Cem')
    })
    expect(sent.map((sql) => sql.split(' ', 1)[0])).toEqual(['SELECT', 'INSERT', 'SELECT', 'COMMIT'])
  })

  it('sees what was asked for before it at the same time, also inside of a nested part', async () => {
    const both = async (dog: string): Promise<unknown> => await Promise.all([create(dog), nameOf(dog)])
    await datastore.transaction(async () => expect(await both('Ace')).toEqual([expect.anything(), 'Cem']))
    await datastore.transaction(async () => {
      const nested = { propagation: 'nested' } as const
      expect(await datastore.transaction(async () => await both('Bello'), nested)).toEqual([expect.anything(), 'Cem'])
    })
  })

  it('keeps what is written beside it out of the reads of others at the same moment', async () => {
    const [start, go] = latch()
    const [end, finish] = latch()
    const byUnique = async (dog: string): Promise<string | undefined> =>
      (await db.owner.findUnique({ where: { dog } }))?.name
    const writing = datastore.transaction(async () => {
      await start
      const results = await Promise.all([byUnique('Fido'), nameOf('Fido'), create('Ace'), nameOf('Ace')])
      await end
      return results
    })
    const reading = async (): Promise<unknown> => {
      await start
      return await Promise.all([nameOf('Ace'), byUnique('Ace'), nameOf('Rex'), byUnique('Rex')])
    }
    const others = [datastore.transaction(reading), reading()]
    go()
    const seen = [undefined, undefined, 'Bob', 'Bob']
    expect(await Promise.all(others)).toEqual([seen, seen])
    finish()
    expect(await writing).toEqual(['Ann', 'Ann', expect.anything(), 'Cem'])
  })

  it('ends at the deadline, and gives its connection back', async () => {
    const lock = await locked()
    const started = performance.now()
    await expect(
      datastore.transaction(async () => await db.owner.findMany(), { deadlineMs: 300 }),
    ).rejects.toMatchObject({ code: 'ES_TRANSACTION_TIMEOUT' })
    expect(performance.now() - started).toBeLessThan(3_000)
    await vi.waitFor(async () => {
      const waiting = await database.query(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
      )
      expect(waiting).toEqual([])
    })
    await lock.release()
    await datastore.transaction(async () => expect(await db.owner.count()).toBe(2))
  })

  it('leaves the transaction as it was when it fails', async () => {
    await datastore.transaction(async () => {
      await expect(db.owner.findFirst({ where: { id: 'two' as never } })).rejects.toMatchObject({
        name: 'PrismaClientValidationError',
      })
      await database.query('ALTER TABLE owners RENAME TO former_owners')
      await expect(db.owner.findFirst()).rejects.toMatchObject({ code: 'P2021' })
      await database.query('ALTER TABLE former_owners RENAME TO owners')
      await create('Ace')
    })
    expect(await nameOf('Ace')).toBe('Cem')
  })

  it('is waited for, and reported, where nobody awaits it before the end', async () => {
    const forgotten = datastore.transaction(async () => {
      void db.owner.findMany().then(() => undefined)
    })
    await expect(forgotten).rejects.toMatchObject({ code: 'ES_ESCAPE' })
  })

  it('begins a transaction where its options ask for one', async () => {
    await datastore.transaction(async () => await db.owner.count(), { isolationLevel: 'RepeatableRead' })
    await datastore.transaction(async () => await db.owner.count(), { readOnly: true })
    await datastore.transaction(async () => await db.owner.count(), { begin: 'first-statement' })
    expect(sent.filter((sql) => sql.startsWith('COMMIT'))).toHaveLength(3)
  })

  it('has a guest where an extension may do more beside it', async () => {
    const looked: string[] = []
    const extended = db.$extends({
      query: {
        owner: {
          async findMany({ args, query }) {
            looked.push(String((await db.owner.findFirst())?.name))
            return await query(args)
          },
        },
      },
    })
    await datastore.transaction(async () => expect(await extended.owner.findMany()).toHaveLength(2))
    expect(looked).toEqual(['Ann'])
  })

  function latch(): readonly [opened: Promise<void>, open: () => void] {
    let open: () => void = () => undefined
    return [new Promise<void>((resolve) => void (open = resolve)), () => open()]
  }

  /** Keeps all others from reading the owners. */
  async function locked(): Promise<{ release(): Promise<void> }> {
    const other = database.newClient(database.adapter()) as TestClient
    const [released, release] = latch()
    let hold: Promise<unknown> = released
    await new Promise<void>((resolve, reject) => {
      hold = other.$transaction(async (tx) => {
        await tx.$executeRaw`LOCK TABLE owners IN ACCESS EXCLUSIVE MODE`
        resolve()
        await released
      })
      hold.catch(reject)
    })
    return {
      async release() {
        release()
        await hold
        await other.$disconnect()
      },
    }
  }
})
