/** The code of the README does what the README says: every block that names a file is written and run, against SQLite and the packed package. */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sqliteQuery } from '../support/sqlite-query.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The blocks that begin with `// file: name`. */
const blocks = new Map(
  [...readme.matchAll(/```ts\n\/\/ file: (\S+)\n([\s\S]*?)```/g)].map(([, name = '', code = '']) => [name, code]),
)

/** What a user's project has, as strict as it can be. */
const compilerOptions = {
  target: 'ES2022',
  lib: ['ES2023', 'ESNext.Disposable'],
  module: 'NodeNext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: true,
}

/** Puts the package where npm would put it, from what would be published; its dependencies are found in the checkout. */
function installPackage(project: string): void {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const packed = spawnSync(npm, ['pack', '--json', '--pack-destination', project], { cwd: root, encoding: 'utf8' })
  const tarball = /"filename": "([^"]+\.tgz)"/.exec(packed.stdout)?.[1]
  if (tarball === undefined) throw new Error(`npm pack failed:\n${packed.stdout}${packed.stderr}`)
  const folder = join(project, 'node_modules/eventsourcing-prisma')
  mkdirSync(folder, { recursive: true })
  const { status, stderr } = spawnSync('tar', ['-xzf', join(project, tarball), '-C', folder, '--strip-components=1'])
  if (status !== 0) throw new Error(`tar failed: ${String(stderr)}`)
}

describe('the README, with the package as it is published', () => {
  let project: string
  let database: string
  beforeAll(() => {
    mkdirSync(join(root, '.tmp'), { recursive: true })
    // Inside of the checkout, so that its packages are found.
    project = mkdtempSync(join(root, '.tmp/readme-'))
    database = join(project, 'dev.db')
    cpSync(join(root, 'examples/prisma'), join(project, 'prisma'), { recursive: true })
    const schema = join(project, 'prisma/schema/schema.prisma')
    writeFileSync(schema, readFileSync(schema, 'utf8').replace('../../generated', '../../generated/prisma'))
    run([join(root, 'node_modules/prisma/build/index.js'), 'generate', '--schema', join(project, 'prisma/schema')])
    for (const [name, code] of blocks) writeFileSync(join(project, name), code)
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'kennel', private: true, type: 'module' }))
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    installPackage(project)
    run([join(project, 'node_modules/eventsourcing-prisma/dist/src/cli/main.js'), 'migrate', '--url', 'file:./dev.db'])
  }, 240_000)
  afterAll(() => {
    rmSync(project, { recursive: true, force: true })
  })

  const env = (): NodeJS.ProcessEnv => ({
    ...process.env,
    PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
  })
  const run = (args: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: project, env: env(), encoding: 'utf8' })
    if (status !== 0) throw new Error(`node ${args.join(' ')} failed:\n${stdout}${stderr}`)
    return stdout
  }
  const runBlock = (name: string): string => {
    expect(blocks.has(name)).toBe(true)
    return run(['--import', 'tsx', name])
  }
  const count = (table: string, condition: string): number =>
    Number(sqliteQuery(database, `SELECT count(*) AS n FROM ${table} WHERE ${condition}`)[0]?.['n'])

  it('shows a first example of at most 25 lines, from install to route', () => {
    const lines = (code: string): number => code.split('\n').filter((line) => line.trim() !== '').length
    const [, install = ''] = /## Quick start[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme) ?? []
    expect(lines(install) + lines(blocks.get('quick-start.ts') ?? '')).toBeLessThanOrEqual(25)
  })

  it('quick start: a route changes a row and an aggregate in one transaction', async () => {
    const port = 20_000 + Math.floor(Math.random() * 20_000)
    const server = spawn(process.execPath, ['--import', 'tsx', 'quick-start.ts'], {
      cwd: project,
      env: { ...env(), PORT: String(port) },
      stdio: 'inherit',
    })
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
    runBlock('scoped-client.ts')
  })

  it('a request that is sent twice with one key', () => {
    runBlock('idempotency.ts')
    expect(count('idempotency_keys', "key = '8e03978e-40d5-43dd' AND status = 201")).toBe(1)
  })

  it('following the log: a projection with its tracking', () => {
    runBlock('projection.ts')
    expect(count('trainingschool_tracking', "application_name = 'TrainingSchool'")).toBe(1)
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

  it('without decorators', () => {
    runBlock('plain.ts')
  })

  it('has the types that it shows', () => {
    run([join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'])
  })

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
