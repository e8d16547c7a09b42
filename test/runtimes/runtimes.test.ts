/** The package from its tarball on other versions of Node, on Bun and on Deno: a small but whole app, the commands, and the demo. */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installRuntimes, runtimes } from '../../scripts/runtimes.mjs'
import { successes } from '../http/answers.js'
import { readDocument } from '../support/document-project.js'
import { emptyDatabase, providers } from '../support/empty-databases.js'
import { sqliteQuery } from '../support/sqlite-query.js'
import { nameOf, PackagedApp, type RunningApp, type Runtime } from './packaged-app.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const frameworks = ['fastify', 'express', 'hono']
const isObligatory = process.env.CI === 'true'
const json = { 'content-type': 'application/json' }

const unavailable: ReadonlyMap<Runtime, string> = installRuntimes()

let packaged: PackagedApp
beforeAll(async () => void (packaged = await PackagedApp.make()))
afterAll(() => packaged.remove())

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
}

async function post(url: string, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, { method: 'POST', headers: { ...json, ...headers }, body: JSON.stringify(body) })
  return { status: response.status, text: await response.text(), headers: response.headers }
}

/** By Node's own client, which asks before it sends a body, and follows no redirect. */
async function sendRaw(
  url: string,
  { method, headers, payload }: { method: string; headers: Record<string, string>; payload: string | undefined },
): Promise<{ status: number; text: string }> {
  const sent = request(url, { method, headers, agent: false })
  if (headers['expect'] === undefined) sent.end(payload)
  else {
    sent.flushHeaders()
    sent.once('continue', () => sent.end(payload))
  }
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, text: await text(response) }
}

/** How many events, rows of owners, and toys an SQLite file has. */
function counts(file: string): readonly number[] {
  const tables = ['trainingschool_events', 'Owner', 'Toy']
  return tables.map((table) => Number(sqliteQuery(file, `SELECT count(*) AS n FROM ${table}`)[0]?.['n']))
}

describe.each(runtimes)('$name $version', (runtime) => {
  if (unavailable.has(runtime)) {
    const reason = unavailable.get(runtime)
    it.skipIf(!isObligatory)(`can be downloaded (${reason})`, () => expect(reason).toBeUndefined())
    return
  }

  let databases: string
  let app: RunningApp
  beforeAll(async () => {
    databases = await packaged.databases(frameworks)
    app = await packaged.start(runtime, databases)
  })

  describe.each(frameworks)('%s', (framework) => {
    const file = (): string => `${databases}/${framework}.db`
    const url = (path: string): string => `${app.urls[framework]}${path}`

    it('stores events and rows together, answers a repeated request, and shows them by a projection', async () => {
      const key = { 'idempotency-key': '"one"' }
      const first = await post(url('/dogs'), { name: 'Fido', owner: 'Ann' }, key)
      expect([first.status, JSON.parse(first.text)]).toEqual([201, { name: 'Fido', owner: 'Ann' }])
      expect(counts(file())).toEqual([1, 1, 0])
      const again = await post(url('/dogs'), { name: 'Fido', owner: 'Ann' }, key)
      expect([again.status, again.text, again.headers.get('idempotency-replayed')]).toEqual([201, first.text, 'true'])
      expect(first.headers.get('es-position')).toBe('TrainingSchool/1')
      const tricks = await post(url('/dogs/Fido/tricks'), { trick: 'sit' })
      expect([tricks.status, JSON.parse(tricks.text)]).toEqual([200, ['sit']])
      expect(counts(file())).toEqual([2, 1, 0])
      await expect
        .poll(async () => await (await fetch(url('/dogs'))).json())
        .toEqual([{ dog: expect.any(String), name: 'Fido', tricks: 1 }])
    })

    it('stores nothing of a request that fails, nor of one whose COMMIT fails, and the client sees an error', async () => {
      const before = counts(file())
      const failed = await post(url('/failing'), { name: 'Rex', owner: 'Bea' })
      const broken = await post(url('/dogs'), { name: 'Rex', owner: 'Bea' }, { 'x-break': 'yes' })
      expect([failed.status, broken.status]).toEqual([500, 500])
      expect(counts(file())).toEqual(before)
    })

    if (framework === 'hono') return
    const answers = [...successes.entries()].filter(([, answer]) => answer[framework as 'fastify' | 'express'])
    it.each(answers.map(([index, answer]) => ({ index, ...answer })))(
      'holds $name until COMMIT has succeeded',
      async ({ index, method = 'POST', headers = {}, payload, status, body = '' }) => {
        const before = counts(file())
        const ask = async (marks: Record<string, string>): Promise<{ status: number; text: string }> =>
          await sendRaw(url(`/answers/${index}`), { method, headers: { ...headers, ...marks }, payload })
        expect((await ask({ 'x-break': 'yes' })).status).toBe(500)
        expect(counts(file())).toEqual(before)
        expect(await ask({})).toEqual({ status, text: body })
        expect(counts(file())).toEqual([(before[0] ?? 0) + 1, (before[1] ?? 0) + 1, 0])
      },
    )
  })

  it('ends without a warning, and its commands show what is stored', async () => {
    expect(await app.stop()).not.toMatch(/warning|deprecat/i)
    const log = ['--app', 'TrainingSchool', '--url', `file:${databases}/fastify.db`]
    const inspected = packaged.runCommand(runtime, ['inspect', ...log])
    expect(inspected).toMatchObject({ status: 0, stderr: '' })
    expect(inspected.stdout).toMatch(/^ {2}Dog\.TrickAdded +1$/m)
    const migrations = ['--migrations', fileURLToPath(new URL('../../examples/prisma/migrations', import.meta.url))]
    expect(packaged.runCommand(runtime, ['doctor', ...log, ...migrations])).toMatchObject({ status: 0, stderr: '' })
  })

  it.each(providers)('stores and follows a log on %s', async (provider) => {
    const database = await emptyDatabase(provider)
    try {
      const { stdout, stderr } = packaged.run(runtime, ['log.mjs'], { env: { PRISMA_URL: database.url } })
      expect(stderr).toBe('')
      expect(JSON.parse(stdout)).toEqual({
        outcome: 'Error: The dog ran away',
        tricks: ['sit'],
        log: ['Dog.Registered', 'Dog.Registered', 'Dog.TrickAdded'],
        hasRex: false,
      })
    } finally {
      await database.drop()
    }
  })

  if (runtime.name !== 'Node') {
    it('passes the tests of requests and connections', () => {
      const tests = ['connections', 'requests'].map((name) => `test/http/${name}.test.ts`)
      const vitest = ['node_modules/vitest/vitest.mjs', 'run', ...tests]
      // Bun would start Node for it.
      const args = runtime.name === 'Bun' ? ['--bun', ...vitest] : vitest
      // What is obligatory has run on Node. better-sqlite3 is built for that alone; the other databases are used above.
      const env = { CI: 'false', TEST_POSTGRES_URL: undefined, TEST_MARIADB_URL: undefined }
      const { status, stdout, stderr } = packaged.run(runtime, args, { cwd: root, env, timeoutMs: 400_000 })
      expect({ status, printed: status === 0 ? '' : `${stdout}${stderr}` }).toEqual({ status: 0, printed: '' })
    }, 420_000)
    // The demo starts processes of its own by options of Node.
    return
  }
  const nodes = runtimes.filter(({ name }) => name === 'Node')
  if (runtime !== nodes[0] && runtime !== nodes.at(-1)) return
  it('runs the demo', () => {
    const { status, stdout, stderr } = packaged.run(runtime, ['--import', 'tsx', 'examples/demo.ts'], { cwd: root })
    expect({ status, warnings: /warning|deprecat/i.exec(stderr) }).toEqual({ status: 0, warnings: null })
    expect(stdout).toContain('{"tricks":["roll over","play dead"]}')
    expect(stdout).toContain('POST /failing {"name":"Rex","owner":"Bea"}\n  500')
  })
})

it.each(runtimes)('docs/runtimes.md names $name $version', ({ name, version }) => {
  const page = readDocument('docs/runtimes.md')
  expect(page).toContain(name === 'Node' ? version : nameOf({ name, version }))
})
