import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/program.js'
import { bundled, bundleTogether } from '../support/bundled.js'
import { rowsOf } from '../support/empty-databases.js'

let folder: string
const main = bundled(new URL('../../src/cli/main.ts', import.meta.url))

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'es-cli-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

/** Runs the command line as its users do, in a process of its own. */
function command(
  args: readonly string[],
  variables: Record<string, string> = {},
  program: string = main,
): { code: number | null; out: string; err: string } {
  const { PRISMA_URL: _url, DATABASE_URL: _databaseUrl, ...inherited } = process.env
  const env = { ...inherited, ...variables }
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    env,
    encoding: 'utf8',
    timeout: 15_000,
  })
  return { code: status, out: stdout, err: stderr }
}

const migrations = ['--migrations', 'prisma/sqlite/migrations']

describe('the command line', () => {
  test('migrates the database that PRISMA_URL names, before DATABASE_URL', async () => {
    const url = `file:${join(folder, 'test.db')}`
    const variables = { PRISMA_URL: url, DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' }
    expect(command(['migrate', ...migrations], variables)).toEqual({
      code: 0,
      out: 'Applied 20261101000000_init\n',
      err: '',
    })
    expect(await rowsOf(url, 'SELECT count(*) FROM stored_events')).toHaveLength(1)
    const again = command(['migrate', ...migrations], { DATABASE_URL: url })
    expect(again).toEqual({ code: 0, out: 'No pending migrations: nothing to do.\n', err: '' })
  })

  test('says in one line what is wrong, and exits with 1', () => {
    const { code, out, err } = command(['migrate', ...migrations])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toBe(
      'Error: Could not apply the migrations: name the database with --url, PRISMA_URL or DATABASE_URL, in .env, or in the Prisma config.\n',
    )
  })

  test('shows no password of a URL that it cannot read', () => {
    const { code, err } = command(['migrate', ...migrations, '--url', 'postgresql://me:se#cret/@:x/db'])
    expect(code).toBe(1)
    expect(err).toMatch(/^Error: .*database URL/)
    expect(err).not.toContain('cret')
  })

  test('refuses a scheme that it has no adapter for', () => {
    const { code, err } = command(['migrate', ...migrations, '--url', 'mongodb://127.0.0.1/db'])
    expect(code).toBe(1)
    expect(err).toContain('its scheme is none of file:, postgres:')
  })

  test('makes no file of SQLite but for migrations, and says which one is missing', () => {
    const file = join(folder, 'missing.db')
    for (const name of ['doctor', 'projections status', 'export -']) {
      const { code, err } = command([...name.split(' '), '--url', `file:${file}`])
      expect([code, err]).toEqual([1, expect.stringMatching(/^Error: Could not (look at|export) the \w+: there is/)])
      expect(err).toContain(`there is no file ${file}, which the URL file:${file} names. Run the command in the folder`)
    }
    expect(existsSync(file)).toBe(false)
  })

  test('says what was attempted on which file or server, and what to do', async () => {
    const missing = { print: () => undefined, complain: (line: string) => void lines.push(line) }
    const lines: string[] = []
    const script = join(folder, 'migrations', '1_dogs')
    mkdirSync(script, { recursive: true })
    writeFileSync(join(script, 'migration.sql'), 'CREATE TABLE dogs (id INT); CREATE TABLE dogs (id INT);')
    writeFileSync(join(folder, 'text.db'), 'no database, but a text that is long enough to be taken for one'.repeat(9))
    const migrate = ['migrate', '--migrations', join(folder, 'migrations'), '--url']
    for (const args of [
      [...migrate, `file:${join(folder, 'dogs.db')}`],
      [...migrate, `file:${join(folder, 'nowhere/dogs.db')}`],
      ['doctor', '--url', `file:${join(folder, 'text.db')}`],
      ['doctor', '--url', 'postgresql://nobody@127.0.0.1:1/none'],
      ['import', join(folder, 'none.jsonl'), '--url', `file:${join(folder, 'dogs.db')}`],
    ]) {
      expect(await run(args, missing)).toBe(1)
    }
    expect(lines).toEqual([
      expect.stringMatching(
        /^Error: Could not apply migration 1_dogs: .* Repair .*, then say so with --resolve 1_dogs/,
      ),
      expect.stringContaining(`Could not open the database in the file ${join(folder, 'nowhere/dogs.db')}: `),
      expect.stringContaining(
        `text.db, which the URL file:${join(folder, 'text.db')} names, is no database of SQLite: correct the URL.`,
      ),
      'Error: Could not look at the database: no database answers at 127.0.0.1:1. Is the server running, and is the address in the URL right?',
      expect.stringMatching(/^Error: Could not import .*none\.jsonl: it cannot be read: ENOENT.* Nothing is stored/),
    ])
  })

  test('says of TypeScript that cannot be loaded what to do, also for a backfill of tags', () => {
    const file = join(folder, 'kennel.mts')
    writeFileSync(file, "import { missing } from './missing.js'\nexport const school = missing")
    const { code, err } = command(['tags', 'backfill', '--application', `${file}#school`, '--kind', `${file}#Dog`])
    expect([code, err]).toEqual([1, expect.stringContaining(`${file} is TypeScript: install tsx in the project`)])
  })

  test('ends quietly when nobody reads what it prints any more', async () => {
    const url = `file:${join(folder, 'test.db')}`
    command(['migrate', ...migrations, '--url', url])
    // More than a pipe holds.
    await rowsOf(
      url,
      `INSERT INTO stored_events (originator_id, originator_version, topic, state)
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
       SELECT 'a' || i, 1, 'Dog.Born', CAST('{"name":"a name that is rather long, so that a pipe is soon full"}' AS BLOB) FROM n`,
    )
    for (const args of ['export -', 'tail --last 2000']) {
      const line = `"${process.execPath}" "${main}" ${args} --url ${url} | head -n 1; exit \${PIPESTATUS[0]}`
      const { status, stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8', timeout: 30_000 })
      expect([status, stderr, stdout.split('\n').length]).toEqual([141, '', 2])
    }
  })

  test('shows its commands', () => {
    const { code, out } = command(['--help'])
    expect(code).toBe(0)
    expect(out).toMatch(/init.*migrate/s)
  })
})

describe('the command line and an application', () => {
  let programs: string
  let withApplications: string

  beforeAll(() => {
    mkdirSync('.tmp', { recursive: true })
    programs = mkdtempSync('./.tmp/applications-')
    const sources = ['../../src/cli/main.ts', './fixtures/bank.ts', './fixtures/shop.ts']
    bundleTogether(programs, ...sources.map((source) => new URL(source, import.meta.url)))
    withApplications = `${programs}/src/cli/main.js`
  })
  afterAll(() => rmSync(programs, { recursive: true }))

  test('verifies snapshots, and fails when one says something else than the events', () => {
    const bank = `${programs}/test/cli/fixtures/bank.js`
    const args = ['verify-snapshots', '--application', `${bank}#bank`, '--kind', `${bank}#Account`]
    expect(command(args, {}, withApplications)).toEqual({
      code: 0,
      out: 'Account: 1 snapshots checked, 0 passed over, 0 differ\n',
      err: '',
    })
    const { code, out, err } = command(args, { RATE: '3' }, withApplications)
    expect(code).toBe(1)
    expect(out).toMatch(/^Account \S+, version 2: events give { cents: 300 }, the snapshot { cents: 100 }\n/)
    expect(err).toContain('1 snapshots say something else than the events')
    const wrong = command(
      ['verify-snapshots', '--application', `${bank}#Account`, '--kind', `${bank}#Account`],
      {},
      withApplications,
    )
    expect([wrong.code, wrong.err]).toEqual([
      1,
      `Error: Could not verify snapshots: ${bank}#Account is not an application.\n`,
    ])
  })

  test('shows no personal data of snapshots that differ', () => {
    const bank = `${programs}/test/cli/fixtures/bank.js`
    const args = ['verify-snapshots', '--application', `${bank}#bank`, '--kind', `${bank}#Client`]
    const { code, out } = command(args, { RATE: '3' }, withApplications)
    expect(code).toBe(1)
    expect(out).not.toContain('Ann')
    expect(out).toMatch(/, version 2: events give greeting \(not shown: it has personal data\), the snapshot greeting /)
  })

  test('verifies snapshots of classes and deciders in a database, and ends then', () => {
    const url = `file:${join(folder, 'shop.db')}`
    command(['migrate', ...migrations, '--url', url])
    const shop = `${programs}/test/cli/fixtures/shop.js`
    const args = ['verify-snapshots', '--application', `${shop}#shop`, '--kind', `${shop}#Order`, `${shop}#stocks`]
    expect(command(args, { SHOP_URL: url, SHOP_FILL: 'yes' }, withApplications)).toEqual({
      code: 0,
      out: 'Order: 1 snapshots checked, 0 passed over, 0 differ\nStock: 2 snapshots checked, 0 passed over, 0 differ\n',
      err: '',
    })
    const { code, out, err } = command(args, { SHOP_URL: url, RATE: '2' }, withApplications)
    expect(code).toBe(1)
    expect(out.split('\n').map((line) => line.replace(/ [-0-9a-f]{36}/, ''))).toEqual([
      'Order, version 2: events give { cents: 200 }, the snapshot { cents: 100 }',
      'Order: 1 snapshots checked, 0 passed over, 1 differ',
      'Stock, version 1: events give { _state: 2n }, the snapshot { _state: 1n }',
      'Stock, version 2: events give { _state: 6n }, the snapshot { _state: 3n }',
      'Stock: 2 snapshots checked, 0 passed over, 2 differ',
      '',
    ])
    expect(err).toContain('3 snapshots say something else')
    const refused = command([...args, `${shop}#open`], { SHOP_URL: url }, withApplications)
    expect(refused).toEqual({
      code: 1,
      out: '',
      err: `Error: Could not verify snapshots: ${shop}#open is not a class of aggregates or a decider.\n`,
    })
  })
})

describe('what the project says of its database', () => {
  test('is read from .env, and from the Prisma config, in which the folder of migrations stands too', async () => {
    const migrations = join(folder, 'somewhere')
    cpSync('prisma/sqlite/migrations', migrations, { recursive: true })
    symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
    writeFileSync(
      join(folder, '.env'),
      `DATABASE_URL=postgresql://nobody@127.0.0.1:1/none\nFILE=file:${join(folder, 'own.db')}\n`,
    )
    writeFileSync(join(folder, 'package.json'), '{}')
    const config = `import { defineConfig, env } from 'prisma/config'
export default defineConfig({ datasource: { url: env('FILE') as string }, migrations: { path: './somewhere' } })`
    writeFileSync(join(folder, 'prisma.config.ts'), config)
    const { PRISMA_URL: _url, DATABASE_URL: _databaseUrl, ...env } = process.env
    const inFolder = (args: readonly string[]): ReturnType<typeof command> => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
        cwd: folder,
        env,
        encoding: 'utf8',
      })
      return { code: status, out: stdout, err: stderr }
    }
    expect(inFolder(['migrate'])).toEqual({ code: 0, out: 'Applied 20261101000000_init\n', err: '' })
    expect(inFolder(['doctor'])).toMatchObject({ code: 0, err: '' })
    // As `prisma init` makes it: one file, which a folder would not be read beside.
    cpSync(join(folder, 'prisma.config.ts'), join(folder, 'prisma7.config.ts'))
    rmSync(join(folder, 'prisma.config.ts'))
    const single = config.replace('datasource: {', "schema: 'schema.prisma', datasource: {")
    writeFileSync(join(folder, 'prisma7.config.ts'), single)
    writeFileSync(join(folder, 'schema.prisma'), 'datasource db {\n  provider = "sqlite"\n}\n')
    mkdirSync(join(folder, 'parts'))
    expect(inFolder(['init', '--schema', 'parts', '--provider', 'sqlite'])).toEqual({
      code: 1,
      out: '',
      err:
        'Error: Could not write the models to parts, which Prisma would not read: prisma7.config.ts says schema: "schema.prisma". ' +
        'Change that line to schema: "parts", or leave out --schema.\n',
    })
    expect(inFolder(['init'])).toMatchObject({ code: 0, err: '' })
    expect(readFileSync(join(folder, 'schema.prisma'), 'utf8')).toContain('model StoredEvent')
    rmSync(join(folder, 'prisma7.config.ts'))
    writeFileSync(join(folder, 'prisma.config.ts'), 'export default nonsense')
    const { code, err } = inFolder(['migrate'])
    expect(code).toBe(1)
    expect(err).toMatch(/prisma\.config\.ts could not be loaded and is passed over: nonsense is not defined/)
  }, 60_000)
})
