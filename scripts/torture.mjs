/** `npm run torture -- --database postgresql|sqlite|mariadb [--writers n] [--events n] [--seed n] [--unprotected]`: a log under writers that are killed. */
import { join } from 'node:path'
import { startPostgres } from './embedded-postgres.mjs'
import { prepare, root, run } from './install.mjs'

prepare()
const server = process.env.TEST_POSTGRES_URL ? undefined : await startPostgres()
try {
  const env = { ...process.env, ...(server === undefined ? {} : { TEST_POSTGRES_URL: server.url }) }
  run(process.execPath, ['--import', 'tsx', join(root, 'test/torture/run.ts'), ...process.argv.slice(2)], env)
} finally {
  await server?.stop()
}
