/** docs/first-hour.md, followed word by word: commands, files, then requests, and what the database has after them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../../scripts/embedded-postgres.mjs'
import { packedPackage, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, type Provider, providers, rowsOf } from '../support/empty-databases.js'
import { Newcomer } from '../support/newcomer.js'

const page = readDocument('docs/first-hour.md')
const ownTables = {
  postgresql: 'CREATE TABLE "Owner" (id SERIAL PRIMARY KEY, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE);',
  sqlite: 'CREATE TABLE "Owner" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE);',
  mysql:
    'CREATE TABLE `Owner` (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(191) NOT NULL, dog VARCHAR(100) NOT NULL UNIQUE);',
}

let packed: string
let parent: string
beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), 'first-hour-'))
  packed = packedPackage()
}, 600_000)
afterAll(() => rmSync(parent, { recursive: true, force: true }))

interface NestManifest {
  readonly devDependencies: Readonly<Record<string, string>>
}

/** Somebody who reads one section of the page, in an empty folder. */
class Reader extends Newcomer {
  readonly #provider: keyof typeof ownTables

  constructor(name: string, provider: keyof typeof ownTables, env: NodeJS.ProcessEnv) {
    super({ folder: join(parent, name), packed, env })
    this.#provider = provider
  }

  /** Does everything of a section but its last command. @returns that one */
  async follow(heading: string): Promise<string> {
    const [, section = ''] = page.split(`\n## ${heading}\n`)
    const [text = ''] = section.split('\n## ')
    const commands: string[] = []
    for (const [, language = '', code = ''] of text.matchAll(/```(\w+)\n([\s\S]*?)```/g)) {
      if (language === 'sh') commands.push(...code.trim().split('\n'))
      else {
        // Files are written where they stand among the commands.
        await this.#runAll(commands.splice(0))
        this.write(code)
      }
    }
    const last = commands.pop() ?? ''
    await this.#runAll(commands)
    return last
  }

  async #runAll(commands: readonly string[]): Promise<void> {
    for (const command of commands) {
      if (command.startsWith('cd ')) this.folder = join(this.folder, command.slice(3))
      else if (command.startsWith('npx prisma migrate dev')) await this.#migrate()
      else if (command.includes(' @nestjs/cli@')) await this.#newNest(command)
      else await this.succeed(command)
    }
  }

  /** Without what lints and tests: npm would install that for longer than all the rest. */
  async #newNest(command: string): Promise<void> {
    await this.succeed(`${command} --skip-install`)
    const manifest = join(this.folder, 'school/package.json')
    const { devDependencies, ...rest } = JSON.parse(readFileSync(manifest, 'utf8')) as NestManifest
    const wanted = Object.entries(devDependencies).filter(([name]) => !/jest|eslint|prettier|supertest/.test(name))
    writeFileSync(manifest, JSON.stringify({ ...rest, devDependencies: Object.fromEntries(wanted) }))
  }

  /** As the page says where the engine cannot be had, with the table that the engine would make of the app's own model. */
  async #migrate(): Promise<void> {
    const folder = join(this.folder, 'prisma/migrations/20260101000000_eventsourcing')
    mkdirSync(folder, { recursive: true })
    const sql = await this.succeed('npx eventsourcing-prisma sql --app TrainingSchool')
    writeFileSync(join(folder, 'migration.sql'), `${ownTables[this.#provider]}\n${sql}`)
    writeFileSync(join(folder, '../migration_lock.toml'), `provider = "${this.#provider}"\n`)
    expect(await this.succeed('npx eventsourcing-prisma migrate')).toContain('Applied 20260101000000_eventsourcing')
  }
}

/** Sends the requests of the three apps, and tells what the database has after each. */
async function use(newcomer: Reader, command: string, counts: () => Promise<readonly number[]>): Promise<void> {
  const port = await freePort()
  const server = newcomer.start(command, { PORT: String(port) })
  const post = async (path: string, body: object): Promise<{ status: number; text: string }> => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
    return { status: response.status, text: await response.text() }
  }
  try {
    await vi.waitFor(
      async () => {
        await fetch(`http://127.0.0.1:${port}/`).catch((cause: unknown) => {
          throw new Error(`Nothing listens: ${server.said()}`, { cause })
        })
      },
      { timeout: 60_000, interval: 200 },
    )
    expect((await post('/dogs', { name: 'Fido', owner: 'Ann' })).status).toBe(201)
    expect(await counts()).toEqual([1, 1])
    expect((await post('/dogs', { name: 'Rex', owner: 'nobody' })).status).toBe(422)
    expect((await post('/dogs', { name: 'Fido', owner: 'Bob' })).status).toBeGreaterThanOrEqual(400)
    expect(await counts()).toEqual([1, 1])
    expect(JSON.parse((await post('/dogs/Fido/tricks', { trick: 'sit' })).text)).toEqual(['sit'])
    expect(await counts()).toEqual([2, 1])
    expect(server.said()).not.toMatch(/ES_[A-Z_]+|ExperimentalWarning|DeprecationWarning/)
  } finally {
    await server.stop()
  }
}

/** How many events and owners a database has. */
function countsIn(url: string, mark: string): () => Promise<readonly number[]> {
  const count = async (table: string): Promise<number> =>
    Number((await rowsOf(url, `SELECT count(*) FROM ${mark}${table}${mark}`))[0]?.[0])
  return async () => [await count('trainingschool_events'), await count('Owner')]
}

/** A page that nobody could follow would be no help, so each of its sections has a test. */
it('has a test for each of its sections', () => {
  expect([...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual([
    'Fastify, PostgreSQL, TypeScript',
    'Express, SQLite, JavaScript',
    'NestJS, MariaDB',
    'From Python',
  ])
})

const apps: ReadonlyArray<readonly [heading: string, provider: Provider, mark: string]> = [
  ['Fastify, PostgreSQL, TypeScript', 'postgresql', '"'],
  ['Express, SQLite, JavaScript', 'sqlite', '"'],
  ['NestJS, MariaDB', 'mysql', '`'],
]

// Beside each other: what takes long is the network, for npm.
describe.concurrent.each(apps.filter(([, provider]) => providers.includes(provider)))(
  '%s',
  (heading, provider, mark) => {
    let database: EmptyDatabase
    beforeAll(async () => void (database = await emptyDatabase(provider)))
    afterAll(async () => await database.drop())

    it('runs, and changes events and rows together or not at all', async () => {
      const newcomer = new Reader(provider, provider, { DATABASE_URL: database.url })
      await use(newcomer, await newcomer.follow(heading), countsIn(database.url, mark))
    }, 900_000)
  },
)

describe.concurrent('From Python', () => {
  it('runs, set up by the variables', async () => {
    const newcomer = new Reader('python', 'sqlite', {})
    const out = await newcomer.succeed(await newcomer.follow('From Python'))
    const topics = ['Dog.Registered', 'Dog.TrickAdded', 'Dog.TrickAdded']
    expect(out.trim().split('\n').at(-1)).toBe(JSON.stringify([['roll over'], topics]))
    expect(out).not.toMatch(/ES_[A-Z_]+/)
  }, 600_000)
})
