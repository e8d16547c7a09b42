/** How long it takes to import each entry of the package, each time in a process of its own, beside packages that an app has anyway. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { exports: Record<string, unknown> }
const entries = Object.keys(exports).filter((entry) => entry !== './package.json')
const modules = [
  ...entries.map((entry) => `eventsourcing-prisma${entry.slice(1)}`),
  '@prisma/client/runtime/client',
  'express',
  'fastify',
]
const index = process.argv.indexOf('--rounds')
const rounds = index < 0 ? 30 : Number(process.argv[index + 1])

function msFor(name: string): number {
  const code = `const t = performance.now(); await import('${name}'); console.log(performance.now() - t)`
  const args = ['--input-type=module', '--eval', code]
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  if (stderr !== '') throw new Error(stderr)
  return Number(stdout)
}

// One after the other in each round, so that what else the machine does falls on all.
const taken = new Map(modules.map((name) => [name, [] as number[]]))
for (let round = 0; round < rounds; round += 1) for (const [name, times] of taken) times.push(msFor(name))
console.table(
  Object.fromEntries(
    [...taken].map(([name, times]) => {
      const [least = 0, ...others] = times.sort((a, b) => a - b)
      const median = others[Math.floor(rounds / 2) - 1] ?? least
      return [name, { 'least ms': Number(least.toFixed(1)), 'median ms': Number(median.toFixed(1)) }]
    }),
  ),
)
