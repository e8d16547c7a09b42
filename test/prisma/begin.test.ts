/** When BEGIN is sent, and what is sent without it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  Aggregate,
  Application,
  CommitUnknownError,
  ConcurrencyError,
  event,
  PrismaDatastore,
  TransactionTimeoutError,
} from '../../src/index.js'
import { type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import { databases, type TestDatabase } from '../support/databases.js'
import { adapterOf } from '../support/pools.js'
import type { TestClient } from './open-database.js'

class Dog extends Aggregate {
  @event('Named', 'name') rename(_name: string): void {}
}

/** Statements are told by their first words; savepoints have names that say nothing here. */
const verb = (sql: string): string =>
  sql.startsWith('WITH') && sql.includes('INSERT INTO') ? 'INSERT' : (sql.split(/\s/, 1)[0] ?? '')

describe.each(databases)('on $name', (kind) => {
  const isPostgresql = kind.provider === 'postgresql'
  let database: TestDatabase
  let adapter: FaultyAdapter
  let datastore: PrismaDatastore<TestClient>
  let application: Application
  beforeAll(async () => {
    database = await kind.createDatabase()
    adapter = faultyAdapter(database.adapter())
    datastore = new PrismaDatastore<TestClient>({
      adapter,
      client: (joining) => database.newClient(joining as never) as TestClient,
    })
    application = new Application({ name: '', datastore })
    await application.ready()
    // Prisma, the guest and the pool come with the first transaction.
    await datastore.transaction(async () => await datastore.client.owner.findMany())
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })
  beforeEach(() => adapter.stop())

  const owner = (dog: string) => datastore.client.owner.create({ data: { name: 'Ann', dog } })
  const read = () => datastore.client.owner.findFirst({ where: { dog: 'Rex' } })

  /** The verbs of the statements that work sends in a transaction. */
  async function sent(
    work: () => Promise<unknown>,
    options?: Parameters<typeof datastore.transaction>[1],
  ): Promise<string[]> {
    adapter.record()
    await datastore.transaction(work, options)
    adapter.stop()
    // SQLite sets up the connection of its first reading transaction.
    return adapter.statements.map(verb).filter((word) => word !== 'PRAGMA')
  }

  it('reads of models are sent by themselves before the first write on PostgreSQL, elsewhere in the transaction', async () => {
    const reads = await sent(async () => {
      await read()
      await datastore.client.owner.count()
    })
    expect(reads).toEqual(isPostgresql ? ['SELECT', 'SELECT'] : ['BEGIN', 'SELECT', 'SELECT', 'COMMIT'])
    const mixed = await sent(async () => {
      await read()
      await owner('Rex')
      await read()
    })
    const [first, second, ...others] = mixed
    expect([first, second]).toEqual(isPostgresql ? ['SELECT', 'BEGIN'] : ['BEGIN', 'SELECT'])
    expect(others.slice(-2)).toEqual(['SELECT', 'COMMIT'])
  })

  it('a raw query begins the transaction, whatever it does', async () => {
    const statements = await sent(async () => await datastore.client.$queryRawUnsafe('SELECT 1'))
    expect(statements).toEqual(['BEGIN', 'SELECT', 'COMMIT'])
  })

  it('an isolation level, readOnly and begin have it begun with the first statement', async () => {
    const level = kind.provider === 'sqlite' ? 'Serializable' : 'ReadCommitted'
    for (const options of [{ isolationLevel: level }, { readOnly: true }, { begin: 'first-statement' }] as const) {
      const statements = await sent(read, options)
      expect([statements[0], ...statements.slice(-2)]).toEqual(['BEGIN', 'SELECT', 'COMMIT'])
    }
    await expect(datastore.transaction(read, { begin: 'later' as never })).rejects.toThrow(/begin 'later'/)
  })

  it('a nested part begins it', async () => {
    const statements = await sent(async () => await datastore.transaction(read, { propagation: 'nested' }))
    expect(statements).toEqual(['BEGIN', 'SAVEPOINT', 'SELECT', 'RELEASE', 'COMMIT'])
  })

  it('a command that only saves events sends a read and a write on PostgreSQL', async () => {
    const dog = new Dog()
    dog.rename('Rex')
    await application.save(dog)
    const before = datastore.stats
    const statements = await sent(async () => {
      const known = await application.repository.get(Dog, dog.id)
      known.rename('Ace')
      await application.save(known)
    })
    if (isPostgresql) expect(statements).toEqual(['SELECT', 'INSERT'])
    else expect([statements[0], statements.at(-1)]).toEqual(['BEGIN', 'COMMIT'])
    // It is a transaction all the same.
    const { begun, committed, open, flushes } = datastore.stats
    expect([begun - before.begun, committed - before.committed, open, flushes - before.flushes]).toEqual([1, 1, 0, 1])
    expect((await application.repository.get(Dog, dog.id)).version).toBe(3)
  })

  it.skipIf(kind.provider === 'sqlite')('a conflict at the one write rolls back, and hooks tell', async () => {
    const dog = new Dog()
    await application.save(dog)
    const told: string[] = []
    const work = datastore.transaction(async (tx) => {
      tx.afterCommit(() => told.push('committed'))
      tx.afterRollback(() => told.push('rolled back'))
      const known = await application.repository.get(Dog, dog.id)
      await datastore.outside(async () => {
        const other = await application.repository.get(Dog, dog.id)
        other.rename('first')
        await application.save(other)
      })
      known.rename('second')
      await application.save(known)
    })
    await expect(work).rejects.toThrow(ConcurrencyError)
    expect(told).toEqual(['rolled back'])
  })
})

describe.each(databases.filter(({ provider }) => provider === 'postgresql'))('without BEGIN on $name', (kind) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await kind.createDatabase()
  })
  afterAll(async () => {
    await database.drop()
  })

  function open(parameters: string = '', poolSize: number = 2): PrismaDatastore<TestClient> {
    const datastore = new PrismaDatastore<TestClient>({
      adapter: adapterOf(kind, `${database.url}${parameters}`, poolSize),
      client: (adapter) => database.newClient(adapter) as TestClient,
    })
    onTestFinished(async () => await datastore.close())
    return datastore
  }

  /** Keeps everybody from a table until it is called. */
  async function locked(table: string): Promise<() => Promise<void>> {
    const holder = open()
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    let held: Promise<unknown> | undefined
    await new Promise<void>((resolve) => {
      held = holder.transaction(
        async () => {
          await holder.client.$executeRawUnsafe(`LOCK TABLE "${table}" IN ACCESS EXCLUSIVE MODE`)
          resolve()
          await released
        },
        { deadlineMs: 30_000 },
      )
    })
    return async () => {
      release()
      await held
    }
  }

  it('a database whose default is a snapshot has its reads in the transaction', async () => {
    const datastore = open('?options=-c%20default_transaction_isolation%3Drepeatable%5C%20read')
    const counts = await datastore.transaction(async () => {
      const before = await datastore.client.owner.count()
      await database.query(`INSERT INTO owners (name, dog) VALUES ('Ann', 'Snap')`)
      return [before, await datastore.client.owner.count()]
    })
    expect(counts).toEqual([0, 0])
    expect(datastore.stats.begun).toBe(1)
  })

  it('a read holds no connection afterwards', async () => {
    const datastore = open('', 1)
    const both = [1, 2].map(() =>
      datastore.transaction(async () => {
        await datastore.client.owner.count()
        await datastore.transaction(async () => await datastore.client.owner.count(), { propagation: 'requiresNew' })
      }),
    )
    await Promise.all(both)
    expect(datastore.stats).toMatchObject({ begun: 0, open: 0, waiting: 0 })
  })

  it('a failed read that was caught spoils nothing', async () => {
    const datastore = open()
    await database.query('ALTER TABLE toys RENAME TO put_away')
    try {
      await datastore.transaction(async () => {
        await expect(datastore.client.toy.count()).rejects.toThrow()
        await datastore.client.owner.create({ data: { name: 'Ann', dog: 'Ivy' } })
      })
    } finally {
      await database.query('ALTER TABLE put_away RENAME TO toys')
    }
    expect(await datastore.client.owner.count({ where: { dog: 'Ivy' } })).toBe(1)
  })

  it('the deadline ends a read that waits, and the pool is whole', async () => {
    const datastore = open('', 1)
    await datastore.transaction(async () => await datastore.client.owner.count())
    const unlock = await locked('owners')
    try {
      const work = datastore.transaction(async () => await datastore.client.owner.count(), { deadlineMs: 300 })
      await expect(work).rejects.toThrow(TransactionTimeoutError)
      expect(await datastore.client.toy.count()).toBe(0)
    } finally {
      await unlock()
    }
  })

  it('what becomes of the one write is unknown when no answer comes', async () => {
    const datastore = open('', 1)
    const application = new Application({ name: '', datastore })
    await application.ready()
    const unlock = await locked('stored_events')
    try {
      const ended: string[] = []
      const work = datastore.transaction(
        async (tx) => {
          tx.afterCommit(() => ended.push('committed'))
          tx.afterRollback(() => ended.push('rolled back'))
          await application.save(new Dog())
        },
        { deadlineMs: 300 },
      )
      await expect(work).rejects.toThrow(CommitUnknownError)
      expect(ended).toEqual([])
      expect(datastore.stats).toMatchObject({ begun: 1, commitUnknown: 1, open: 0 })
      expect(await datastore.client.toy.count()).toBe(0)
    } finally {
      await unlock()
    }
  })
})
