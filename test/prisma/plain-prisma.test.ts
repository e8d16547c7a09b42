/** What `datastore.client` gives is what a PrismaClient on the same adapter gives: results, errors with their words, and events. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { databases, type TestDatabase } from '../support/databases.js'
import { Prisma } from '../support/generated/postgresql/client.js'
import type { TestClient } from './open-database.js'

/** What came of an operation, as code and logs see it. */
interface Outcome {
  readonly value?: unknown
  readonly error?: Readonly<Record<string, unknown>>
}

type Run = (db: TestClient) => unknown
/** Prisma's types refuse what is tried here. */
type Untyped = TestClient & { $transaction(...args: unknown[]): Promise<unknown> }

const untyped = (db: TestClient): Untyped => db as Untyped
const later = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms))

async function outcomeOf(work: () => unknown): Promise<Outcome> {
  try {
    return { value: JSON.parse(JSON.stringify((await work()) ?? null)) as unknown }
  } catch (error) {
    if (!(error instanceof Error)) return { error: { thrown: error } }
    const { code, meta, clientVersion, batchRequestIdx } = error as Error & Record<string, unknown>
    const { driverAdapterError, timeTaken: _, ...told } = (meta ?? {}) as Record<string, unknown>
    const kind = (driverAdapterError as Error | undefined)?.name
    return {
      error: {
        class: error.constructor.name,
        code,
        meta: { ...told, kind },
        clientVersion,
        batchRequestIdx,
        message: error.message.replaceAll(/\d+ ms/g, 'some ms'),
      },
    }
  }
}

const rex = { name: 'Ann', dog: 'Rex' }
const where = { dog: 'Rex' }
const ownerOfToy = { where: { name: 'ball' } }

/** Every one of them is tried on a database with two owners and a toy. */
const operations: Readonly<Record<string, Run>> = {
  'a row that is there already': (db) => db.owner.create({ data: rex }),
  'a row that is not there': (db) => db.owner.findUniqueOrThrow({ where: { dog: 'none' } }),
  'an update of none': (db) => db.owner.update({ where: { dog: 'none' }, data: rex }),
  'a foreign key to nobody': (db) => db.toy.create({ data: { name: 'bone', ownerId: -1 } }),
  'arguments that Prisma refuses': (db) => db.owner.findMany({ where: { nobody: 'knows' } as object }),
  'a raw query that fails': (db) => db.$queryRawUnsafe('SELECT * FROM nowhere'),
  'a raw query that is no template': (db) => db.$queryRaw('SELECT 1' as unknown as TemplateStringsArray),
  'a raw query': async (db) => Number((await db.$queryRaw<Array<{ n: number }>>`SELECT ${1} + 1 AS n`)[0]?.n),
  'raw SQL that is put together': async (db) =>
    (await db.$queryRaw<unknown[]>(Prisma.sql`SELECT dog FROM owners WHERE dog = ${'Rex'}`)).length,
  'dates and JSON in raw queries': (db) =>
    db.$queryRaw`SELECT ${new Date(0)} AS moment, ${{ list: [1, null] }} AS data, ${'x'} AS text`,
  'a nested write, with what it includes': (db) =>
    db.owner.create({
      data: { name: 'Cem', dog: 'Ace', toys: { create: [{ name: 'rope' }] } },
      select: { dog: true, toys: { select: { name: true } } },
    }),
  'omitted fields': (db) => db.owner.findMany({ omit: { id: true }, orderBy: { dog: 'asc' } }),
  'an upsert': (db) => db.owner.upsert({ where, create: rex, update: { name: 'Bea' }, select: { name: true } }),
  'aggregates and groups': async (db) => [
    await db.owner.count({ select: { dog: true } }),
    await db.owner.aggregate({ _max: { dog: true } }),
    await db.owner.groupBy({ by: ['name'], _count: true, orderBy: { name: 'asc' } }),
  ],
  'a relation': (db) => db.owner.findUniqueOrThrow({ where }).toys({ select: { name: true } }),
  'a relation of a relation': (db) =>
    db.toy
      .findFirst(ownerOfToy)
      .owner()
      .toys({ select: { name: true } }),
  'a relation of nobody': (db) => db.owner.findUnique({ where: { dog: 'none' } }).toys(),
  'a relation, with arguments that Prisma refuses': (db) =>
    db.owner.findUniqueOrThrow({ where }).toys({ where: { nobody: 1 } as object }),
  'what an operation shows': async (db) => {
    const operation = db.owner.count()
    const shown = ['then', 'catch', 'finally', 'requestTransaction', 'toys'].map((name) => name in operation)
    await operation
    return [...shown, Object.prototype.toString.call(operation), await operation.finally(() => {})]
  },
  'the array form': (db) =>
    db.$transaction([db.owner.count(), db.owner.create({ data: { name: 'C', dog: 'C' } })]).then(([n]) => n),
  'an empty array': (db) => db.$transaction([]),
  'the array form, with an element that fails': (db) =>
    db.$transaction([db.owner.create({ data: { name: 'C', dog: 'C' } }), db.owner.create({ data: rex })]),
  'an operation in place of an array': (db) =>
    untyped(db).$transaction(db.owner.create({ data: { name: 'C', dog: 'C' } })),
  'an object in place of an array': (db) => untyped(db).$transaction({}),
  'nothing in place of an array': (db) => untyped(db).$transaction(),
  'an array of what was awaited': async (db) => await untyped(db).$transaction([await db.owner.count()]),
  'an array with a promise': (db) => untyped(db).$transaction([db.owner.count(), Promise.resolve(1)]),
  'the callback form': (db) => db.$transaction(async (tx) => await tx.owner.count()),
  'a callback that is no async function': (db) => untyped(db).$transaction(() => 1),
  'a callback that throws no error': (db) =>
    db.$transaction(async () => {
      throw 'text' as unknown as Error
    }),
  'a callback whose operation fails': (db) => db.$transaction(async (tx) => await tx.owner.create({ data: rex })),
  'an operation that fails in a transaction in a transaction': (db) =>
    db.$transaction(async (tx) => await tx.$transaction(async (part) => await part.owner.create({ data: rex }))),
  'an isolation level that there is not': (db) =>
    untyped(db).$transaction(async (tx: TestClient) => await tx.owner.count(), { isolationLevel: 'Nope' }),
  'a timeout that passes': (db) =>
    db.$transaction(
      async (tx) => {
        await tx.owner.count()
        await later(400)
        return await tx.owner.count()
      },
      { timeout: 100 },
    ),
  'a timeout that passes before the end': (db) =>
    db.$transaction(
      async (tx) => {
        await tx.owner.create({ data: { name: 'C', dog: 'C' } })
        await later(400)
      },
      { timeout: 100 },
    ),
  'a client that is used after its transaction': async (db) => {
    let late: Pick<TestClient, 'owner'> | undefined
    await db.$transaction(async (tx) => void (await (late = tx).owner.count()))
    return await late?.owner.count()
  },
  'what a client inside of a transaction has': (db) =>
    db.$transaction(async (tx) =>
      ['$connect', '$disconnect', '$on', '$extends', '$transaction', '$queryRaw', 'owner'].map((name) => [
        name in tx,
        typeof Reflect.get(tx, name),
        Reflect.ownKeys(tx).includes(name),
      ]),
    ),
}

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase
  let plain: TestClient
  let datastore: PrismaDatastore<TestClient>
  let db: TestClient

  beforeAll(async () => {
    database = await kind.createDatabase()
    plain = database.newClient(database.adapter()) as TestClient
    datastore = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => database.newClient(adapter) as TestClient,
    })
    db = datastore.client
  })
  afterAll(async () => {
    await plain.$disconnect()
    await datastore.close({ timeoutMs: Infinity })
    await database.drop()
  })
  beforeEach(async () => await fill())

  async function fill(): Promise<void> {
    for (const table of ['toys', 'owners']) await database.query(`DELETE FROM ${table}`)
    const { id } = await plain.owner.create({ data: rex })
    await plain.toy.create({ data: { name: 'ball', ownerId: id } })
    await plain.owner.create({ data: { name: 'Bea', dog: 'Spot' } })
  }
  /** Each of them is undone in the end. */
  const undo = new Error('undo')
  async function insideOf(run: Run): Promise<Outcome> {
    let outcome: Outcome | undefined
    await datastore
      .transaction(async () => {
        outcome = await outcomeOf(() => run(db))
        throw undo
      })
      .catch((error: unknown) => {
        if (error !== undo) throw error
      })
    return outcome ?? {}
  }
  const rows = async (): Promise<number> => (await database.query('SELECT dog FROM owners')).length

  it.each(Object.entries(operations))('%s', async (_name, run) => {
    const expected = await outcomeOf(() => run(plain))
    const stored = await rows()
    await fill()
    expect(await outcomeOf(() => run(db)), 'outside of a transaction').toEqual(expected)
    expect(await rows()).toBe(stored)
    await fill()
    expect(await insideOf(run), 'inside of a transaction').toEqual(expected)
    expect(await rows()).toBe(2)
  })
})
