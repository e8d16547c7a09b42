/** Runs the projection runners that a module of the project exports. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { extname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError, TopicError } from '../errors.js'
import { resolveTopic } from '../persistence/module-topic.js'

/** A `ProjectionRunner`, by its shape: the project may load the package a second time. */
export interface LoadedRunner {
  readonly owner: string
  readonly projections: ReadonlyArray<{ readonly name: string; readonly version: number }>
  start(): Promise<void>
  stop(): Promise<void>
  healthy(): boolean
  retry(name: string, position?: bigint): Promise<void>
  rebuild(name: string, options: RebuildOptions): Promise<RebuildResult>
}

/** How far a rebuild has come. */
export interface RebuildProgress {
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
  /** `started`, `stopped`, or what runners publish: `retry`, `blocked`, `parked`, `lease`. */
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
  const loaded = await loadModule(topic)
  const candidates = isRunner(loaded) ? [loaded] : Object.values(loaded ?? {})
  const runners = [...new Set(candidates.filter(isRunner))]
  if (runners.length > 0) return runners
  throw new EnvironmentError(
    `Could not run projections: ${topic} exports no ProjectionRunner. Export one: export const runner = new ProjectionRunner({ … })`,
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
    const listener = (message: unknown): void => tell({ event: name, ...(message as object) }) // as traces.ts publishes it
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

async function loadModule(topic: string): Promise<object | undefined> {
  const [file = ''] = topic.split('#')
  // `run projections.js` names a file as well as `./projections.js` does, where there is one.
  const local = !isAbsolute(file) && !file.startsWith('.') && existsSync(resolve(file)) ? `./${topic}` : topic
  const load = async (from: string): Promise<object | undefined> => (await resolveTopic(from)) as object | undefined // judged by the caller
  try {
    return await load(local)
  } catch (error) {
    if (!(/^\.[cm]?ts$/.test(extname(file)) && error instanceof TopicError)) throw error
    // Node remembers by the URL that it could not be loaded.
    const again = `${pathToFileURL(resolve(file)).href}?tsx${topic.slice(file.length)}`
    if (isUnread(error.cause) && (await registerTsx())) return await load(again)
    throw new EnvironmentError(`${error.message}. ${adviceFor(file)}`, { cause: error })
  }
}

/** Whether nothing in this process reads TypeScript. */
function isUnread(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_UNKNOWN_FILE_EXTENSION'
}

/** By the project's own tsx. @returns false where it has none @see https://tsx.is/dev-api/register-esm */
async function registerTsx(): Promise<boolean> {
  let api: string
  try {
    api = createRequire(join(process.cwd(), 'package.json')).resolve('tsx/esm/api')
  } catch {
    return false
  }
  // `require` finds the build for itself, which cannot load the hooks; that for `import` is beside it.
  const { register } = (await import(pathToFileURL(api.replace(/\.cjs$/, '.mjs')).href)) as { register?: () => unknown } // as tsx documents it
  register?.()
  return register !== undefined
}

function adviceFor(file: string): string {
  return (
    `${file} is TypeScript: install tsx in the project, which is taken by itself on versions of Node that do not strip types; or ` +
    `start Node with the loader that your project uses, such as NODE_OPTIONS='--import tsx' npx eventsourcing-prisma projections ` +
    `run ${file}; or compile it, and name the JavaScript. Node's own stripping of types takes neither decorators nor imports ` +
    'of .js files that are .ts files.'
  )
}

function isRunner(value: unknown): value is LoadedRunner {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['start', 'stop', 'healthy', 'retry', 'rebuild'].every((name) => typeof Reflect.get(value, name) === 'function') &&
    Array.isArray(Reflect.get(value, 'projections'))
  )
}
