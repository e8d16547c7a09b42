/** Whether the databases and brokers that a test run needs are there, said once before the tests instead of by each of them. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'

const timeoutMs = 10_000

/** @returns what is wrong with the servers that the environment names, a line each; a URL's password is not in it */
export async function unreachable({ TEST_POSTGRES_URL, TEST_MARIADB_URL, TEST_NATS_URL, TEST_RABBITMQ_URL }) {
  const problems = []
  if (TEST_POSTGRES_URL) {
    await attempt('PostgreSQL', 'TEST_POSTGRES_URL', TEST_POSTGRES_URL, connectPostgres, problems)
  }
  if (TEST_MARIADB_URL) await attempt('MariaDB', 'TEST_MARIADB_URL', TEST_MARIADB_URL, connectMariadb, problems)
  if (TEST_NATS_URL) await attempt('NATS', 'TEST_NATS_URL', TEST_NATS_URL, connectNats, problems)
  if (TEST_RABBITMQ_URL) await attempt('RabbitMQ', 'TEST_RABBITMQ_URL', TEST_RABBITMQ_URL, connectRabbit, problems)
  return problems
}

async function attempt(database, variable, url, connect, problems) {
  try {
    await connect(url)
  } catch (error) {
    // Several addresses that all refuse are one error without a message.
    const reason = error.message || error.errors?.map(({ message }) => message).join(', ') || error.code
    problems.push(`${database} in ${variable} does not answer: ${reason}`)
  }
}

async function connectPostgres(url) {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: timeoutMs })
  client.on('error', () => {})
  await client.connect()
  await client.end()
}

async function connectMariadb(url) {
  const { createConnection } = await import('mariadb')
  const { hostname, port, username, password } = new URL(url)
  const connection = await createConnection({
    host: hostname,
    port: Number(port || 3306),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    connectTimeout: timeoutMs,
  })
  await connection.end()
}

async function connectNats(url) {
  const { connect } = await import('@nats-io/transport-node')
  const { jetstreamManager } = await import('@nats-io/jetstream')
  const connection = await connect({ servers: url, timeout: timeoutMs })
  try {
    // Fails where the server keeps no streams.
    await jetstreamManager(connection)
  } finally {
    await connection.close()
  }
}

async function connectRabbit(url) {
  const { connect } = await import('amqplib')
  const connection = await connect(url, { timeout: timeoutMs })
  await connection.close()
}

/** Whether the optional SQLite driver has been built for this Node. */
export function hasBetterSqlite3() {
  try {
    const Database = createRequire(import.meta.url)('better-sqlite3')
    new Database(':memory:').close()
    return true
  } catch {
    return false
  }
}

/** @returns where a server's program is, undefined where it is not installed */
export function findProgram(name, ...first) {
  // Where servers are is not in the path of everybody.
  const folders = [
    ...first,
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/libexec',
    '/usr/local/sbin',
  ]
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/** @returns the programs of MariaDB that make and run a server, undefined where they are not installed */
export function findMariadb() {
  const [server, installer] = [findProgram('mariadbd'), findProgram('mariadb-install-db')]
  return server === undefined || installer === undefined ? undefined : { server, installer }
}

/** @returns the program of NATS */
export const findNats = () => findProgram('nats-server')

/** @returns the program of RabbitMQ: in the path Debian has one that only two users may run, and that hands on no signals */
export const findRabbit = () => findProgram('rabbitmq-server', '/usr/lib/rabbitmq/bin')
