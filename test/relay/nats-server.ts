/** A NATS server of a test's own, for tests that stop it, or use names that others may use as well. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { freePort } from '../../scripts/embedded-postgres.mjs'
import { findNats } from '../../scripts/test-servers.mjs'

/** Whether one can be started. In CI it is installed, and tests that cannot start one fail. */
export const canStartNats: boolean = process.env.CI === 'true' || findNats() !== undefined

/** A server of its own, which keeps what it has in a folder. */
export class NatsServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'es-nats-'))
  #process: ChildProcess | undefined
  #port = 0

  /** Where it is, from its first start on. */
  get url(): string {
    return `nats://127.0.0.1:${this.#port}`
  }

  /** Starts it, on the port and with the data of before. */
  async start(): Promise<void> {
    if (this.#port === 0) this.#port = await freePort()
    const args = ['-a', '127.0.0.1', '-p', String(this.#port), '-js', '-sd', this.#folder]
    this.#process = spawn(findNats() ?? 'nats-server', args, { stdio: 'ignore' })
    await vi.waitFor(async () => await listens(this.#port), { timeout: 20_000 })
  }

  /** Stops it; its data stay. */
  async stop(): Promise<void> {
    const process = this.#process
    this.#process = undefined
    if (process === undefined) return
    const ended = once(process, 'exit')
    process.kill('SIGTERM')
    await ended
  }

  /** Stops it and deletes its data. */
  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

async function listens(port: number): Promise<void> {
  const socket = connectTo(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
  } finally {
    socket.destroy()
  }
}
