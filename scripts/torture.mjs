/** `npm run torture -- --database postgresql|sqlite|mariadb`: a log under writers that are killed; with `--http` servers
 * under hostile requests, with `--relay` a relay whose processes are killed. The options are in docs/torture.md. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { startPostgres } from './embedded-postgres.mjs'
import { prepare, root } from './install.mjs'

prepare()
const server = process.env.TEST_POSTGRES_URL ? undefined : await startPostgres()
try {
  const env = { ...process.env, ...(server === undefined ? {} : { TEST_POSTGRES_URL: server.url }) }
  const [, folder = ''] =
    [
      ['--http', 'http/'],
      ['--projections', 'projections/'],
      ['--decisions', 'decisions/'],
      ['--relay', 'relay/'],
    ].find(([flag]) => process.argv.includes(flag)) ?? []
  const run = `test/torture/${folder}run.ts`
  const args = ['--import', 'tsx', join(root, run), ...process.argv.slice(2)]
  // A log that lost something is a result, whose table is the message, and no failure of this script.
  const { status, error } = spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' })
  if (error !== undefined) throw error
  process.exitCode = status ?? 1
} finally {
  await server?.stop()
}
