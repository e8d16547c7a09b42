/** Each entry of the package loads the packages and the modules that it is for, and no other. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { installCompiled } from '../support/document-project.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
let project: string

/** Packages that an entry may be for; those that they load themselves are theirs. */
const watched = new Set([
  '@hono/node-server',
  '@nestjs/common',
  '@nestjs/core',
  '@nestjs/platform-express',
  '@nestjs/platform-fastify',
  '@opentelemetry/api',
  '@prisma/client',
  'commander',
  'express',
  'fastify',
  'fastify-plugin',
  'hono',
  'mariadb',
  'pg',
])

/** What an entry loads. */
interface Loads {
  readonly packages?: readonly string[]
  /** The folders of src/ whose modules it loads. */
  readonly layers?: readonly string[]
  /** The first words of the names of modules in adapters/ that are about a framework. */
  readonly adapters?: readonly string[]
}

const library = ['application', 'domain', 'persistence', 'prisma', 'projection', 'systems', 'transaction']

// `nest-interceptor.js` is for those who add the middleware to Nest by hand, and loads nothing of Nest.
const loads: Readonly<Record<string, Loads>> = {
  '.': { layers: library },
  './express': { layers: library, adapters: ['express', 'nest'] },
  './fastify': { layers: library, adapters: ['fastify', 'nest'], packages: ['fastify-plugin'] },
  './hono': { layers: library, adapters: ['hono'], packages: ['hono'] },
  // Its module is for both platforms.
  './nestjs': {
    layers: library,
    adapters: ['express', 'fastify', 'nest', 'nestjs'],
    packages: ['@nestjs/common', '@nestjs/core'],
  },
  './opentelemetry': { adapters: ['opentelemetry'], packages: ['@opentelemetry/api'] },
  './graphql': { adapters: ['graphql'] },
  './trpc': { adapters: ['trpc'] },
  './recorders': { layers: ['application', 'domain', 'persistence', 'prisma', 'transaction'] },
  './relay': { layers: ['application', 'domain', 'persistence', 'projection', 'relay', 'transaction'] },
  './browser': { layers: [...library, 'browser'].sort(), adapters: ['browser'] },
  './testing': { layers: ['application', 'domain', 'persistence', 'prisma', 'testing', 'transaction'] },
}

const frameworks = /^(?:express|fastify|hono|nestjs|nest|opentelemetry|graphql|trpc|browser)\b/

beforeAll(() => {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  project = mkdtempSync(join(root, '.tmp/entries-'))
  installCompiled(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  const hook =
    'export async function resolve(specifier, context, next) { const found = await next(specifier, context); process._rawDebug(found.url); return found }'
  writeFileSync(
    join(project, 'load.js'),
    `import { register } from 'node:module'
register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))
const [entry] = process.argv.splice(2, 1)
await import(entry)
`,
  )
}, 120_000)

afterAll(() => rmSync(project, { recursive: true, force: true }))

/** @returns what is loaded by a script */
function loadedBy(args: readonly string[]): Required<Loads> {
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8' })
  expect([status, stderr.includes('eventsourcing-prisma/dist/')]).toEqual([0, true])
  const allOf = (pattern: RegExp): string[] => [...new Set([...stderr.matchAll(pattern)].map(([, name = '']) => name))]
  const adapters = allOf(/\/dist\/adapters\/([\w-]+)\.js$/gm).flatMap((name) => frameworks.exec(name) ?? [])
  return {
    packages: allOf(/node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//g)
      .filter((name) => watched.has(name))
      .sort(),
    layers: allOf(/\/dist\/src\/([\w-]+)\//g).sort(),
    adapters: [...new Set(adapters)].sort(),
  }
}

it.each(Object.entries(loads))('%s loads what it is for', (entry, expected) => {
  const loaded = loadedBy(['load.js', `eventsourcing-prisma${entry.slice(1)}`])
  expect(loaded).toEqual({ packages: [], layers: [], adapters: [], ...expected })
})

it('loads the parser of commands for the command line alone', () => {
  const main = './node_modules/eventsourcing-prisma/dist/src/cli/main.js'
  const { packages, layers, adapters } = loadedBy(['load.js', main, '--version'])
  expect({ packages, adapters }).toEqual({ packages: ['commander'], adapters: [] })
  expect(layers).not.toEqual(expect.arrayContaining(['testing']))
  expect(layers).not.toEqual(expect.arrayContaining(['browser']))
})

it('is the list of all entries', () => {
  const { exports }: { exports: Record<string, unknown> } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect(Object.keys(loads).sort()).toEqual(
    Object.keys(exports)
      .filter((entry) => entry !== './package.json')
      .sort(),
  )
})

it('has a row for each entry in docs/package.md', () => {
  const rows = readFileSync(join(root, 'docs/package.md'), 'utf8').matchAll(/^\| `(\.[^`]*)`/gm)
  expect(new Set([...rows].map(([, entry]) => entry))).toEqual(new Set(Object.keys(loads)))
})
