/** Puts the models of the library's tables into the user's own Prisma schema. */
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { EnvironmentError } from '../errors.js'
import type { OriginatorIdType } from '../prisma/dialect.js'
import { providersByName } from '../prisma/dialects/provider.js'
import type { ModelTypes } from '../prisma/dialects/table-options.js'
import { modelTypes, renderModels } from './schema-models.js'

/** What to write, and where to. */
export interface InitOptions {
  /** The folder of the schema, or its main file; default `prisma/schema` where that is a folder, else `prisma`. */
  readonly schema?: string
  /** As the datasource spells it; default: read from the schema. */
  readonly provider?: string
  /** The names of the applications; default: one whose tables have no prefix. */
  readonly applications?: readonly string[]
  readonly originatorIdType?: OriginatorIdType
  /** The PostgreSQL schema that the tables are in. */
  readonly postgresSchema?: string
}

/** What became of it. */
export interface InitOutcome {
  readonly file: string
  /** False when the file was there with this content. */
  readonly written: boolean
}

const fileName = 'eventsourcing.prisma'

/**
 * Writes the models as one file of the schema's folder. A file that is there and differs is left alone.
 *
 * @throws `EnvironmentError` when the folder does not exist, when the provider is not to be found or not supported, and
 *   when the file is there with another content
 */
export async function init(options: InitOptions = {}): Promise<InitOutcome> {
  const folder = await schemaFolder(options.schema)
  const types = typesOf(options.provider ?? (await providerIn(folder)))
  const { originatorIdType, postgresSchema, applications = [] } = options
  if (postgresSchema !== undefined && !types.hasSchemas) {
    throw new EnvironmentError(
      `Could not write the models in schema ${postgresSchema}: a database of ${types.provider} has no schemas.`,
    )
  }
  const models = renderModels({
    types,
    applications: applications.length === 0 ? [''] : applications,
    ...(originatorIdType === undefined ? {} : { originatorIdType }),
    ...(postgresSchema === undefined ? {} : { schema: postgresSchema }),
  })
  return await writeOnce(join(folder, fileName), `// Written by: npx eventsourcing-prisma init\n\n${models}`)
}

async function schemaFolder(named: string | undefined): Promise<string> {
  const candidates = named === undefined ? ['prisma/schema', 'prisma'] : [named]
  for (const candidate of candidates) {
    const found = await stat(candidate).catch(() => undefined)
    if (found?.isDirectory() === true) return candidate
    if (found?.isFile() === true) return dirname(candidate)
  }
  throw new EnvironmentError(
    `Could not find the folder of the Prisma schema: there is no ${candidates.join(' and no ')}. Name it with --schema.`,
  )
}

async function providerIn(folder: string): Promise<string> {
  const providers = new Set<string>()
  for (const file of await readdir(folder, { recursive: true })) {
    if (!file.endsWith('.prisma')) continue
    const text = (await readFile(join(folder, file), 'utf8')).replace(/^\s*\/\/.*$/gm, '')
    for (const [, block = ''] of text.matchAll(/^\s*datasource\s+\w+\s*\{([^}]*)\}/gm)) {
      const provider = /^\s*provider\s*=\s*"([^"]*)"/m.exec(block)?.[1]
      if (provider !== undefined) providers.add(provider)
    }
  }
  const [provider, ...others] = providers
  if (provider !== undefined && others.length === 0) return provider
  const found = provider === undefined ? 'no datasource with a provider' : `more than one: ${[...providers].join(', ')}`
  throw new EnvironmentError(
    `Could not tell the database from the Prisma schema in ${folder}: it has ${found}. Name it with --provider.`,
  )
}

function typesOf(provider: string): ModelTypes {
  const types = modelTypes.find((candidate) => providersByName[candidate.provider] === providersByName[provider])
  if (types !== undefined) return types
  throw new EnvironmentError(
    `Could not write models for the provider '${provider}': supported are ${modelTypes.map((known) => known.provider).join(', ')}.`,
  )
}

async function writeOnce(file: string, content: string): Promise<InitOutcome> {
  try {
    await writeFile(file, content, { flag: 'wx' })
    return { file, written: true }
  } catch (error) {
    const present = await readFile(file, 'utf8').catch(() => undefined)
    if (present === undefined)
      throw new EnvironmentError(`Could not write ${file}: it cannot be created there.`, { cause: error })
    if (present.replaceAll('\r\n', '\n') === content) return { file, written: false }
    throw new EnvironmentError(
      `Could not write ${file}: it exists and differs from what these options make. Remove it first, or give the options that it was made with.`,
    )
  }
}
