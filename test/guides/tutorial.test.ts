/** docs/tutorial.md, followed word by word in an empty folder: its files, its commands and what they print, its processes, its Dockerfile. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../scripts/embedded-postgres.mjs'
import { carryOut } from '../support/docker-steps.js'
import { blocksOf, packedPackage, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf } from '../support/empty-databases.js'
import { consoleSteps, matches, Newcomer, type Started } from '../support/newcomer.js'
import { diff, ofSchema, schemaEngine } from '../tables/schema-engine.js'

const page = readDocument('docs/tutorial.md')
const sections = page
  .split(/^## /m)
  .slice(1)
  .map((text) => [text.slice(0, text.indexOf('\n')), text] as const)
const shutdown = blocksOf(readDocument('docs/shutdown.md')).get('shutdown-fastify.ts') ?? ''

/** Whether `pg_dump` is there, and no older than the server. */
async function canDump(url: string): Promise<boolean> {
  const [, version = '0'] = / (\d+)\./.exec(String(spawnSync('pg_dump', ['--version']).stdout)) ?? []
  const [[server] = []] = await rowsOf(url, 'SHOW server_version')
  return Number(version) >= Number.parseInt(String(server), 10)
}

/** Follows the page, section by section. */
class Reader {
  readonly #home: Newcomer
  readonly #ports: readonly number[]
  readonly #databases: readonly [shop: EmptyDatabase, restored: EmptyDatabase]
  readonly #running = new Map<string, Started>()
  /** Where the commands of a release run: in what the Dockerfile has made. */
  #shell: Newcomer
  #migrated = ''

  constructor(home: Newcomer, ports: readonly number[], databases: readonly [EmptyDatabase, EmptyDatabase]) {
    this.#home = home
    this.#shell = home
    this.#ports = ports
    this.#databases = databases
  }

  async follow(text: string): Promise<void> {
    for (const [, language = '', block = ''] of text.matchAll(/```(\w+)\n([\s\S]*?)```/g)) {
      const code = this.#localized(block)
      if (language === 'console') for (const step of consoleSteps(code)) await this.#expect(step.command, step.output)
      else if (language === 'dockerfile') await this.#build(code)
      else if (language !== 'sh') this.#home.write(code)
      else if (code.startsWith('# in a terminal of its own\n')) await this.#start(code.trim().split('\n')[1] ?? '')
      else for (const command of code.trim().split('\n')) await this.#do(command)
    }
  }

  /** With ports that nobody has, and the database of the test. */
  #localized(code: string): string {
    return code
      .replaceAll(/(?<=localhost:|PORT=)300([012])\b/g, (_port, digit: string) => String(this.#ports[Number(digit)]))
      .replace('postgresql://postgres@localhost:5432/shop', this.#databases[0].url)
  }

  async #do(command: string): Promise<void> {
    const shown = /^npx prisma migrate dev --name (\w+)$/.exec(command)
    if (shown !== null) return await this.#migrate(shown[1] ?? '')
    // In the stage of the image that has the command line of Prisma; what it lacks here is its engine.
    if (command === 'npx prisma migrate deploy')
      return void (await this.#home.succeed('npx eventsourcing-prisma migrate'))
    if (command === 'npx tsc') return void (await this.#home.succeed(command))
    const [database, restored] = this.#databases
    if (command.startsWith('pg_') && !(await canDump(database.url))) return
    await this.#shell.succeed(command, { DATABASE_URL: database.url, RESTORED_URL: restored.url })
  }

  /** As `prisma migrate dev` does it, with the engine as WebAssembly. */
  async #migrate(name: string): Promise<void> {
    const { folder } = this.#home
    const schema = readFileSync(join(folder, 'prisma/schema.prisma'), 'utf8')
    const isSqlite = schema.includes('"sqlite"')
    const adapter = isSqlite ? new PrismaLibSql({ url: 'file::memory:' }) : new PrismaPg(this.#databases[0].url)
    const migrations = join(folder, 'prisma/migrations')
    const from = existsSync(migrations) ? ofSchema(this.#migrated) : ({ tag: 'empty' } as const)
    const sql = await diff(await schemaEngine(adapter, schema), from, ofSchema(schema))
    this.#migrated = schema
    const path = join(migrations, `2026010100000${existsSync(migrations) ? readdirSync(migrations).length : 0}_${name}`)
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, 'migration.sql'), sql)
    writeFileSync(join(migrations, 'migration_lock.toml'), `provider = "${isSqlite ? 'sqlite' : 'postgresql'}"\n`)
    expect(await this.#home.succeed('npx eventsourcing-prisma migrate')).toContain(`_${name}`)
  }

  /** Starts a process; one that was started by the same command is stopped before, as with Ctrl-C. */
  async #start(command: string): Promise<void> {
    await this.#running.get(command)?.stop()
    const started = this.#shell.start(command, { PORT: String(this.#ports[0]) })
    this.#running.set(command, started)
    const [, port = command.includes('server') ? String(this.#ports[0]) : undefined] = /PORT=(\d+)/.exec(command) ?? []
    if (port === undefined) return
    await expect
      .poll(
        () =>
          answers(port).then(
            () => 'answers',
            () => started.said() || 'is silent',
          ),
        { timeout: 30_000 },
      )
      .toBe('answers')
  }

  async #expect(command: string, output: string): Promise<void> {
    const shell = command.startsWith('curl') ? this.#home : this.#shell
    const { out } = await shell.run(command)
    const printed = out.replaceAll('\r', '').trimEnd()
    if (!matches(output, printed)) expect(printed, `${command}\n${this.#said()}`).toBe(output)
  }

  async #build(code: string): Promise<void> {
    this.#home.write(code)
    const { folder, env } = this.#home
    const variables = { DATABASE_URL: this.#databases[0].url, ADMIN_PASSWORD: 'let me in', ...env }
    const image = await carryOut(code, folder, { folder: `${folder}-image`, packed: '', env: variables })
    expect(image.cmd).toEqual(['node', 'dist/server.js'])
    this.#shell = image.shell
  }

  #said(): string {
    return [...this.#running].map(([command, started]) => `${command}\n${started.said()}`).join('\n')
  }

  /** Leaves the image for the folder of the project. */
  goHome(): void {
    this.#shell = this.#home
  }

  /** Ends all processes. @returns their exit codes */
  async stopAll(): Promise<(number | null)[]> {
    const codes = await Promise.all([...this.#running.values()].map(async (started) => await started.stop()))
    this.#running.clear()
    return codes
  }
}

async function answers(port: string): Promise<void> {
  await fetch(`http://127.0.0.1:${port}/`)
}

describe('the tutorial', () => {
  let parent: string
  let databases: readonly [EmptyDatabase, EmptyDatabase]
  let reader: Reader
  beforeAll(async () => {
    parent = mkdtempSync(join(tmpdir(), 'tutorial-'))
    databases = [await emptyDatabase('postgresql'), await emptyDatabase('postgresql')]
    const home = new Newcomer({ folder: join(parent, 'shop'), packed: packedPackage(), env: {} })
    home.write(`// file: src/shutdown-fastify.ts\n${shutdown}`)
    reader = new Reader(home, [await freePort(), await freePort(), await freePort()], databases)
  }, 240_000)
  afterAll(async () => {
    await reader.stopAll()
    for (const database of databases) await database.drop()
    rmSync(parent, { recursive: true, force: true })
  })

  for (const [heading, text] of sections) {
    it(`does what is under ${heading}`, async () => {
      if (heading === 'A list' || heading === 'PostgreSQL') await reader.stopAll()
      if (heading === 'A new version of the list') reader.goHome()
      await reader.follow(text)
    }, 300_000)
  }

  it('has stored what the page says, and its servers end well', async () => {
    const url = databases[0].url
    expect(await rowsOf(url, 'SELECT code, email FROM "Buyer"')).toEqual([['WINTER-1', 'cem@example.com']])
    expect(await rowsOf(url, 'SELECT "left", uses FROM "VoucherBalance"')).toEqual([[8000, 0]])
    if (await canDump(url)) {
      expect(await rowsOf(databases[1].url, 'SELECT topic FROM shop_events')).toEqual([['Voucher.Issued']])
    }
    expect(await reader.stopAll()).toEqual([0, 0, 0])
  })
})
