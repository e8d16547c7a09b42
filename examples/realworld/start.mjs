/** `npm run demo:realworld`: prepares the examples, makes the tables, and serves the API, on SQLite or as DATABASE_URL says. */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepareExamples, root, run } from '../../scripts/install.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const url = process.env.DATABASE_URL ?? `file:${join(here, 'conduit.db')}`
const migrations = join(here, 'prisma', url.startsWith('file:') ? 'sqlite' : 'postgresql', 'migrations')

prepareExamples()
const command = join(root, 'src/cli/main.ts')
run(process.execPath, ['--import', 'tsx', command, 'migrate', '--url', url, '--migrations', migrations])

const server = spawn(process.execPath, ['--import', 'tsx', join(here, 'main.ts')], {
  cwd: root,
  env: { ...process.env, DATABASE_URL: url },
  stdio: 'inherit',
})
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => server.kill(signal))
server.on('exit', (code) => {
  process.exitCode = code ?? 1
})
