/** Installs the packages of a fresh checkout, and generates the Prisma clients of tests and examples. */
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, rmSync, symlinkSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the project. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const modules = join(root, 'node_modules')
const modulesOfExamples = join(root, 'examples/node_modules')

/** Does only what is missing. */
export function prepare() {
  if (isLink(modules)) {
    unlinkSync(modules)
    rmSync(modulesOfExamples, { recursive: true })
  }
  if (!existsSync(join(modules, 'vitest')) || !existsSync(join(modules, 'prisma'))) {
    console.log('installing packages (npm install) …')
    // Not `npm ci`: it insists on the lock file naming the packages of every platform, which not every registry has.
    run('npm', ['install', '--no-audit', '--no-fund'])
  }
  run(process.execPath, [join(root, 'scripts/generate.mjs')])
}

/**
 * The same for the examples alone, in a small part of the time. Where nothing is installed, it installs the packages of
 * `examples/package.json`, and links to them from where the library looks for its own, until `prepare` installs all.
 */
export function prepareExamples() {
  if (!existsSync(modules)) {
    console.log('installing the packages of the examples (npm install --prefix examples) …')
    run('npm', ['install', '--prefix', 'examples', '--no-audit', '--no-fund', '--loglevel=error'])
    symlinkSync(modulesOfExamples, modules, 'junction')
  }
  run(process.execPath, [join(root, 'scripts/generate.mjs'), 'examples'])
}

function isLink(path) {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true
}

/** Runs a command to its end, showing what it prints; throws when it fails. */
export function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`)
}
