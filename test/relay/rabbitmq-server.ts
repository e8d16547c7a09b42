/** A RabbitMQ server of a test's own, for tests that stop it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'amqplib'
import { vi } from 'vitest'
import { freePort } from '../../scripts/embedded-postgres.mjs'
import { findRabbit } from '../../scripts/test-servers.mjs'

const program = findRabbit() ?? 'rabbitmq-server'

/** Whether one can be started. In CI it is installed, and tests that cannot start one fail. */
export const canStartRabbit: boolean = process.env.CI === 'true' || findRabbit() !== undefined

/** The servers that this process must not leave behind: each is the first of a group. */
const groups = new Set<number>()
process.on('exit', () => {
  for (const group of groups) process.kill(-group, 'SIGKILL')
})

/** A server of its own, a node of no cluster, which keeps what it has in a folder. */
export class RabbitServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'es-rabbitmq-'))
  #process: ChildProcess | undefined
  #port = 0
  #env: NodeJS.ProcessEnv = {}

  /** Where it is, from its first start on. */
  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.#port}`
  }

  /** Starts it, on the port and with the data of before. */
  async start(): Promise<void> {
    if (this.#port === 0) await this.#prepare()
    // In a group of its own: the program is a script, which waits for the server.
    const child = spawn(program, { cwd: this.#folder, env: this.#env, detached: true, stdio: 'ignore' })
    this.#process = child
    const { pid } = child
    if (pid !== undefined) {
      groups.add(pid)
      child.on('exit', () => groups.delete(pid))
    }
    try {
      await vi.waitFor(async () => await this.#answers(), { timeout: 60_000, interval: 100 })
    } catch (error) {
      await this.remove()
      throw error
    }
  }

  /** Stops it; its data stay. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** Ends it without a word to anybody. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Stops it, and what it was found by, and deletes its data. */
  async remove(): Promise<void> {
    await this.stop()
    spawnSync('epmd', ['-kill'], { env: this.#env })
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #prepare(): Promise<void> {
    const [port, names, nodes] = [await freePort(), await freePort(), await freePort()]
    this.#port = port
    const at = (name: string): string => join(this.#folder, name)
    this.#env = {
      PATH: `${process.env.PATH ?? ''}:/usr/sbin`,
      HOME: this.#folder,
      // A daemon that is told where nodes are, which the first node starts.
      ERL_EPMD_PORT: String(names),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_NODENAME: `es_test_${port}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(nodes),
      RABBITMQ_MNESIA_BASE: at('mnesia'),
      RABBITMQ_LOG_BASE: at('log'),
      RABBITMQ_PID_FILE: at('pid'),
      // None of these is there: neither a machine's plugins nor its settings are taken.
      RABBITMQ_ENABLED_PLUGINS_FILE: at('plugins'),
      RABBITMQ_CONF_ENV_FILE: at('rabbitmq-env.conf'),
      RABBITMQ_CONFIG_FILE: at('rabbitmq'),
    }
  }

  async #answers(): Promise<void> {
    const connection = await connect(this.url)
    await connection.close()
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    process.kill(-child.pid, signal)
    await ended
  }
}
