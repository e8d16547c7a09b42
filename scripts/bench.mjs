/**
 * `npm run bench [-- --database name] [--only row] [--quick] [--rounds number] [--json file]`: what the library's work costs beside the
 * same by hand. Databases are none, postgresql, postgresql-prepared, better-sqlite3, libsql and mariadb; rows begin with the words that `--only`
 * says, such as `save` or `'command x16'`. Both options may be given several times. With `--http`: what a request costs,
 * with `--projections` how fast rows are built, with `--rebuilds` what readers and writers
 * notice of a rebuild, with `--decisions` what tags cost, with `--subscriptions` what a save costs while many follow its log, with `--browser` how long
 * the page that shows a long log takes, with `--timers` how many timers are handled, and how late, with `--imports` how
 * long it takes to load each entry.
 */
import { join } from 'node:path'
import { startPostgres } from './embedded-postgres.mjs'
import { prepare, root, run } from './install.mjs'

prepare()
const server = process.env.TEST_POSTGRES_URL ? undefined : await startPostgres()
try {
  run('npm', ['run', '--silent', 'build'])
  const env = {
    ...process.env,
    ...(server === undefined ? {} : { TEST_POSTGRES_URL: server.url }),
    // What users run is the built library: from its sources, the loader would make its functions slower.
    TSX_TSCONFIG_PATH: join(root, 'bench/tsconfig.json'),
  }
  const parts = {
    '--http': 'run-http',
    '--projections': 'projections',
    '--rebuilds': 'rebuilds',
    '--decisions': 'decisions',
    '--subscriptions': 'subscriptions',
    '--relay': 'relay',
    '--browser': 'browser',
    '--timers': 'timers',
    '--imports': 'imports',
  }
  const [, part = 'run'] = Object.entries(parts).find(([flag]) => process.argv.includes(flag)) ?? []
  const file = `bench/${part}.ts`
  run(process.execPath, ['--import', 'tsx', join(root, file), ...process.argv.slice(2)], env)
} finally {
  await server?.stop()
}
