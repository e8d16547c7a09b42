/**
 * Runs the tests, from a fresh checkout with nothing but Node: `npm test` the short form, `npm run test:all` everything,
 * `npm test -- arguments of vitest` what those ask for.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from './embedded-postgres.mjs'
import { prepare, root } from './install.mjs'
import { longTests } from './long-tests.mjs'
import { binaryOf, runtimes } from './runtimes.mjs'
import { findMariadb, findNats, findRabbit, hasBetterSqlite3, unreachable } from './test-servers.mjs'

const isCI = process.env.CI === 'true'
const args = process.argv.slice(2).filter((arg) => arg !== '--all')
const isShort = !isCI && process.argv.length === 2
const servers = ['TEST_POSTGRES_URL', 'TEST_MARIADB_URL', 'TEST_NATS_URL', 'TEST_RABBITMQ_URL']
const missing = servers.filter((name) => !process.env[name])
if (isCI && missing.length > 0) {
  refuse([`All databases and brokers are obligatory with CI=true: set ${missing.join(' and ')}.`])
}
prepare()

const betterSqlite3 = hasBetterSqlite3()
const problems = await unreachable(process.env)
if (isCI && !betterSqlite3) problems.push('SQLite through better-sqlite3 is obligatory with CI=true: it is not built.')
if (problems.length > 0) refuse(problems)

let child
let interrupted = false
// The tests end by themselves then, and what was started here is stopped after them.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = true
    child?.kill(signal)
  })
}

const server = process.env.TEST_POSTGRES_URL ? undefined : await startPostgres()
const env = {
  ...process.env,
  ...(server === undefined ? {} : { TEST_POSTGRES_URL: server.url }),
  TEST_SHORT: String(isShort),
}
// An empty variable names no server.
for (const name of servers) if (!env[name]) delete env[name]
const folder = mkdtempSync(join(tmpdir(), 'es-results-'))
const results = join(folder, 'results.json')
try {
  const status = interrupted ? 1 : await runVitest()
  process.exitCode = interrupted ? 130 : status
} finally {
  await server?.stop()
  report()
  rmSync(folder, { recursive: true })
}

function refuse(lines) {
  for (const line of lines) console.error(line)
  console.log('0 passed, 1 failed')
  process.exit(1)
}

function runVitest() {
  const reporters = args.some((arg) => arg.startsWith('--reporter')) ? [] : ['--reporter=default']
  reporters.push('--reporter=json', `--outputFile.json=${results}`)
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  child = spawn(process.execPath, [vitest, 'run', ...reporters, ...args], { cwd: root, env, stdio: 'inherit' })
  return new Promise((resolve) => {
    child.on('close', (code) => resolve(code ?? 1))
  })
}

function report() {
  const where =
    server === undefined ? 'the server in TEST_POSTGRES_URL' : 'an embedded server, started and stopped by this run'
  console.log(`\nPostgreSQL: ${where}`)
  reportNotRun()
  if (interrupted) console.log('interrupted: not all tests have run')
  if (!existsSync(results)) {
    console.log('0 passed, 1 failed')
    process.exitCode ||= 1
    return
  }
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, success } = JSON.parse(
    readFileSync(results, 'utf8'),
  )
  const skipped = numPendingTests + numTodoTests
  // A file that fails before its tests, and a coverage below its limit, count too.
  const failed = numFailedTests || (success && !process.exitCode ? 0 : 1)
  console.log(`${numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
}

function reportNotRun() {
  const names = { TEST_MARIADB_URL: 'MariaDB', TEST_NATS_URL: 'NATS JetStream', TEST_RABBITMQ_URL: 'RabbitMQ' }
  for (const [variable, name] of Object.entries(names)) {
    if (env[variable] === undefined) console.log(`not run: ${name} (no server is named in ${variable})`)
  }
  const restarts = [
    { find: findMariadb, name: 'MariaDB', programs: 'mariadbd and mariadb-install-db are' },
    { find: findNats, name: 'NATS', programs: 'nats-server is' },
    { find: findRabbit, name: 'RabbitMQ', programs: 'rabbitmq-server is' },
  ]
  for (const { find, name, programs } of restarts) {
    if (find() === undefined) console.log(`not run: restarts of ${name} (${programs} not installed here)`)
  }
  if (!betterSqlite3) console.log('not run: SQLite through better-sqlite3 (the optional package is not built here)')
  if (!isShort && args.length === 0) {
    for (const runtime of runtimes.filter((each) => !existsSync(binaryOf(each)))) {
      console.log(`not run: ${runtime.name} ${runtime.version} (npm could not download ${runtime.package})`)
    }
  }
  if (isShort) {
    console.log('not run, but by npm run test:all:')
    for (const { what } of longTests) console.log(`  ${what}`)
    console.log('  each framework on each database: each runs on one of the first two')
    if (betterSqlite3) console.log('  SQLite through libsql')
  } else if (args.length === 0) {
    console.log('not run by any command:')
    console.log('  each framework on each database: all run on the first database, one on each other')
    if (betterSqlite3)
      console.log(
        '  what stands on the recorders or on transactions on SQLite through libsql: it runs on better-sqlite3',
      )
  }
}
