/** Installs the packages of a fresh checkout, and generates the Prisma clients of tests and examples. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the project. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Does only what is missing. */
export function prepare() {
  if (!existsSync(join(root, 'node_modules/vitest')) || !existsSync(join(root, 'node_modules/prisma'))) {
    console.log('installing packages (npm install) …')
    // Not `npm ci`: it insists on the lock file naming the packages of every platform, which not every registry has.
    run('npm', ['install', '--no-audit', '--no-fund'])
  }
  run(process.execPath, [join(root, 'scripts/generate.mjs')])
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
