/** Processes that run projections: see `worker.ts`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { bundled } from '../support/bundled.js'

const worker = new URL('./worker.ts', import.meta.url)

/** One process. */
export interface ProjectionProcess {
  /** What it has said until now. */
  readonly said: readonly string[]
  /** Ends it as a deployment does. */
  stop(): Promise<void>
  kill(): void
}

/** Starts one, and waits until its runner has started. */
export async function startProcess(provider: string, url: string, version: number = 1): Promise<ProjectionProcess> {
  const args = [bundled(worker), provider, url, String(version)]
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  if (child.stdout === null) throw new Error('the process has no output')
  const said: string[] = []
  const lines = createInterface(child.stdout)
  lines.on('line', (line) => said.push(line))
  await Promise.race([once(lines, 'line'), once(child, 'exit')])
  if (said[0] !== 'started') throw new Error(`The process has ended with ${child.exitCode}`)
  return {
    said,
    async stop() {
      const ended = once(child, 'exit')
      child.stdin?.end()
      await ended
    },
    kill: () => void child.kill('SIGKILL'),
  }
}
