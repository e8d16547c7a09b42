/** The decorators compile and run by each toolchain that docs/decorators.md names, as standard and as legacy ones. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transform as bySwc } from '@swc/core'
import { build, transform as byEsbuild } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installCompiled } from '../support/document-project.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const sample = readFileSync(join(root, 'test/toolchains/sample.ts'), 'utf8')
const table = readFileSync(join(root, 'docs/decorators.md'), 'utf8')
const expected = [
  'Rex',
  ['sit a little'],
  3,
  ['Puppy.Registered', 'Puppy.TrickAdded', 'Puppy.Weighed', 'Puppy.Renamed'],
]
const compilerOptions = {
  target: 'ES2022',
  module: 'NodeNext',
  strict: true,
  skipLibCheck: true,
  types: ['node'],
  lib: ['ES2023', 'ESNext.Disposable'],
}

let project: string

/** A project with this package in it. */
beforeAll(() => {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  project = mkdtempSync(join(root, '.tmp/toolchains-'))
  installCompiled(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  writeFileSync(join(project, 'sample.ts'), sample)
  for (const [name, experimentalDecorators] of [
    ['standard', false],
    ['legacy', true],
  ] as const) {
    const options = { ...compilerOptions, experimentalDecorators, outDir: `tsc-${name}` }
    writeFileSync(join(project, `${name}.json`), JSON.stringify({ compilerOptions: options, files: ['sample.ts'] }))
  }
}, 120_000)

afterAll(() => rmSync(project, { recursive: true, force: true }))

function run(args: readonly string[], cwd: string = project, env: Record<string, string> = {}): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`node ${args.join(' ')} failed:\n${stdout}${stderr}`)
  return stdout
}

/** Runs compiled code. */
function outcomeOf(code: string, name: string): unknown {
  writeFileSync(join(project, `${name}.mjs`), code)
  return JSON.parse(run([`${name}.mjs`]))
}

function versionOf(name: string): string {
  const { version }: { version: string } = JSON.parse(
    readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'),
  )
  return version
}

describe.each(['standard', 'legacy'] as const)('as %s decorators', (form) => {
  const isLegacy = form === 'legacy'
  const tsconfigRaw = { compilerOptions: { experimentalDecorators: isLegacy } }

  it('tsc checks, compiles and runs them', () => {
    run([join(root, 'node_modules/typescript/bin/tsc'), '-p', `${form}.json`])
    expect(JSON.parse(run([`tsc-${form}/sample.js`]))).toEqual(expected)
  })

  it('tsx runs them', () => {
    const output = run(['--import', 'tsx', 'sample.ts'], project, { TSX_TSCONFIG_PATH: join(project, `${form}.json`) })
    expect(JSON.parse(output)).toEqual(expected)
  })

  it('esbuild compiles them', async () => {
    const { code } = await byEsbuild(sample, { loader: 'ts', target: 'es2022', format: 'esm', tsconfigRaw })
    expect(outcomeOf(code, `esbuild-${form}`)).toEqual(expected)
  })

  it('esbuild bundles and minifies them, with the topics that are given', async () => {
    const { outputFiles } = await build({
      entryPoints: [join(project, 'sample.ts')],
      bundle: true,
      minify: true,
      write: false,
      platform: 'node',
      format: 'esm',
      target: 'es2022',
      tsconfigRaw,
      banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
      external: ['@prisma/*', 'better-sqlite3', 'libsql'],
    })
    expect(outcomeOf(outputFiles[0]?.text ?? '', `bundle-${form}`)).toEqual(expected)
  })

  it('swc compiles them', async () => {
    const { code } = await bySwc(sample, {
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', decorators: true },
        transform: isLegacy ? { legacyDecorator: true } : { decoratorVersion: '2022-03' },
      },
      module: { type: 'es6' },
    })
    expect(outcomeOf(code, `swc-${form}`)).toEqual(expected)
  })
})

describe('the table of toolchains', () => {
  it.each(['typescript', 'tsx', 'esbuild', '@swc/core', 'vitest'])('names the version of %s that is tested', (name) => {
    expect(table).toContain(`${name} ${versionOf(name)}`)
  })

  it('shows the way without decorators as it runs', () => {
    const [, code = ''] = /```js\n\/\/ file: [^\n]+\n([\s\S]*?)```/.exec(table) ?? []
    writeFileSync(join(project, 'plain.js'), code)
    expect(run(['plain.js'])).toBe('Rex knows sit\n')
  })
})
