/** The guides for NestJS and for migrating do what they say, on Express and on Fastify, with the decorators as Nest compiles them. */
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { blocksOf, CompiledPackage, DocumentProject, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf, runAll } from '../support/empty-databases.js'

const nestjs = blocksOf(readDocument('docs/guides/nestjs.md'))
const migrating = blocksOf(readDocument('docs/guides/migrating.md'))

const schema = `
generator client {
  provider = "prisma-client"
  output   = "./generated/prisma"
}
datasource db {
  provider = "sqlite"
}
model Owner {
  id   Int    @id @default(autoincrement())
  name String
  dog  String @unique
}
`
const table =
  'CREATE TABLE "Owner" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE)'

/** As Nest's own command compiles a project. */
const compilerOptions = {
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  noEmit: false,
  outDir: 'dist',
  rootDir: '.',
}

/** Starts the app, sends it requests, and prints the answers. */
const requests = `
import { checkEveryFault } from 'eventsourcing-prisma/testing'
import { faults } from './faults.js'
const { create } = await import(\`./main-\${process.argv[2]}.js\`)
const app = await create()
await app.listen(0, '127.0.0.1')
const url = (await app.getUrl()) + '/owners'
const headers = { 'content-type': 'application/json' }
const post = async (name: string, dogs: string[]) =>
  await fetch(url, { method: 'POST', headers, body: JSON.stringify({ name, dogs }) })
const answers: unknown[] = [
  (await post('Ann', ['Rex', 'Fido'])).status,
  (await post('Bea', ['Buster', 'Cerberus'])).status,
  (await post('Cem', ['Milo', 'Rex'])).status,
]
faults.record()
answers.push(await (await fetch(url + '/Ann')).json(), faults.statements.find((sql) => sql.startsWith('BEGIN')))
// Another process holds the file when it is to commit; the number is that of COMMIT.
faults.failAt(4, 'conflict')
const conflict = await post('Eve', ['Bello', 'Waldi'])
answers.push(conflict.status, conflict.headers.get('retry-after'), await conflict.json())
faults.stop()
const run = async (n: number) => await post('Dora', [\`dog \${n}\`, \`other \${n}\`])
const { statements } = await checkEveryFault({ faults, run, tables: ['Owner'] })
console.log(JSON.stringify({ answers, statements: statements.map((sql) => sql.split(' ', 1)[0]) }))
await app.close()
`

/** Uses what the guide for migrating says. */
const migrated = `
import { AccountsService } from './accounts.js'
import { db, fastify } from './fastify-server.js'
import { datastore } from './prisma.service.js'
const accounts = new AccountsService(db)
const outcome = (promise: Promise<unknown>) => promise.then(() => 'done', () => 'failed')
// The second time the audit fails, whose name is taken, and with it what is around it.
const told = [await outcome(accounts.open('Ann', 'Rex')), await outcome(accounts.open('Ann', 'Fido'))]
const within = datastore.transaction(async () => {
  await accounts.open('Bea', 'Buster')
  throw new Error('undo')
})
told.push(await outcome(within))
const post = async (dog: string) =>
  (await fastify.inject({ method: 'POST', url: '/owners', payload: { name: 'Cem', dog } })).statusCode
console.log(JSON.stringify([...told, await post('Milo'), await post('Cerberus')]))
await fastify.close()
`

const faults = `
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { faultyAdapter } from 'eventsourcing-prisma/testing'
export const faults = faultyAdapter(new PrismaLibSql({ url: process.env['DATABASE_URL'] ?? '' }))
`

const busy = { type: 'about:blank', title: 'Service Unavailable', status: 503, code: 'ES_OPERATIONAL' }

const compiled = new CompiledPackage()
afterAll(() => compiled.remove())

describe('the guides for NestJS and for those who come from other libraries', () => {
  let database: EmptyDatabase
  let project: DocumentProject
  beforeAll(async () => {
    database = await emptyDatabase('sqlite')
    await runAll(database.url, [table])
    const blocks = new Map([...nestjs, ...migrating])
    const env = { DATABASE_URL: database.url }
    project = new DocumentProject({ name: 'nestjs', blocks, install: compiled.install, env, compilerOptions })
    project.write('schema.prisma', schema)
    project.generateClient('schema.prisma')
    project.checkTypes()
    // The same with an adapter that can fail.
    const service = blocks.get('prisma.service.ts') ?? ''
    const withFaults = service.replace(/new PrismaLibSql\(.*\)/, 'faults')
    expect(withFaults).not.toBe(service)
    project.write('prisma.service.ts', `import { faults } from './faults.js'\n${withFaults}`)
    project.write('faults.ts', faults)
    // With an option for one route, which Fastify knows.
    const routeConfig = `@RouteConfig({ transaction: { readOnly: true } })\n  @Get`
    const owners = (blocks.get('owners.ts') ?? '').replace('@Get(', `${routeConfig}(`)
    project.write('owners.ts', `import { RouteConfig } from '@nestjs/platform-fastify'\n${owners}`)
    project.write('requests.ts', requests)
    project.write('migrated.ts', migrated)
    project.checkTypes()
  }, 240_000)
  beforeEach(async () => {
    await runAll(database.url, ['DELETE FROM "Owner"'])
  })
  afterAll(async () => {
    project.remove()
    await database.drop()
  })

  it.each(['express', 'fastify'])(
    'commits, rolls back and is all or nothing on %s',
    async (platform) => {
      const { answers, statements } = JSON.parse(project.run([join('dist', 'requests.js'), platform])) as {
        answers: unknown[]
        statements: string[]
      }
      const begin = platform === 'fastify' ? 'BEGIN' : 'BEGIN IMMEDIATE'
      expect(answers).toEqual([201, 409, 409, ['Rex', 'Fido'], begin, 503, expect.stringMatching(/^[1-3]$/), busy])
      expect(statements).toEqual(['BEGIN', 'INSERT', 'INSERT', 'COMMIT'])
      expect(await rowsOf(database.url, `SELECT dog FROM "Owner" WHERE name <> 'Dora' ORDER BY id`)).toEqual([
        ['Rex'],
        ['Fido'],
      ])
    },
    120_000,
  )

  it('what was migrated joins transactions, and rolls back with a status of 400 and above', async () => {
    expect(JSON.parse(project.run([join('dist', 'migrated.js')]))).toEqual(['done', 'failed', 'failed', 201, 409])
    expect(await rowsOf(database.url, 'SELECT name, dog FROM "Owner" ORDER BY id')).toEqual([
      ['Ann', 'Rex'],
      ['audit', 'Ann'],
      ['Cem', 'Milo'],
    ])
  }, 120_000)
})
