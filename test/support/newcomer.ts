/** Somebody who follows a document in an empty folder: runs its commands, writes its files. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** A process that goes on. */
export interface Started {
  readonly child: ChildProcess
  /** What it has printed. */
  readonly said: () => string
  /** Sends SIGTERM to it, and to what its shell has started. @returns its exit code */
  stop(): Promise<number | null>
}

/** How a newcomer begins. */
export interface NewcomerOptions {
  /** Where everything is done; made when it is not there. */
  readonly folder: string
  /** The tarball of the package. */
  readonly packed: string
  readonly env: NodeJS.ProcessEnv
}

/** Somebody with a folder, a shell and a keyboard. */
export class Newcomer {
  /** Where commands run and files are. */
  folder: string
  readonly env: NodeJS.ProcessEnv
  readonly #packed: string

  constructor({ folder, packed, env }: NewcomerOptions) {
    this.folder = folder
    this.#packed = packed
    mkdirSync(folder, { recursive: true })
    const { NODE_OPTIONS: _options, VITEST: _vitest, NODE_ENV: _mode, ...own } = process.env
    // The native engine is not needed for what is done here, and may not be there.
    this.env = {
      ...own,
      CI: 'true',
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
      // Of the time that npm takes this is what has nothing to do with what is installed.
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_prefer_offline: 'true',
      ...env,
    }
  }

  /** Runs a command to its end. @returns what it has printed, as it came */
  async run(
    command: string,
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ readonly code: number | null; readonly out: string }> {
    // The name of the package is that of its tarball here.
    const installed = command.replace(/(npm install .*)\beventsourcing-prisma\b/, `$1${this.#packed}`)
    const options = { cwd: this.folder, env: { ...this.env, ...env }, shell: true } as const
    const child = spawn(installed, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    const said = collected(child)
    const [code] = (await once(child, 'close')) as [number | null] // as Node documents the event
    return { code, out: said() }
  }

  /** @returns what the command has printed; it has to end well */
  async succeed(command: string, env?: NodeJS.ProcessEnv): Promise<string> {
    const { code, out } = await this.run(command, env)
    if (code !== 0) throw new Error(`${command} ended with ${code}:\n${out}`)
    return out
  }

  /** Starts a command in a group of its own, so that what a shell has started ends with it. */
  start(command: string, env: NodeJS.ProcessEnv = {}): Started {
    const options = { cwd: this.folder, env: { ...this.env, ...env }, shell: true, detached: true } as const
    // The shell gives way to the command, so that its exit code is that of the command.
    const given = command.replace(/^(\w+=\S+ )*/, (variables) => (variables === '' ? 'exec ' : `exec env ${variables}`))
    const child = spawn(given, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    const said = collected(child)
    const closed = once(child, 'close')
    const stop = async (): Promise<number | null> => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM')
      return (await closed)[0] as number | null // as Node documents the event
    }
    return { child, said, stop }
  }

  /** Writes a block of code where its first line says: into a file, to its end, or in the place of a model that it has. */
  write(code: string): void {
    const [first = '', how, name = ''] = /^(?:\/\/|#) (file|append to|replace in): (\S+)\n/.exec(code) ?? []
    if (how === undefined) throw new Error(`This says no file:\n${code}`)
    const file = join(this.folder, name)
    const content = code.slice(first.length)
    mkdirSync(dirname(file), { recursive: true })
    if (how === 'file') writeFileSync(file, content)
    else if (how === 'append to') appendFileSync(file, `\n${content}`)
    else {
      const [start = ''] = content.split('\n')
      const before = readFileSync(file, 'utf8')
      const from = before.indexOf(`${start}\n`)
      if (from < 0) throw new Error(`${name} has no ${start}`)
      const to = before.indexOf('\n}\n', from) + 3
      writeFileSync(file, before.slice(0, from) + content + before.slice(to))
    }
  }
}

function collected({ stdout, stderr }: ChildProcess): () => string {
  let out = ''
  for (const stream of [stdout, stderr]) stream?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  return () => out
}

/** Whether a command has printed what a page has, where … stands for anything. */
export function matches(expected: string, printed: string): boolean {
  const pattern = expected
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
    .join('[^]*?')
  return new RegExp(`^${pattern}$`).test(printed)
}

/** A command of a page, and what it prints. */
export interface ConsoleStep {
  readonly command: string
  readonly output: string
}

/** The commands of a block of a console: each begins with `$ `. */
export function consoleSteps(block: string): ConsoleStep[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const [command = '', ...output] = step.trimEnd().split('\n')
      return { command, output: output.join('\n') }
    })
}
