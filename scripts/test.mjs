/** Runs the tests: `npm test [-- arguments of vitest]`, from a fresh checkout with nothing but Node. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { startPostgres } from './embedded-postgres.mjs'
import { prepare, root } from './install.mjs'

const isCI = process.env.CI === 'true'
const missing = ['TEST_POSTGRES_URL', 'TEST_MARIADB_URL'].filter((name) => !process.env[name])
if (isCI && missing.length > 0) {
  console.error(`All databases are obligatory with CI=true: set ${missing.join(' and ')}.`)
  process.exit(1)
}
prepare()

const server = process.env.TEST_POSTGRES_URL ? undefined : await startPostgres()
const env = { ...process.env, ...(server === undefined ? {} : { TEST_POSTGRES_URL: server.url }) }
// An empty variable names no server.
if (!env.TEST_MARIADB_URL) delete env.TEST_MARIADB_URL
const results = join(root, '.tmp/test-results.json')
rmSync(results, { force: true })

let status = 1
try {
  status = await runVitest()
} finally {
  await server?.stop()
}
report()
process.exitCode = status

function runVitest() {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], { cwd: root, env, stdio: 'inherit' })
  // The tests end by themselves then, and what was started here is stopped after them.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve) => {
    child.on('close', (code) => resolve(code ?? 1))
  })
}

function report() {
  console.log()
  console.log(
    `PostgreSQL: ${server === undefined ? 'the server in TEST_POSTGRES_URL' : 'an embedded server, started for this run'}`,
  )
  if (env.TEST_MARIADB_URL === undefined) console.log('not run: MariaDB (no server is named in TEST_MARIADB_URL)')
  if (!hasBetterSqlite3())
    console.log('not run: SQLite through better-sqlite3 (the optional package is not built here)')
  if (!existsSync(results)) {
    console.log('0 passed, 1 failed')
    status ||= 1
    return
  }
  const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites, success } = JSON.parse(
    readFileSync(results, 'utf8'),
  )
  // A file that fails before its tests counts too.
  const failed = Math.max(numFailedTests, numFailedTestSuites > 0 || !success ? 1 : 0)
  console.log(`${numPassedTests} passed, ${failed} failed${numPendingTests > 0 ? `, ${numPendingTests} skipped` : ''}`)
}

function hasBetterSqlite3() {
  return existsSync(join(root, 'node_modules/better-sqlite3/build/Release/better_sqlite3.node'))
}
