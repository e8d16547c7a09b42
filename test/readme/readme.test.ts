/** The code of the README does what the README says: every block that names a file is written and run, against SQLite and the packed package. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installPackedOnce, readDocument } from '../support/document-project.js'
import { sqliteQuery } from '../support/sqlite-query.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readDocument('README.md')
// What these show stands on the README's modules.
const others = ['docs/testing.md', 'docs/transactions.md', 'docs/guides/following-the-log.md'].flatMap((path) => [
  ...blocksOf(readDocument(path)),
])
const blocks = new Map([...blocksOf(readme), ...others])

describe('the README, with the package as it is published', () => {
  let project: DocumentProject
  let database: string
  beforeAll(() => {
    project = new DocumentProject({ name: 'readme', blocks, install: installPackedOnce })
    database = join(project.folder, 'dev.db')
    cpSync(join(root, 'examples/prisma'), join(project.folder, 'prisma'), { recursive: true })
    const schema = join(project.folder, 'prisma/schema/schema.prisma')
    writeFileSync(schema, readFileSync(schema, 'utf8').replace('../../generated', '../../generated/prisma'))
    project.generateClient('prisma/schema')
    run(['node_modules/eventsourcing-prisma/dist/src/cli/main.js', 'migrate', '--url', 'file:./dev.db'])
  }, 240_000)
  afterAll(() => project.remove())

  const run = (args: readonly string[]): string => project.run(args)
  const runBlock = (name: string): string => project.runBlock(name)
  const count = (table: string, condition: string): number =>
    Number(sqliteQuery(database, `SELECT count(*) AS n FROM ${table} WHERE ${condition}`)[0]?.['n'])

  it('shows a first example of at most 25 lines, from install to route', () => {
    const lines = (code: string): number => code.split('\n').filter((line) => line.trim() !== '').length
    const [, install = ''] = /## Quick start[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme) ?? []
    expect(lines(install) + lines(blocks.get('quick-start.ts') ?? '')).toBeLessThanOrEqual(25)
  })

  it('quick start: a route changes a row and an aggregate in one transaction', async () => {
    const port = 20_000 + Math.floor(Math.random() * 20_000)
    const server = project.startBlock('quick-start.ts', { PORT: String(port) })
    try {
      const post = async (body: object): Promise<number> =>
        (
          await fetch(`http://127.0.0.1:${port}/dogs`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(body),
          })
        ).status
      await expect
        .poll(
          async () =>
            await fetch(`http://127.0.0.1:${port}/`).then(
              () => true,
              () => false,
            ),
          { timeout: 20_000 },
        )
        .toBe(true)
      expect(await post({ name: 'Zoe', owner: 'Ann' })).toBe(201)
      // The dog of the second request has an owner already: its event must not stay either.
      expect(await post({ name: 'Zoe', owner: 'Bea' })).toBe(500)
      expect(count('Owner', "dog = 'Zoe'")).toBe(1)
      expect(count('trainingschool_events', "topic = 'Dog.Registered'")).toBe(1)
    } finally {
      server.kill()
    }
  })

  it('getting started: environment variables alone', () => {
    runBlock('getting-started.ts')
  })

  it('managing transactions outside the application', () => {
    expect(runBlock('transaction.ts')).toContain('stored')
    expect(count('Owner', "dog = 'Buster'")).toBe(1)
    expect(count('Owner', "dog = 'Rex'")).toBe(0)
    expect(count('trainingschool_events', "topic = 'Dog.TrickAdded'")).toBe(1)
  })

  it('a method as a transaction', () => {
    runBlock('transactional.ts')
    expect(count('trainingschool_events', "topic = 'Dog.Registered'")).toBeGreaterThan(1)
  })

  it('autoflush: by default on, off by environment, on the datastore, for a block and on the transaction', () => {
    runBlock('autoflush.ts')
  })

  it('a transaction that somebody else manages: committed, and not committed', () => {
    // A variable names one of its modules.
    run(['--import', 'tsx', 'scoped-client.ts'])
  })

  it('a request that is sent twice with one key', () => {
    runBlock('idempotency.ts')
    expect(count('idempotency_keys', "key = '8e03978e-40d5-43dd' AND status = 201")).toBe(1)
  })

  it('projections: rows that follow the events', () => {
    runBlock('projections.ts')
    expect(count('ListedDog', "name = 'Luna' AND tricks = 1")).toBe(1)
    expect(count('trainingschool_projections', 'owner IS NULL')).toBe(1)
  })

  it('following the log: pages with their tracking', () => {
    runBlock('follower.ts')
    expect(count('trainingschool_tracking', "application_name = 'owners@TrainingSchool'")).toBe(1)
  })

  it('snapshots, caching and older events', () => {
    runBlock('snapshots.ts')
  })

  it('events with a schema, and personal data', () => {
    runBlock('personal-data.ts')
  })

  it('testing: scenarios, and a real database that stays clean', () => {
    expect(runBlock('dogs.test.ts')).toMatch(/# pass 2\n# fail 0\n/)
  })

  it('testing: a fault at every statement', () => {
    expect(runBlock('every-fault.test.ts')).toMatch(/# pass 1\n# fail 0\n/)
  })

  it('transactions: parts that fail alone', () => {
    runBlock('parts.ts')
    expect(count('Owner', "dog = 'Quill'")).toBe(1)
  })

  it('transactions: work that goes on after the end', () => {
    runBlock('late.ts')
  })

  it('transactions: a call that is not awaited', () => {
    runBlock('escapes.ts')
  })

  it('without decorators', () => {
    runBlock('plain.ts')
  })

  it('has the types that it shows', () => {
    project.checkTypes()
  }, 120_000)

  it.each(['.', './express', './fastify', './testing'])(
    '%s can be required, and is the same as what is imported',
    (entry) => {
      const name = join('eventsourcing-prisma', entry)
      const code = `const { createRequire } = await import('node:module')
      const required = createRequire(process.cwd() + '/x.js')('${name}')
      const imported = await import('${name}')
      const names = Object.keys(imported)
      if (names.length === 0 || names.some((name) => required[name] !== imported[name])) throw new Error('not the same')`
      run(['--input-type=module', '--eval', code])
    },
  )

  it.each(['fastify-server.ts', 'express-server.ts', 'preconditions.ts'])('%s loads', (name) => {
    run(['--import', 'tsx', '--eval', `import('./${name}').then(() => process.exit(0))`])
  })
})
