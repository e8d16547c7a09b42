/** Each entry of the package loads the packages that it is for, and no other. */
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

const loads: ReadonlyArray<readonly [entry: string, packages: readonly string[]]> = [
  ['', []],
  ['/express', []],
  ['/fastify', ['fastify-plugin']],
  ['/hono', ['hono']],
  ['/nestjs', ['@nestjs/common', '@nestjs/core']],
  ['/opentelemetry', ['@opentelemetry/api']],
  ['/graphql', []],
  ['/trpc', []],
  ['/testing', []],
]

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
await import(process.argv[2])
`,
  )
}, 120_000)

afterAll(() => rmSync(project, { recursive: true, force: true }))

it.each(loads)('eventsourcing-prisma%s loads what it is for', (entry, packages) => {
  const args = ['load.js', `eventsourcing-prisma${entry}`]
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8' })
  expect([status, stderr.includes('eventsourcing-prisma/dist/')]).toEqual([0, true])
  const names = [...stderr.matchAll(/node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//g)].map(([, name = '']) => name)
  expect([...new Set(names)].filter((name) => watched.has(name)).sort()).toEqual(packages)
})

it('is the list of the entries that need packages of others', () => {
  const { exports }: { exports: Record<string, unknown> } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect(Object.keys(exports)).toEqual(expect.arrayContaining(loads.map(([entry]) => `.${entry}`)))
})
