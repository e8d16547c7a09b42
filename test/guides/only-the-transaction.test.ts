/** The guide for teams without event sourcing does what it says, in a database with their own tables only. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import {
  type EmptyDatabase,
  emptyDatabase,
  type Provider,
  providers,
  rowsOf,
  runAll,
} from '../support/empty-databases.js'

const document = blocksOf(readDocument('docs/guides/only-the-transaction.md'))

/** The guide is written for PostgreSQL; SQLite has another adapter. */
function blocksFor(provider: Provider): ReadonlyMap<string, string> {
  if (provider === 'postgresql') return document
  return new Map(
    [...document].map(([name, code]) => [
      name,
      code
        .replace('provider = "postgresql"', 'provider = "sqlite"')
        .replaceAll('@prisma/adapter-pg', '@prisma/adapter-libsql')
        .replaceAll('PrismaPg', 'PrismaLibSql')
        .replaceAll('connectionString:', 'url:')
        .replaceAll('{ connectionString }', '{ url: connectionString }'),
    ]),
  )
}

/** What `prisma migrate` makes of the schema. */
function tablesFor(provider: Provider): string[] {
  const id = provider === 'postgresql' ? 'SERIAL PRIMARY KEY' : 'INTEGER PRIMARY KEY AUTOINCREMENT'
  return [
    `CREATE TABLE "Account" (id ${id}, owner TEXT NOT NULL UNIQUE, cents INTEGER NOT NULL)`,
    `CREATE TABLE "Transfer" (id ${id}, "from" TEXT NOT NULL, "to" TEXT NOT NULL, cents INTEGER NOT NULL)`,
    `CREATE TABLE "Attempt" (id ${id}, what TEXT NOT NULL)`,
  ]
}

/** Starts a server of the guide, posts transfers to it, and prints the answers. */
const requests = (start: string): string => `
  import { datastore } from './db.js'
  ${start}
  const post = async (body) => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(url + '/transfers', { method: 'POST', headers, body: JSON.stringify(body) })
    return response.status
  }
  const first = [await post({ from: 'Ida', to: 'Jim', cents: 30 }), await post({ from: 'Ida', to: 'Jim', cents: 80 })]
  // Who gets it is not there: what was taken is given back.
  const failed = await post({ from: 'Ida', to: 'nobody', cents: 30 })
  const { cents } = await (await fetch(url + '/accounts/Ida')).json()
  console.log(JSON.stringify([...first, failed, cents]))
  await datastore.close()
  process.exit(0)
`
const starts = {
  Fastify: `import { fastify } from './fastify-server.js'
  const url = await fastify.listen({ port: 0, host: '127.0.0.1' })`,
  Express: `import { app } from './express-server.js'
  app.set('env', 'test')
  const server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = 'http://127.0.0.1:' + server.address().port`,
}

describe.each(providers.filter((provider) => provider !== 'mysql'))('the guide, on %s', (provider) => {
  let database: EmptyDatabase
  let project: DocumentProject
  beforeAll(async () => {
    database = await emptyDatabase(provider)
    await runAll(database.url, tablesFor(provider))
    const blocks = blocksFor(provider)
    const env = { DATABASE_URL: database.url }
    project = new DocumentProject({ name: 'only-the-transaction', blocks, install: installCompiled, env })
    project.generateClient('schema.prisma')
  }, 240_000)
  afterAll(async () => {
    project.remove()
    await database.drop()
  })

  const count = async (table: string): Promise<number> =>
    Number((await rowsOf(database.url, `SELECT count(*) FROM "${table}"`))[0]?.[0])

  // What is about frameworks and types alone is the same on each database.
  const isFirst = provider === providers[0]
  it.runIf(isFirst)(
    'has the types that it shows',
    () => {
      project.checkTypes()
    },
    120_000,
  )

  it.each(Object.entries(starts).slice(0, isFirst ? undefined : 1))(
    '%s commits, refuses and undoes',
    async (_name, start) => {
      await runAll(database.url, [
        'DELETE FROM "Account"',
        'DELETE FROM "Transfer"',
        `INSERT INTO "Account" (owner, cents) VALUES ('Ida', 100), ('Jim', 0)`,
      ])
      project.write('requests.ts', requests(start))
      expect(JSON.parse(project.runFile('requests.ts'))).toEqual([201, 422, 404, 70])
      expect(await count('Transfer')).toBe(1)
      project.write('requests.ts', '')
    },
  )

  it('savepoints fail alone, and Prisma’s own transactions are savepoints', () => {
    project.runBlock('savepoints.ts')
  })

  it('a transaction beside another one stays, where there are two writers', () => {
    const run = (): string => project.runBlock('beside.ts')
    if (provider === 'sqlite') expect(run).toThrow(/this database has one writer/)
    else run()
  })

  it('what passes by the transaction is found', async () => {
    project.runBlock('escapes.ts')
    expect(await rowsOf(database.url, `SELECT what FROM "Attempt" WHERE what IN ('seen', 'escaped')`)).toEqual([
      ['seen'],
    ])
  })

  it.each(['bank.test.ts', 'faults.test.ts'])('its test %s passes', (name) => {
    expect(project.runBlock(name)).toMatch(/# pass 1\n# fail 0\n/)
  })
})
