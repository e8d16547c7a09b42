/** What a project says of its database, its migrations and its schema, in variables, files and its Prisma config; and where commands print to. */
import { access, open, readdir, readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError } from '../errors.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import type { SqlDriverAdapter, SqlDriverAdapterFactory } from '../prisma/driver.js'
import { translateError } from '../prisma/translate-error.js'

/** What was found. */
interface Project {
  /** The database. */
  readonly url: string | undefined
  /** The folder of migrations. */
  readonly migrations: string
}

/** What was given on the command line. */
export interface ProjectFlags {
  readonly url?: string | undefined
  readonly migrations?: string | undefined
}

/** What the Prisma config says. */
export interface PrismaConfig {
  /** A file, or a folder of files. */
  readonly schema?: string
  /** The config itself. */
  readonly loadedFromFile?: string | null
  readonly datasource?: { readonly url?: string }
  readonly migrations?: { readonly path?: string }
}

// Those of version 7 beside a later one come first, as Prisma has it.
const configNames = ['prisma7.config', '.config/prisma7', 'prisma.config', '.config/prisma'].flatMap((name) =>
  ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs'].map((end) => `${name}.${end}`),
)

/**
 * Finds them: the flags, then `PRISMA_URL`, then the Prisma config of the current folder, then `DATABASE_URL`. Variables are those of
 * the process, then of the file `.env`. The config is loaded by the project's own `prisma`, and only where something is missing.
 *
 * @throws `EnvironmentError` when the config is needed and cannot be loaded
 */
export async function readProject(flags: ProjectFlags): Promise<Project> {
  await loadEnvFile()
  const url = flags.url ?? variable('PRISMA_URL')
  const isComplete = url !== undefined && flags.migrations !== undefined
  const config = isComplete ? {} : await prismaConfig(url !== undefined || variable('DATABASE_URL') !== undefined)
  return {
    url: url ?? config.datasource?.url ?? variable('DATABASE_URL'),
    migrations: flags.migrations ?? config.migrations?.path ?? 'prisma/migrations',
  }
}

/** What the Prisma config of the current folder says; nothing where there is none, or with a warning where it cannot be loaded. */
export async function readConfig(): Promise<PrismaConfig> {
  await loadEnvFile()
  return await prismaConfig(true)
}

/** @throws `EnvironmentError` where nothing names the database */
export function urlOf({ url }: Project, attempted: string): string {
  if (url !== undefined) return url
  throw new EnvironmentError(
    `Could not ${attempted}: name the database with --url, PRISMA_URL or DATABASE_URL, in .env, or in the Prisma config.`,
  )
}

/**
 * The same for a command that needs what is stored: a driver of SQLite makes the file that it does not find.
 *
 * @throws `EnvironmentError` also for the URL of a file that does not exist, or is no database
 */
export async function storedUrlOf(project: Project, attempted: string): Promise<string> {
  const url = urlOf(project, attempted)
  const file = fileOf(url)
  if (file === undefined) return url
  if (await exists(file)) {
    // The driver says why a file cannot be read.
    if (await mayBeDatabase(file).catch(() => true)) return url
    throw new EnvironmentError(
      `Could not ${attempted}: ${file}, which the URL ${url} names, is no database of SQLite: correct the URL.`,
    )
  }
  throw new EnvironmentError(
    `Could not ${attempted}: there is no file ${file}, which the URL ${url} names. Run the command in the folder that the ` +
      'URL is meant for, correct the URL, or make the database first: npx prisma migrate deploy, or npx eventsourcing-prisma migrate.',
  )
}

/** Whether a file begins as those of SQLite do; one without content is a database without tables. */
async function mayBeDatabase(file: string): Promise<boolean> {
  const handle = await open(file)
  try {
    const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(16) })
    return bytesRead === 0 || buffer.toString('latin1') === 'SQLite format 3\0'
  } finally {
    await handle.close()
  }
}

/** The file that a URL of SQLite names; undefined for another database, and one in memory. */
function fileOf(url: string): string | undefined {
  const path = /^file:([^?]*)/i.exec(url)?.[1] ?? ''
  return path === '' || path === ':memory:' ? undefined : resolve(path)
}

/** Connects for statements of a command. @param url - that the factory was made from */
export async function connected(factory: SqlDriverAdapterFactory, url: string): Promise<SqlDriverAdapter> {
  try {
    return await factory.connect()
  } catch (error) {
    const file = fileOf(url)
    const attempted = file === undefined ? 'connect to the database' : `open the database in the file ${file}`
    throw translateError(dialectOf(factory.provider), error, attempted)
  }
}

function variable(name: string): string | undefined {
  return process.env[name] || undefined
}

async function loadEnvFile(): Promise<void> {
  if (await exists('.env')) process.loadEnvFile('.env')
}

/** @param isOptional - whether what the config says can be done without */
async function prismaConfig(isOptional: boolean): Promise<PrismaConfig> {
  let file: string | undefined
  for (const name of configNames) if (file === undefined && (await exists(name))) file = name
  if (file === undefined) return {}
  try {
    return await loadConfig(file)
  } catch (error) {
    if (isOptional) {
      process.emitWarning(`${file} could not be loaded and is passed over: ${reasonOf(error)}`, {
        code: 'ES_PRISMA_CONFIG',
      })
      return {}
    }
    throw new EnvironmentError(
      `Could not load ${file}: ${reasonOf(error)} Install prisma where this runs, or give --url and --migrations.`,
      { cause: error },
    )
  }
}

/** By the loader of the project's `prisma`, which reads TypeScript on every version of Node. */
async function loadConfig(file: string): Promise<PrismaConfig> {
  const project = createRequire(join(process.cwd(), 'package.json'))
  const prisma = createRequire(project.resolve('prisma/package.json'))
  const loader = (await import(pathToFileURL(prisma.resolve('@prisma/config')).href)) as ConfigLoader // the package's documentation
  const load = loader.loadConfigFromFile ?? loader.default?.loadConfigFromFile
  if (load === undefined) throw new TypeError('this version of prisma has no loader of its config.')
  const { config, error } = await load({ configFile: file })
  if (error !== undefined) throw error.error ?? new TypeError(`prisma says ${error._tag}.`)
  return config ?? {}
}

type Load = (options: { configFile: string }) => Promise<{
  readonly config?: PrismaConfig
  readonly error?: { readonly _tag: string; readonly error?: Error }
}>

interface ConfigLoader {
  readonly loadConfigFromFile?: Load
  readonly default?: { readonly loadConfigFromFile?: Load }
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  )
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The schema, and where models are added to it. */
export interface SchemaPlace {
  /** The file that models are written to: the single file, or one of ours in the folder. */
  readonly file: string
  /** The texts of all files of the schema, in which models may be already. */
  readonly texts: readonly string[]
  /** The text of `file`, undefined where that is not there yet. */
  readonly text: string | undefined
  readonly isFolder: boolean
}

const ownFile = 'eventsourcing.prisma'

/**
 * Finds it: where the flag says, else where the Prisma config says, else where Prisma looks by itself.
 *
 * @param named - a folder or a file
 * @throws `EnvironmentError` where there is none, and where Prisma would not read what is named
 */
export async function findSchema(named: string | undefined, config: PrismaConfig): Promise<SchemaPlace> {
  const configured = config.schema === undefined ? undefined : await kindOf(config.schema)
  if (named !== undefined && configured !== undefined) assertRead(named, configured, config)
  const candidates =
    named !== undefined
      ? [named]
      : config.schema !== undefined
        ? [config.schema]
        : ['prisma/schema', 'prisma/schema.prisma', 'schema.prisma', 'prisma']
  for (const candidate of candidates) {
    const found = await kindOf(candidate)
    if (found?.kind === 'folder') return await inFolder(candidate)
    if (found?.kind === 'file') return await inFile(candidate)
  }
  throw new EnvironmentError(
    `Could not find the Prisma schema: there is no ${candidates.map(shown).join(' and no ')}. Make one with npx prisma init, or name it with --schema.`,
  )
}

interface Found {
  readonly path: string
  readonly kind: 'folder' | 'file'
}

async function kindOf(path: string): Promise<Found | undefined> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory() === true) return { path, kind: 'folder' }
  return found?.isFile() === true ? { path, kind: 'file' } : undefined
}

/** A file that `prisma generate` passes over would be worse than none. */
function assertRead(named: string, configured: Found, { loadedFromFile }: PrismaConfig): void {
  const fromConfigured = relative(resolve(configured.path), resolve(named))
  const isInside = configured.kind === 'folder' && !fromConfigured.startsWith('..')
  if (fromConfigured === '' || isInside) return
  throw new EnvironmentError(
    `Could not write the models to ${shown(named)}, which Prisma would not read: ${shown(loadedFromFile ?? 'prisma.config.ts')} says ` +
      `schema: "${shown(configured.path)}". Change that line to schema: "${shown(named)}", or leave out --schema.`,
  )
}

async function inFile(file: string): Promise<SchemaPlace> {
  const text = await readFile(file, 'utf8')
  return { file, texts: [text], text, isFolder: false }
}

async function inFolder(folder: string): Promise<SchemaPlace> {
  const file = join(folder, ownFile)
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.prisma')).sort()
  const texts = await Promise.all(names.map(async (name) => await readFile(join(folder, name), 'utf8')))
  return { file, texts, text: texts[names.indexOf(ownFile)], isFolder: true }
}

/** A path as somebody in this folder would write it. */
export function shown(path: string): string {
  const short = relative('', path)
  return short === '' ? '.' : short.startsWith('..') ? path : short.replaceAll('\\', '/')
}

/** Takes lines. */
export interface Output {
  /** Takes a line about what was done. */
  readonly print: (line: string) => void
  /** Takes a line about what went wrong. */
  readonly complain: (line: string) => void
  /** Shows a line in the place of the one that it has shown before; only on a terminal. */
  readonly redraw?: (line: string) => void
}

/** A number of things, such as `1 event` and `2 events`. */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`
}

/** Positions may pass what a number can hold, so that they are texts. */
export function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return value instanceof Error ? `${value.name}: ${value.message}` : value
}
