/** The pages for those who come from Emmett and from hand-written Prisma do what they say, and name what there is. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf, runAll } from '../support/empty-databases.js'

const cli = (line: string): string[] => ['node_modules/eventsourcing-prisma/dist/src/cli/main.js', ...line.split(' ')]

/** Makes the tables that `init` would add. */
const setUp = `
  import { PrismaPg } from '@prisma/adapter-pg'
  import { Application, PrismaDatastore } from 'eventsourcing-prisma'
  const datastore = new PrismaDatastore({ adapter: new PrismaPg({ connectionString: process.env['DATABASE_URL'] ?? '' }) })
  await new Application({ name: 'Shop', datastore }).recorder.createTable()
  await datastore.close()
`

function projectOf(page: string, database: EmptyDatabase): DocumentProject {
  const blocks = new Map([...blocksOf(readDocument(page)), ['set-up.ts', setUp]])
  const env = { DATABASE_URL: database.url, EMMETT_URL: database.url }
  return new DocumentProject({ name: 'coming-from', blocks, install: installCompiled, env })
}

/** The columns of its version 0.42.0 that the script reads, with what two streams have stored. */
const emmettTables = [
  `CREATE TABLE emt_messages (stream_position BIGINT NOT NULL, global_position BIGINT, created TIMESTAMPTZ NOT NULL,
    is_archived BOOLEAN NOT NULL DEFAULT FALSE, message_kind VARCHAR(1) NOT NULL DEFAULT 'E', stream_id TEXT NOT NULL,
    message_type TEXT NOT NULL, message_data JSONB NOT NULL)`,
  `INSERT INTO emt_messages (stream_position, global_position, created, stream_id, message_type, message_data) VALUES
    (1, 1, '2026-05-01T10:00:00.123456Z', 'voucher-A', 'Issued', '{"code": "A", "cents": 5000}'),
    (1, 2, '2026-05-01T11:00:00Z', 'voucher-B', 'Issued', '{"code": "B", "cents": 100}'),
    (2, 9, '2026-05-02T10:00:00Z', 'voucher-A', 'Redeemed', '{"cents": 2000, "order": "order-17"}')`,
]

describe('coming from Emmett', () => {
  let database: EmptyDatabase
  let project: DocumentProject
  beforeAll(async () => {
    database = await emptyDatabase('postgresql')
    await runAll(database.url, emmettTables)
    project = projectOf('docs/coming-from-emmett.md', database)
    project.runBlock('set-up.ts')
  }, 240_000)
  afterAll(async () => {
    project.remove()
    await database.drop()
  })

  it('has the types that it shows', () => project.checkTypes(), 120_000)

  it('brings the events over, with their times, and goes on with them', async () => {
    project.runBlock('from-emmett.ts')
    expect(project.run(cli('import emmett.jsonl --app Shop'))).toContain('Imported 3 events')
    project.runBlock('moved.ts')
    const told = project.run(cli('tail --app Shop --once --json'))
    expect(told).toContain('2026-05-01T10:00:00.123456')
    expect(await rowsOf(database.url, 'SELECT topic FROM shop_events ORDER BY id')).toEqual(
      ['Issued', 'Issued', 'Redeemed', 'Redeemed'].map((type) => [`Voucher.${type}`]),
    )
  }, 60_000)
})

describe('coming from hand-written Prisma', () => {
  let database: EmptyDatabase
  let project: DocumentProject
  beforeAll(async () => {
    database = await emptyDatabase('postgresql')
    await runAll(database.url, [
      `CREATE TABLE "Order" (id UUID PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL, status TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 1, "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT now())`,
      'CREATE TABLE "OrderHistory" (id SERIAL PRIMARY KEY, "order" UUID NOT NULL, what TEXT NOT NULL, "by" TEXT NOT NULL)',
      'CREATE TABLE "Outbox" (id SERIAL PRIMARY KEY, topic TEXT NOT NULL, payload JSONB NOT NULL)',
      `INSERT INTO "Order" (id, customer, cents, status) SELECT gen_random_uuid(), 'c' || n, n,
        CASE WHEN n <= 2 THEN 'paid' ELSE 'placed' END FROM generate_series(1, 600) AS n`,
    ])
    project = projectOf('docs/coming-from-prisma.md', database)
    project.generateClient('schema.prisma')
    project.runBlock('set-up.ts')
  }, 240_000)
  afterAll(async () => {
    project.remove()
    await database.drop()
  })

  it('has the types that it shows', () => project.checkTypes(), 120_000)

  it('changes one order by hand: row, version, history and outbox', async () => {
    project.write(
      'by-hand.ts',
      `import { prisma, ship } from './before.js'
      await ship((await prisma.order.findFirstOrThrow({ where: { cents: 1 } })).id, 'Ann')
      await prisma.$disconnect()`,
    )
    project.runFile('by-hand.ts')
    expect(await rowsOf(database.url, 'SELECT status, version FROM "Order" WHERE cents = 1')).toEqual([['shipped', 2]])
    expect(await rowsOf(database.url, 'SELECT what, topic FROM "OrderHistory", "Outbox"')).toHaveLength(1)
  }, 60_000)

  it('imports the rows once, however often it is run, and leaves them as they are', async () => {
    const before = await rowsOf(database.url, 'SELECT * FROM "Order" ORDER BY id')
    for (const _run of [1, 2]) expect(project.runBlock('import.ts')).toContain('600 orders, 600 events')
    expect(await rowsOf(database.url, 'SELECT * FROM "Order" ORDER BY id')).toEqual(before)
  }, 60_000)

  it('ships an order once, by events that say who did it', async () => {
    project.runBlock('compare.ts')
    const [[metadata] = []] = await rowsOf(
      database.url,
      `SELECT metadata::text FROM shop_events WHERE topic = 'Order.Shipped'`,
    )
    expect(String(metadata)).toMatch(/"by": ?"(Ann|Bob)"/)
    expect(await rowsOf(database.url, 'SELECT count(*)::int FROM "OrderHistory"')).toEqual([[1]])
  }, 60_000)
})

/** Names of others are not ours to check; ours have to be there. */
it('names what is exported', () => {
  const sources = ['src/index.ts', 'src/testing/index.ts', 'adapters/fastify.ts']
  const exported = sources.map((path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')).join('\n')
  const pages = ['docs/coming-from-emmett.md', 'docs/coming-from-prisma.md'].map(readDocument)
  const cells = pages.flatMap((page) => [...page.matchAll(/^\|[^|]*\|([^|]*)\|$/gm)].map(([, cell = '']) => cell))
  const words = cells.flatMap((cell) =>
    [...cell.matchAll(/`(?:new )?([A-Za-z]+)(?=[(`])/g)].map(([, word = '']) => word),
  )
  const named = words.filter((word) =>
    /^(define|[A-Z]\w+Error$|given$|projecting$|assertIfMatch$|isTransient$)/.test(word),
  )
  expect(named.length).toBeGreaterThan(10)
  expect(named.filter((word) => !new RegExp(`\\b${word}\\b`).test(exported))).toEqual([])
})
