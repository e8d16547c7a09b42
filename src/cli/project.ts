/** What a project says of its database and its migrations: in variables, in its .env file, and in its Prisma config. */
import { access } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError } from '../errors.js'

/** What was found. */
export interface Project {
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
