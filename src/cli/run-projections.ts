/** Runs the projection runners that a module of the project exports. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { extname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError, TopicError } from '../errors.js'
import { resolveTopic } from '../persistence/configured.js'
import { counted, jsonValue, type Output } from './project.js'

/** A `ProjectionRunner`, by its shape: the project may load the package a second time. */
interface LoadedRunner {
  readonly owner: string
  readonly projections: ReadonlyArray<{ readonly name: string; readonly version: number }>
  start(): Promise<void>
  stop(): Promise<void>
  healthy(): boolean
  retry(name: string, position?: bigint): Promise<void>
  rebuild(name: string, options: RebuildOptions): Promise<RebuildResult>
}

/** How far a rebuild has come. */
interface RebuildProgress {
  readonly position: bigint
  readonly target: bigint
  readonly events: number
  readonly rate: number
  readonly restMs: number | undefined
}

interface RebuildOptions {
  readonly way: 'atomic' | 'in-place' | 'shadow'
  readonly resume?: boolean
  readonly onProgress: (progress: RebuildProgress) => void
  readonly signal: AbortSignal
}

interface RebuildResult {
  readonly position: bigint
  readonly events: number
  readonly durationMs: number
}

/** What happens while they run. */
export interface RunningEvent {
  /** `started`, `stopped`, or what runners publish: `retry`, `blocked`, `parked`, `lease taken` and its like. */
  readonly event: string
  readonly [detail: string]: unknown
}

const published = ['retry', 'blocked', 'parked', 'lease'] as const

/**
 * Loads a module, and finds its runners.
 *
 * @param topic - such as `./projections.js`, for all runners that it exports, or `./projections.js#runner`
 * @throws `EnvironmentError` for a module that exports none, and for TypeScript that this runtime does not load
 */
export async function loadRunners(topic: string): Promise<LoadedRunner[]> {
  const loaded = (await loadTopic(topic)) as object | undefined // judged below
  const candidates = isRunner(loaded) || isRelay(loaded) ? [loaded] : Object.values(loaded ?? {})
  const runners = [...new Set(candidates.map((each) => (isRelay(each) ? each.runner : each)).filter(isRunner))]
  if (runners.length > 0) return runners
  throw new EnvironmentError(
    `Could not run projections: ${topic} exports no ProjectionRunner and no Relay. Export one: export const runner = new ProjectionRunner({ … })`,
  )
}

/** The one of them that has a projection of this name. @throws `EnvironmentError` where none has */
export function runnerOf(runners: readonly LoadedRunner[], name: string): LoadedRunner {
  const found = runners.find(({ projections }) => projections.some((projection) => projection.name === name))
  if (found !== undefined) return found
  const names = runners.flatMap(({ projections }) => projections.map((projection) => projection.name))
  throw new EnvironmentError(
    `The module has no projection '${name}' in its runners: they have ${names.join(', ') || 'none'}.`,
  )
}

/**
 * Runs them until the signal, then ends their batches and gives their leases up.
 *
 * @returns whether all were healthy in the end
 */
export async function runUntil(
  signal: AbortSignal,
  runners: readonly LoadedRunner[],
  tell: (event: RunningEvent) => void,
): Promise<boolean> {
  const told = published.map((name) => {
    const channel = `eventsourcing-prisma:projection.${name}`
    const listener = (message: unknown): void => {
      const { event, ...details } = message as { readonly event?: string } // as traces.ts publishes it
      tell({ event: event === undefined ? name : `${name} ${event}`, ...details })
    }
    subscribe(channel, listener)
    return { channel, listener }
  })
  try {
    for (const runner of runners) {
      await runner.start()
      tell({ event: 'started', owner: runner.owner, projections: runner.projections.map(({ name }) => name) })
    }
    // It is a process of its own: nothing else need keep it alive.
    const alive = setInterval(() => undefined, 60_000)
    if (!signal.aborted) await new Promise((end) => signal.addEventListener('abort', end, { once: true }))
    clearInterval(alive)
    return runners.every((runner) => runner.healthy())
  } finally {
    await Promise.all(runners.map(async (runner) => await runner.stop()))
    for (const { channel, listener } of told) unsubscribe(channel, listener)
    tell({ event: 'stopped' })
  }
}

/**
 * Loads what a topic of the command line names, such as `./dist/app.js#school`: also TypeScript, by the project's own tsx.
 *
 * @throws `TopicError` for what cannot be loaded, `EnvironmentError` for TypeScript that this runtime does not load
 */
export async function loadTopic(topic: string): Promise<unknown> {
  const [file = ''] = topic.split('#')
  // `run projections.js` names a file as well as `./projections.js` does, where there is one.
  const local = !isAbsolute(file) && !file.startsWith('.') && existsSync(resolve(file)) ? `./${topic}` : topic
  const isTypeScript = /^\.[cm]?ts$/.test(extname(file))
  // Before anything is loaded: Node remembers by the URL what it could not load.
  if (isTypeScript && !hasLoader()) await registerTsx()
  try {
    return await resolveTopic(local)
  } catch (error) {
    if (!(isTypeScript && error instanceof TopicError && existsSync(resolve(file)) && isUnread(error.cause)))
      throw error
    throw new EnvironmentError(`${error.message}. ${adviceFor(file)}`, { cause: error })
  }
}

/** Whether whoever started Node has chosen what loads modules. */
function hasLoader(): boolean {
  const options = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ')
  return /(?:^|\s)(?:--(?:import|require|loader|experimental-loader)|-r)\b/.test(options)
}

/** Whether Node has not understood what it read, or has not found a `.ts` file by the name of a `.js` file. */
function isUnread(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, name, message } = error as NodeJS.ErrnoException // an error of Node, or one with less
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION' || code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') return true
  return name === 'SyntaxError' || (code === 'ERR_MODULE_NOT_FOUND' && /\.[cm]?js'/.test(message))
}

/** By the project's own tsx, where it has that. @see https://tsx.is/dev-api/register-esm */
async function registerTsx(): Promise<void> {
  let api: string
  try {
    api = createRequire(join(process.cwd(), 'package.json')).resolve('tsx/esm/api')
  } catch {
    return
  }
  // `require` finds the build for itself, which cannot load the hooks; that for `import` is beside it.
  const { register } = (await import(pathToFileURL(api.replace(/\.cjs$/, '.mjs')).href)) as { register?: () => unknown } // as tsx documents it
  register?.()
}

function adviceFor(file: string): string {
  return (
    `${file} is TypeScript: install tsx in the project, which is taken by itself; or start Node with the loader that your project uses, ` +
    `NODE_OPTIONS='--import …' npx eventsourcing-prisma …; or compile it, and ` +
    "name the JavaScript. Node's own stripping of types takes neither decorators nor imports of .js files that are .ts files."
  )
}

/** A `Relay` is run by a runner of its own. */
function isRelay(value: unknown): value is { readonly runner: LoadedRunner } {
  return typeof value === 'object' && value !== null && 'runner' in value && isRunner(value.runner)
}

function isRunner(value: unknown): value is LoadedRunner {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['start', 'stop', 'healthy', 'retry', 'rebuild'].every((name) => typeof Reflect.get(value, name) === 'function') &&
    Array.isArray(Reflect.get(value, 'projections'))
  )
}

/** Runs work that SIGTERM and SIGINT end. */
export async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  const signals = ['SIGTERM', 'SIGINT'] as const
  for (const signal of signals) process.once(signal, onSignal)
  try {
    return await work(stop.signal)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
  }
}

const everyMs = 1_000
const drawnEveryMs = 100
const width = 30

/** One rebuild. */
export class RebuildView {
  readonly #name: string
  readonly #output: Output
  readonly #isJson: boolean
  #shownAt = Number.NEGATIVE_INFINITY

  constructor(name: string, output: Output, isJson: boolean) {
    this.#name = name
    this.#output = output
    this.#isJson = isJson
  }

  /** Takes what the runner tells after each batch. */
  progress(progress: RebuildProgress): void {
    const { redraw, print } = this.#output
    const isDrawn = redraw !== undefined && !this.#isJson
    const now = performance.now()
    if (now - this.#shownAt < (isDrawn ? drawnEveryMs : everyMs)) return
    this.#shownAt = now
    if (this.#isJson) print(JSON.stringify({ event: 'progress', ...progress }, jsonValue))
    else if (redraw !== undefined) redraw(`${this.#name} ${bar(progress)} ${textOf(progress)}`)
    else print(`${this.#name}: ${textOf(progress)}`)
  }

  /** Tells what came of it. */
  done(result: { readonly position: bigint; readonly events: number; readonly durationMs: number }): void {
    const { redraw, print } = this.#output
    if (this.#isJson) return print(JSON.stringify({ event: 'rebuilt', name: this.#name, ...result }, jsonValue))
    redraw?.('')
    const { position, events, durationMs } = result
    print(
      `${this.#name} is built anew up to position ${position}: ${counted(events, 'event')} in ${seconds(durationMs)}`,
    )
  }
}

function bar(progress: RebuildProgress): string {
  const done = Math.round(shareOf(progress) * width)
  return `[${'#'.repeat(done)}${'-'.repeat(width - done)}]`
}

function textOf(progress: RebuildProgress): string {
  const { position, target, events, rate, restMs } = progress
  const rest = restMs === undefined ? '' : `, about ${seconds(restMs)} left`
  return `${Math.floor(shareOf(progress) * 100)} %, position ${position} of ${target}, ${counted(events, 'event')}, ${Math.round(rate)} a second${rest}`
}

function shareOf({ position, target }: RebuildProgress): number {
  return target === 0n ? 1 : Math.min(1, Number(position) / Number(target))
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
