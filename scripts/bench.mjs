/** `npm run bench [-- --database none|postgresql|better-sqlite3|libsql] [--quick] [--json file]`: a table of ratios, and JSON;
 * with `--http` what a request costs, with `--projections` how fast rows are built. */
import { join } from 'node:path'
import { startPostgres } from './embedded-postgres.mjs'
import { prepare, root, run } from './install.mjs'

prepare()
const server = process.env.TEST_POSTGRES_URL ? undefined : await startPostgres()
try {
  const env = { ...process.env, ...(server === undefined ? {} : { TEST_POSTGRES_URL: server.url }) }
  const isHttp = process.argv.includes('--http')
  if (isHttp) run('npm', ['run', '--silent', 'build'])
  const isProjections = process.argv.includes('--projections')
  const file = isHttp ? 'bench/run-http.ts' : isProjections ? 'bench/projections.ts' : 'bench/run.ts'
  run(process.execPath, ['--import', 'tsx', join(root, file), ...process.argv.slice(2)], env)
} finally {
  await server?.stop()
}
