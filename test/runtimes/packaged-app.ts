/** The app of this folder as a project that has the package from its tarball, and runs on any runtime. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { binaryOf, type runtimes } from '../../scripts/runtimes.mjs'
import { migrate } from '../../src/cli/migrations.js'
import { installPackedOnce } from '../support/document-project.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** One of the list. */
export type Runtime = (typeof runtimes)[number]

/** What a process has printed. */
interface Printed {
  stdout: string
  stderr: string
}

/** The app, while it runs. */
export interface RunningApp {
  readonly urls: Readonly<Record<string, string>>
  /** @returns what it has complained of */
  stop(): Promise<string>
}

/** Made once for all runtimes, inside of the checkout, so that packages are found there. */
export class PackagedApp {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  static async make(): Promise<PackagedApp> {
    mkdirSync(join(root, '.tmp'), { recursive: true })
    const folder = mkdtempSync(join(root, '.tmp/runtimes-app-'))
    installPackedOnce(folder)
    // Deno finds no package that nobody asks for.
    const { version, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
    const dependencies = { ...devDependencies, 'eventsourcing-prisma': version }
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }))
    await build({
      entryPoints: ['app', 'log'].map((name) => join(root, `test/runtimes/${name}.ts`)),
      outdir: folder,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      // Nothing but what the app has written itself; `paths` would lead to the sources of the package.
      packages: 'external',
      tsconfigRaw: {},
      platform: 'node',
      format: 'esm',
      target: 'es2022',
      // Express sends no file of a hidden folder, and this one is.
      define: { 'import.meta.url': JSON.stringify(new URL('../http/answers.ts', import.meta.url)) },
    })
    return new PackagedApp(folder)
  }

  /** An SQLite file with the tables of the examples. @returns the folder that has one for each framework */
  async databases(frameworks: readonly string[]): Promise<string> {
    const folder = mkdtempSync(join(this.folder, 'databases-'))
    for (const name of frameworks) {
      await migrate({ url: `file:${folder}/${name}.db`, migrations: join(root, 'examples/prisma/migrations') })
    }
    return folder
  }

  /** @param databases - the folder of the SQLite files */
  async start(runtime: Runtime, databases: string): Promise<RunningApp> {
    const child = spawn(binaryOf(runtime), [...runtime.args, 'app.mjs', databases], {
      cwd: this.folder,
      env: environment(),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const printed = printedBy(child)
    const ended = once(child, 'close')
    const listening = (async () => {
      while (!printed.stdout.includes('\n')) await once(child.stdout, 'data')
    })()
    const isListening = await Promise.race([listening.then(() => true), ended.then(() => false)])
    if (!isListening) throw new Error(`${nameOf(runtime)} did not start the app:\n${printed.stdout}${printed.stderr}`)
    return {
      urls: JSON.parse(printed.stdout) as Record<string, string>,
      async stop() {
        child.stdin.end('stop')
        const [code] = await ended
        if (code !== 0) throw new Error(`The app ended with ${String(code)}:\n${printed.stderr}`)
        return printed.stderr
      },
    }
  }

  /** Runs the command line of the package. */
  runCommand(runtime: Runtime, args: readonly string[]): { readonly status: number | null } & Printed {
    const main = 'node_modules/eventsourcing-prisma/dist/src/cli/main.js'
    return this.run(runtime, [main, ...args])
  }

  /** Runs a script to its end. */
  run(
    runtime: Runtime,
    args: readonly string[],
    { cwd = this.folder, env = {}, timeoutMs = 60_000 }: RunOptions = {},
  ): { readonly status: number | null } & Printed {
    const options = { cwd, env: { ...environment(), ...env }, encoding: 'utf8', timeout: timeoutMs } as const
    return spawnSync(binaryOf(runtime), [...runtime.args, ...args], options)
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly timeoutMs?: number
}

interface Manifest {
  readonly version: string
  readonly devDependencies: Readonly<Record<string, string>>
}

/** As `Bun 1.4.5`. */
export function nameOf({ name, version }: Pick<Runtime, 'name' | 'version'>): string {
  return `${name} ${version}`
}

/** As outside of a test: what is set for this process is not for theirs. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, VITEST: _vitest, NODE_ENV: _mode, ...env } = process.env
  return { ...env, NO_COLOR: '1' }
}

function printedBy(child: ChildProcess): Printed {
  const printed = { stdout: '', stderr: '' }
  child.stdout?.on('data', (chunk: Buffer) => (printed.stdout += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (printed.stderr += chunk.toString()))
  return printed
}
