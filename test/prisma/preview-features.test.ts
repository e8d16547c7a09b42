/** Preview features of Prisma's and values of all types, by a client beside a plain one: relations by one join, typed SQL, JSON, dates. */
import { makeTypedQueryFactory, type TypedSql } from '@prisma/client/runtime/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'
import { PrismaClient } from '../support/generated/previews/client.js'

type Adapter = NonNullable<ConstructorParameters<typeof PrismaClient>[0]['adapter']>

/** The type of a client knows these events by its options alone. */
interface Listening {
  $on(event: 'query', listener: (event: { readonly query: string }) => void): unknown
}

/** As `prisma generate --sql` writes it for a file with this statement. */
const typed = <Row>(sql: string): ((...args: string[]) => TypedSql<unknown[], Row>) =>
  makeTypedQueryFactory(sql) as (...args: string[]) => TypedSql<unknown[], Row>
const dogsOf = typed<{ dog: string }>('SELECT dog FROM owners WHERE name = $1 ORDER BY dog')
const addOwner = typed<{ dog: string }>('INSERT INTO owners (name, dog) VALUES ($1, $2) RETURNING dog')

/** Each is tried on a database with two owners and two toys. */
const operations: Readonly<Record<string, (db: PrismaClient) => Promise<unknown>>> = {
  'relations by a join': async (db) =>
    await db.owner.findMany({
      relationLoadStrategy: 'join',
      include: { toys: { orderBy: { name: 'desc' }, include: { owner: { select: { dog: true } } } } },
      orderBy: { dog: 'asc' },
    }),
  'relations by queries': async (db) =>
    await db.owner.findMany({ relationLoadStrategy: 'query', include: { toys: true }, orderBy: { dog: 'asc' } }),
  'what a write includes, by a join': async (db) =>
    await db.owner.create({
      relationLoadStrategy: 'join',
      data: { name: 'Cem', dog: 'Ace', toys: { create: [{ name: 'bone' }] } },
      select: { dog: true, toys: { select: { name: true } } },
    }),
  'values of all types': async (db) => {
    const at = new Date('2026-02-28T23:59:59.999Z')
    const value = { at, day: at, data: { list: [1, null, 'a'] }, amount: '12345678901234567890.5', big: 2n ** 62n }
    const more = { bytes: new Uint8Array([0, 255]), tags: ['a', 'b'] }
    await db.value.upsert({ where: { id: 1 }, create: { id: 1, ...value, ...more }, update: {} })
    await db.value.upsert({ where: { id: 1 }, create: { id: 1, ...value, ...more }, update: { tags: { push: 'c' } } })
    const where = { at: { gte: at }, data: { path: ['list', '2'], equals: 'a' }, big: { gt: 2n ** 61n } }
    const found = await db.value.findFirstOrThrow({ where })
    return { ...found, amount: found.amount.toFixed(), big: `${found.big}` }
  },
  'typed SQL': async (db) => await db.$queryRawTyped(dogsOf('Ann')),
  'typed SQL that writes': async (db) => [
    await db.$queryRawTyped(addOwner('Ann', 'Ace')),
    await db.$queryRawTyped(dogsOf('Ann')),
  ],
  'typed SQL that fails': async (db) => await db.$queryRawTyped(addOwner('Ann', 'Rex')),
  'typed SQL in the array form': async (db) =>
    await db.$transaction([db.$queryRawTyped(dogsOf('Ann')), db.toy.count()]),
}

describe.each(databasesOf('postgresql'))('on $name', ({ createDatabase }) => {
  let database: TestDatabase
  let plain: PrismaClient
  let datastore: PrismaDatastore<PrismaClient>
  let db: PrismaClient
  let queries: string[] = []

  const newClient = (adapter: Adapter): PrismaClient => {
    const client = new PrismaClient({ adapter, log: [{ emit: 'event', level: 'query' }] })
    const told: Listening = client
    told.$on('query', ({ query }) => void queries.push(query))
    return client as PrismaClient
  }
  const rex = { name: 'Ann', dog: 'Rex', toys: { create: [{ name: 'ball' }, { name: 'rope' }] } }

  beforeAll(async () => {
    database = await createDatabase()
    await database.query(
      'CREATE TABLE "values" (id int PRIMARY KEY, at timestamptz(3), day date, data jsonb, amount numeric, bytes bytea, big bigint, tags text[])',
    )
    plain = newClient(database.adapter())
    datastore = new PrismaDatastore({ adapter: database.adapter(), client: newClient })
    db = datastore.client
  })
  afterAll(async () => {
    await plain.$disconnect()
    await datastore.close({ timeoutMs: Infinity })
    await database.drop()
  })

  /** What comes of it on a fresh table, how many statements it takes, and what is stored. */
  async function outcomeOf(work: () => Promise<unknown>): Promise<unknown> {
    await database.query('TRUNCATE owners, toys, "values" RESTART IDENTITY')
    await plain.owner.create({ data: rex })
    await plain.owner.create({ data: { name: 'Bea', dog: 'Spot' } })
    queries = []
    const told = await work().catch((error: Error) => [error.constructor.name, error.message])
    const statements = queries.filter((query) => /^(SELECT|INSERT)/.test(query)).length
    return { told, statements, stored: await database.query('SELECT dog FROM owners ORDER BY id') }
  }

  it.each(Object.entries(operations))('%s', async (name, run) => {
    const expected = await outcomeOf(() => run(plain))
    if (name === 'relations by a join') expect(expected).toMatchObject({ statements: 1 })
    expect(await outcomeOf(() => run(db))).toEqual(expected)
    expect(await outcomeOf(() => datastore.transaction(() => run(db)))).toEqual(expected)
    expect(await outcomeOf(() => db.$transaction(() => run(db)))).toEqual(expected)
  })

  it('undoes what typed SQL has written, and shows it to joins before', async () => {
    let seen: unknown
    const work = async (): Promise<never> => {
      await db.$queryRawTyped(addOwner('Dan', 'Ace'))
      const wanted = { where: { dog: 'Ace' }, select: { name: true, toys: true } } as const
      seen = await db.owner.findMany({ ...wanted, relationLoadStrategy: 'join' })
      throw new Error('undo')
    }
    const stored = [{ dog: 'Rex' }, { dog: 'Spot' }]
    expect(await outcomeOf(() => datastore.transaction(work))).toMatchObject({ told: ['Error', 'undo'], stored })
    expect(seen).toEqual([{ name: 'Dan', toys: [] }])
  })
})
