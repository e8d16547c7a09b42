/** The guide for NestJS does what it says, with one version of Nest, on Express and on Fastify, with the decorators as Nest compiles them. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { transformSync } from '@swc/core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf, runAll } from '../support/empty-databases.js'

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

/** How the programs send requests. */
const client = `
import { Logger } from '@nestjs/common'
Logger.overrideLogger(false) // what is printed is the outcome
const json = { 'content-type': 'application/json' }
export async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(url, { method: 'POST', headers: { ...json, ...headers }, body: JSON.stringify(body) })
}
`

/** The app with the configuration of its environment. */
const configured = `
import { post } from './client.js'
const { create } = await import(\`./main-\${process.argv[2]}.js\`)
const app = await create()
await app.listen(0, '127.0.0.1')
const url = await app.getUrl()
const told = async (response: Response) => [response.status, await response.json()]
const lines = (...all: string[]) => all
const answers = [
  (await post(url + '/owners', { name: 'Ann', dogs: ['Rex', 'Fido'] })).status,
  (await post(url + '/owners', { name: 'Bea', dogs: ['Buster', 'Cerberus'] })).status,
  (await post(url + '/owners', { name: 'Cem', dogs: ['Milo', 'Rex'] })).status,
  await (await fetch(url + '/owners/Ann')).json(),
  await told(await post(url + '/imports/intercepted', lines('Ida:Ace', 'wrong'))),
  await told(await post(url + '/imports/intercepted', lines('Ida:Bo', 'Jim:Rex'))),
  await told(await post(url + '/imports/filtered', lines('Ida:Cap', 'wrong'))),
  await told(await post(url + '/imports/intercepted', lines('Ida:Dot'))),
  await told(await post(url + '/imports/filtered', lines('Ida:Elf'))),
]
const events = (await (await fetch(url + '/events?owner=Eve')).text()).match(/^data: .*/gm)
const open = await fetch(url + '/events?owner=Gil')
await open.body?.getReader().read()
await app.close() // although a stream is open
console.log(JSON.stringify({ answers, events }))
`

/** The app on an adapter of the test, as the guide overrides it. */
const overridden = `
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { checkEveryFault, faultyAdapter } from 'eventsourcing-prisma/testing'
import { post } from './client.js'
import { newDatastore } from './prisma.module.js'
import { createTestApp } from './test-app.js'
const faults = faultyAdapter(new PrismaLibSql({ url: process.env['OVERRIDDEN_URL'] ?? '' }))
const platform = process.argv[2] === 'express' ? new ExpressAdapter() : new FastifyAdapter()
const app = await createTestApp(newDatastore(faults), platform)
await app.listen(0, '127.0.0.1')
const url = (await app.getUrl()) + '/owners'
faults.record()
const answers: unknown[] = [
  await (await fetch(url + '/Ann')).json(),
  faults.statements.find((sql) => sql.startsWith('BEGIN')),
]
// Another process holds the file when it is to commit; the number is that of COMMIT.
faults.failAt(4, 'conflict')
const conflict = await post(url, { name: 'Eve', dogs: ['Bello', 'Waldi'] })
answers.push(conflict.status, conflict.headers.get('retry-after'), await conflict.json())
faults.stop()
const run = async (n: number) => await post(url, { name: 'Dora', dogs: [\`dog \${n}\`, \`other \${n}\`] })
const { statements } = await checkEveryFault({ faults, run, tables: ['Owner'] })
await app.close()
console.log(JSON.stringify({ answers, statements: statements.map((sql) => sql.split(' ', 1)[0]) }))
`

/** The app with idempotency keys. */
const withKeys = `
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { NestFactory } from '@nestjs/core'
import { PrismaIdempotencyStore } from 'eventsourcing-prisma'
import { getDatastoreToken } from 'eventsourcing-prisma/nestjs'
import { post } from './client.js'
import { KeysModule } from './keys.module.js'
const platform = process.argv[2] === 'express' ? new ExpressAdapter() : new FastifyAdapter()
const app = await NestFactory.create(KeysModule, platform)
await new PrismaIdempotencyStore(app.get(getDatastoreToken())).createTable()
await app.listen(0, '127.0.0.1')
const url = (await app.getUrl()) + '/owners'
const send = async (headers: Record<string, string>, name = 'Ann', dog = 'Rex') => {
  const response = await post(url, { name, dogs: [dog] }, { 'idempotency-key': '"one"', ...headers })
  return [response.status, response.headers.get('idempotency-replayed')]
}
const answers = [
  await send({}),
  await send({ authorization: 'Ann' }),
  await send({ authorization: 'Ann' }),
  await send({}),
  await send({ authorization: 'Ann' }, 'Ann', 'Fido'),
  await send({ authorization: 'Bea' }, 'Bea', 'Milo'),
]
await app.close()
console.log(JSON.stringify(answers))
`

const busy = { type: 'about:blank', title: 'Service Unavailable', status: 503, code: 'ES_OPERATIONAL' }

/** What a description of the guide has. */
export interface NestGuideOptions {
  /** The workspace that has this version of Nest; default: the checkout. */
  readonly workspace?: string
  /** What Nest runs on; default: both. */
  readonly platforms?: ReadonlyArray<'express' | 'fastify'>
  /** Files beside those of the guide. */
  readonly files?: ReadonlyMap<string, string>
  /** Describes what these do. */
  readonly more?: (running: {
    readonly run: (program: string) => unknown
    readonly rows: (sql: string) => Promise<unknown[][]>
  }) => void
}

/** As `nest build` compiles a project with SWC. */
function compileBySwc(folder: string): void {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  for (const file of files) {
    if (!/^[^.]+(\.[^.]+)?\.ts$/.test(file) || /^(node_modules|dist|swc)\b/.test(file)) continue
    const { code } = transformSync(readFileSync(join(folder, file), 'utf8'), {
      filename: file,
      swcrc: false,
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: true },
      },
      module: { type: 'es6' },
    })
    const compiled = join(folder, 'swc', file.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(compiled), { recursive: true })
    writeFileSync(compiled, code)
  }
}

/** Describes the guide for one version. */
export function describeNestGuide(
  version: string,
  { platforms = ['express', 'fastify'], files, more, ...options }: NestGuideOptions = {},
): void {
  let database: EmptyDatabase
  let project: DocumentProject
  const run = (program: string, ...args: string[]): unknown =>
    JSON.parse(project.run([join('dist', `${program}.js`), ...args], { DATABASE_URL: database.url }))
  const rows = async (sql: string): Promise<unknown[][]> => await rowsOf(database.url, sql)

  describe(`the guide for NestJS, with ${version}`, () => {
    beforeAll(async () => {
      database = await emptyDatabase('sqlite')
      await runAll(database.url, [table])
      const guide = blocksOf(readDocument('docs/guides/nestjs.md'))
      const programs = { client, configured, overridden, 'with-keys': withKeys }
      const blocks = new Map([
        ...guide,
        ...Object.entries(programs).map(([name, code]) => [`${name}.ts`, code] as const),
        ...(files ?? []),
      ])
      project = new DocumentProject({ name: 'nestjs', blocks, install: installCompiled, compilerOptions, ...options })
      project.write('schema.prisma', schema)
      project.generateClient('schema.prisma')
      project.checkTypes()
      compileBySwc(project.folder)
    }, 240_000)
    beforeEach(async () => {
      await runAll(database.url, ['DELETE FROM "Owner"', 'DROP TABLE IF EXISTS idempotency_keys'])
    })
    afterAll(async () => {
      project.remove()
      await database.drop()
    })

    describe.each(platforms)('on %s', (platform) => {
      it('takes its database from the configuration, and stores what was not answered as undone', async () => {
        const failed = (reason: unknown) => ({ imported: false, reason })
        expect(run('configured', platform)).toEqual({
          answers: [
            201,
            409,
            409,
            ['Rex', 'Fido'],
            [201, failed('no owner and dog: wrong')],
            [201, failed(expect.stringContaining('Unique constraint'))],
            [200, failed('no owner and dog: wrong')],
            [201, { imported: true }],
            [201, { imported: true }],
          ],
          events: [1, 2, 3].map((dogs) => `data: {"dogs":${dogs}}`),
        })
        expect(await rows(`SELECT dog FROM "Owner" WHERE name <> 'Gil' ORDER BY id`)).toEqual([
          ['Rex'],
          ['Fido'],
          ['Dot'],
          ['Elf'],
          ['dog 0 of Eve'],
          ['dog 1 of Eve'],
          ['dog 2 of Eve'],
        ])
      }, 120_000)

      it('runs as SWC compiles it', async () => {
        const outcome = JSON.parse(
          project.run([join('swc', 'configured.js'), platform], { DATABASE_URL: database.url }),
        ) as { answers: unknown[] }
        expect(outcome.answers.slice(0, 4)).toEqual([201, 409, 409, ['Rex', 'Fido']])
        expect((await rows(`SELECT dog FROM "Owner" WHERE name = 'Ann'`)).length).toBe(2)
      }, 120_000)

      it('runs on the database of a test, and is all or nothing there', async () => {
        const other = await emptyDatabase('sqlite')
        await runAll(other.url, [table, `INSERT INTO "Owner" (name, dog) VALUES ('Ann', 'Rex')`])
        const args = [join('dist', 'overridden.js'), platform]
        const told = JSON.parse(project.run(args, { DATABASE_URL: 'none', OVERRIDDEN_URL: other.url })) as unknown
        expect(told).toEqual({
          answers: [['Rex'], 'BEGIN', 503, expect.stringMatching(/^[1-3]$/), busy],
          statements: ['BEGIN', 'INSERT', 'INSERT', 'COMMIT'],
        })
        expect(await rowsOf(other.url, `SELECT dog FROM "Owner" WHERE name <> 'Dora'`)).toEqual([['Rex']])
        expect(await rows('SELECT dog FROM "Owner"')).toEqual([])
        await other.drop()
      }, 120_000)

      it('gives stored answers behind the guard, to the user whose they are', async () => {
        expect(run('with-keys', platform)).toEqual([
          [403, null],
          [201, null],
          [201, 'true'],
          [403, null],
          [422, null],
          [201, null],
        ])
        expect(await rows('SELECT dog FROM "Owner" ORDER BY id')).toEqual([['Rex'], ['Milo']])
      }, 120_000)
    })

    more?.({ run, rows })
  })
}
