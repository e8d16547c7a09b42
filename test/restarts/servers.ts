/** Database servers of a test's own, which it stops in whatever way and starts again on the same files. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort, newPostgres } from '../../scripts/embedded-postgres.mjs'
import { findMariadb } from '../../scripts/test-servers.mjs'
import { mariadb, postgresql, type TestDatabaseKind } from '../support/databases.js'

/** A server that runs until it is stopped. */
export interface RestartableServer {
  /** The databases on it. */
  readonly kind: TestDatabaseKind
  /** Sends the signal and waits until the server's process has ended. */
  stop(signal: NodeJS.Signals): Promise<void>
  /** Resolves when the server accepts connections again. */
  start(): Promise<void>
  /** Ends the server and removes its files. */
  remove(): Promise<void>
}

const startAttempts = 50
const betweenAttemptsMs = 100

/** The servers that this process must not leave behind. */
const processes = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of processes) child.kill('SIGKILL')
})

/** Starts PostgreSQL from the npm package that brings its binary. */
export async function startPostgresql(): Promise<RestartableServer> {
  const postgres = await newPostgres()
  const { server, url } = postgres
  const remove = (): Promise<void> => postgres.remove()
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    // After a crash the memory of the old server is in use until the last of its processes has noticed.
    for (let attempt = 1; ; attempt += 1) {
      try {
        await server.start()
        child = server.process
        if (child !== undefined) processes.add(child)
        return
      } catch (error) {
        // The package rejects without a reason.
        if (attempt === startAttempts) throw new Error('Could not start PostgreSQL again.', { cause: error })
        await delay(betweenAttemptsMs)
      }
    }
  }
  try {
    await server.initialise()
    await start()
  } catch (error) {
    await remove()
    throw error
  }
  return { kind: postgresql(url), start, stop: (signal) => end(child, signal), remove }
}

/** Starts MariaDB from the binary that is installed here. */
export async function startMariadb(): Promise<RestartableServer> {
  const programs = findMariadb()
  if (programs === undefined) throw new Error('MariaDB is not installed here: install the package mariadb-server.')
  const folder = mkdtempSync(join(tmpdir(), 'es-mariadb-'))
  const port = await freePort()
  // The server refuses to run as root, unless it is told so.
  const own = ['--no-defaults', `--datadir=${folder}`, `--user=${userInfo().username}`]
  await promisify(execFile)(programs.installer, [...own, '--auth-root-authentication-method=normal', '--skip-test-db'])
  const args = [...own, '--bind-address=127.0.0.1', `--port=${port}`, `--socket=${join(folder, 'socket')}`]
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    child = spawn(programs.server, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    processes.add(child)
    await untilReady(child)
  }
  const remove = async (): Promise<void> => {
    await end(child, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await start()
  } catch (error) {
    await remove()
    throw error
  }
  // By default the driver waits for 10 s before it says that no server answers.
  const kind = mariadb(`mysql://root@127.0.0.1:${port}/?acquireTimeout=1000`)
  return { kind, start, stop: (signal) => end(child, signal), remove }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
  processes.delete(child)
}

async function untilReady(child: ChildProcess): Promise<void> {
  let told = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (data: Buffer) => {
      told += data.toString()
      if (/ready for connections/.test(told)) resolve()
    })
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`MariaDB ended with ${code} before it was ready: ${told}`)))
  })
}
