/** The guide for GraphQL and tRPC does what it says. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf, runAll } from '../support/empty-databases.js'

const mutation = (query: string): object => ({ query: `mutation { ${query} }` })
const openAnd = (cents: number): string =>
  `a: open(owner: "Ida") b: open(owner: "Jim") transfer(from: "Ida", to: "Jim", cents: ${cents})`

/** What is posted to a server of the guide: first what succeeds, then what fails. */
const servers = {
  'apollo.ts': {
    path: '/graphql',
    bodies: [mutation(openAnd(30)), mutation('transfer(from: "Ida", to: "Jim", cents: 80)')],
  },
  'yoga.ts': {
    path: '/graphql',
    bodies: [mutation(openAnd(30)), mutation('transfer(from: "Ida", to: "Jim", cents: 80)')],
  },
  'mercurius.ts': {
    path: '/graphql',
    bodies: [mutation(openAnd(30)), mutation('transfer(from: "Ida", to: "Jim", cents: 80)')],
  },
  'trpc.ts': {
    path: '/trpc/open,open,transfer,transfer?batch=1',
    bodies: [
      { 0: 'Ida', 1: 'Jim', 2: { from: 'Ida', to: 'Jim', cents: 30 }, 3: { from: 'Ida', to: 'Jim', cents: 80 } },
    ],
  },
} as const

/** Starts a server, posts the bodies, and prints the status and the text of each answer. */
const program = (file: string, path: string, bodies: readonly object[]): string => `
  import * as server from './${file.replace('.ts', '.js')}'
  import { datastore } from './db.js'
  const listening = 'fastify' in server
    ? await server.fastify.listen({ port: 0, host: '127.0.0.1' })
    : await new Promise((resolve) => {
        const http = server.app.listen(0, '127.0.0.1', () => resolve('http://127.0.0.1:' + http.address().port))
      })
  const answers = []
  for (const body of ${JSON.stringify(bodies)}) {
    const headers = { 'content-type': 'application/json', accept: 'application/json' }
    const response = await fetch(listening + '${path}', { method: 'POST', headers, body: JSON.stringify(body) })
    answers.push([response.status, await response.text()])
  }
  console.log(JSON.stringify(answers))
  await datastore.close()
  process.exit(0)
`

let database: EmptyDatabase
let project: DocumentProject

beforeAll(async () => {
  database = await emptyDatabase('postgresql')
  await runAll(database.url, [
    'CREATE TABLE "Account" (id SERIAL PRIMARY KEY, owner TEXT NOT NULL UNIQUE, cents INTEGER NOT NULL)',
  ])
  const blocks = blocksOf(readDocument('docs/guides/graphql-trpc.md'))
  const env = { DATABASE_URL: database.url }
  project = new DocumentProject({ name: 'graphql-trpc', blocks, install: installCompiled, env })
  project.generateClient('schema.prisma')
}, 240_000)
afterAll(async () => {
  project.remove()
  await database.drop()
})

const accounts = async (): Promise<unknown> =>
  await rowsOf(database.url, 'SELECT owner, cents FROM "Account" ORDER BY owner')

describe('the guide', () => {
  it('has the types that it shows', () => project.checkTypes(), 120_000)

  it.each(Object.entries(servers))(
    '%s stores what succeeds, and undoes what answers with errors',
    async (file, { path, bodies }) => {
      await runAll(database.url, ['DELETE FROM "Account"'])
      project.write('requests.ts', program(file, path, bodies))
      const answers: [number, string][] = JSON.parse(project.runFile('requests.ts'))
      // Yoga masks the message.
      expect(answers.at(-1)?.[1]).toMatch(/"error/)
      expect(await accounts()).toEqual([
        ['Ida', 70],
        ['Jim', 130],
      ])
    },
  )

  it('json-rpc.ts rolls back by the body of its answer', async () => {
    await runAll(database.url, [
      'DELETE FROM "Account"',
      `INSERT INTO "Account" (owner, cents) VALUES ('Ida', 9), ('Jim', 0)`,
    ])
    const call = (cents: number) => ({ jsonrpc: '2.0', id: 1, params: { from: 'Ida', to: 'Jim', cents } })
    project.write('requests.ts', program('json-rpc.ts', '/rpc', [call(5), call(80)]))
    const answers: [number, string][] = JSON.parse(project.runFile('requests.ts'))
    expect(answers.map(([status]) => status)).toEqual([200, 200])
    expect(await accounts()).toEqual([
      ['Ida', 4],
      ['Jim', 5],
    ])
  })
})
