/**
 * `npm run test:prisma -- 8.1.0-dev.7`: compiles this package and its tests with another version of Prisma, and runs a part of them, in a
 * copy of the checkout, on Node 24. What comes after the version are files or folders of tests, in the place of those below.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { root } from './install.mjs'
import { binaryOf, installRuntimes, runtimes } from './runtimes.mjs'

/** What lives on Prisma's clients, adapters and errors. */
const usual = ['test/prisma', 'test/transaction', 'test/application', 'test/http/requests.test.ts', 'test/runtimes']
/** Those that have the version of Prisma itself. */
const ofPrisma = /^(?:prisma|@prisma\/(?:client|adapter-.*|driver-adapter-utils))$/

const [version, ...asked] = process.argv.slice(2)
if (version === undefined) refuse('Name a version of Prisma: npm run test:prisma -- 8.1.0-dev.7')
if (!publishedOf('@prisma/client').includes(version)) {
  refuse(
    publishedOf('prisma').includes(version)
      ? `prisma@${version} has no @prisma/client of its version: it is of the line without driver adapters. See docs/prisma-8.md.`
      : `npm has no @prisma/client@${version}.`,
  )
}
const node24 = runtimes.find(({ name, version: own }) => name === 'Node' && own.startsWith('24.') && own !== '24.0.0')
installRuntimes()
const node = existsSync(binaryOf(node24)) ? binaryOf(node24) : process.execPath
const folder = copyOfCheckout()
const installs = ['install', '--no-audit', '--no-fund', '--loglevel=error', '--no-package-lock']
if (!run('npm', installs)) refuse(`npm could not install Prisma ${version}.`)
const outcomes = [
  ['generates the clients', run(node, ['scripts/generate.mjs'])],
  ['compiles', run(node, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'])],
  ['passes the tests', run(node, ['scripts/test.mjs', ...(asked.length > 0 ? asked : usual)])],
]
console.log(
  `\nPrisma ${version}, Node ${spawnSync(node, ['-p', 'process.version'], { encoding: 'utf8' }).stdout.trim()}`,
)
for (const [what, isDone] of outcomes) console.log(`${what}: ${isDone ? 'yes' : 'no'}`)
process.exitCode = outcomes.every(([, isDone]) => isDone) ? 0 : 1

function refuse(message) {
  console.error(message)
  process.exit(1)
}

function publishedOf(name) {
  const { stdout } = spawnSync('npm', ['view', name, 'versions', '--json'], { encoding: 'utf8' })
  return JSON.parse(stdout || '[]')
}

/** Of what is not published in that version, the last one of the same line is taken, or that of this checkout. */
function versionOf(name, own) {
  const published = publishedOf(name)
  const line = version.replace(/[.\d]+$/, '')
  const found = published.includes(version) ? version : (published.findLast((each) => each.startsWith(line)) ?? own)
  if (found !== version) console.log(`${name}: ${found}, since there is no ${version}`)
  return found
}

/** Everything that git knows, and what is new, with Prisma's packages in the version that was asked for. */
function copyOfCheckout() {
  // Express sends no file of a hidden folder, such as .tmp.
  const copy = join(tmpdir(), `eventsourcing-with-prisma-${version}`)
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  const files = spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.split('\0').filter(Boolean)
  for (const file of files.filter((each) => existsSync(join(root, each)))) {
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    cpSync(join(root, file), join(copy, file))
  }
  const shared = join(copy, '.tmp/runtimes')
  mkdirSync(dirname(shared), { recursive: true })
  if (!existsSync(shared)) symlinkSync(join(root, '.tmp/runtimes'), shared, 'junction')
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { workspaces, peerDependencies: _peers, peerDependenciesMeta: _meta, ...kept } = manifest
  // The adapter on better-sqlite3 has a version of its own.
  kept.workspaces = workspaces.filter((each) => each !== 'test/better-sqlite3')
  for (const name of Object.keys(kept.devDependencies)) {
    if (ofPrisma.test(name)) kept.devDependencies[name] = versionOf(name, kept.devDependencies[name])
  }
  writeFileSync(join(copy, 'package.json'), JSON.stringify(kept, undefined, 2))
  return copy
}

/** @returns whether the command has ended well */
function run(command, args) {
  const env = { ...process.env, CI: '', PATH: `${dirname(node)}:${process.env.PATH}` }
  return spawnSync(command, args, { cwd: folder, env, stdio: 'inherit' }).status === 0
}
