/** Puts the models of the library's tables into the user's own Prisma schema. */
import { writeFile } from 'node:fs/promises'
import { EnvironmentError } from '../errors.js'
import type { OriginatorIdType } from '../prisma/dialect.js'
import { providersByName } from '../prisma/driver.js'
import type { ModelTypes } from '../prisma/table-names.js'
import { findSchema, type PrismaConfig, type SchemaPlace, shown } from './project.js'
import { modelTypes, type RenderedModel, renderedModels } from './schema-models.js'

/** What to write, and where to. */
export interface InitOptions {
  /** The folder of the schema, or its file; default: what the Prisma config says, else where Prisma looks by itself. */
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
  /** Whether the file is one of a folder, which the Prisma config has to name. */
  readonly isFolder: boolean
  /** The models that were added; none where all were there. */
  readonly models: readonly string[]
}

/**
 * Adds the models that the schema does not have yet: to its single file, or to one of ours in its folder. What is there stays.
 *
 * @param config - what the Prisma config says
 * @throws `EnvironmentError` when there is no schema, or one that Prisma would not read, when the provider is not to be found or
 *   not supported, and when a model is there that lacks something; nothing is written then
 */
export async function init(options: InitOptions = {}, config: PrismaConfig = {}): Promise<InitOutcome> {
  const place = await findSchema(options.schema, config)
  const types = typesOf(options.provider ?? providerIn(place))
  const { originatorIdType, postgresSchema, applications = [] } = options
  if (postgresSchema !== undefined && !types.hasSchemas) {
    throw new EnvironmentError(
      `Could not write the models in schema ${postgresSchema}: a database of ${types.provider} has no schemas.`,
    )
  }
  const models = renderedModels({
    types,
    applications: applications.length === 0 ? [''] : applications,
    ...(originatorIdType === undefined ? {} : { originatorIdType }),
    ...(postgresSchema === undefined ? {} : { schema: postgresSchema }),
  })
  const present = modelsIn(place)
  for (const model of models) assertWhole(model, present.get(model.name), place)
  const added = models.filter(({ name }) => !present.has(name))
  if (added.length > 0) await append(place, added)
  return { file: shown(place.file), isFolder: place.isFolder, models: added.map(({ name }) => name) }
}

/** The provider of the datasource. */
export function providerIn({ texts, file }: SchemaPlace): string {
  const providers = new Set<string>()
  for (const text of texts.map(withoutComments)) {
    for (const [, block = ''] of text.matchAll(/^\s*datasource\s+\w+\s*\{([^}]*)\}/gm)) {
      const provider = /^\s*provider\s*=\s*"([^"]*)"/m.exec(block)?.[1]
      if (provider !== undefined) providers.add(provider)
    }
  }
  const [provider, ...others] = providers
  if (provider !== undefined && others.length === 0) return provider
  const found = provider === undefined ? 'no datasource with a provider' : `more than one: ${[...providers].join(', ')}`
  throw new EnvironmentError(
    `Could not tell the database from the Prisma schema of ${shown(file)}: it has ${found}. Name it with --provider.`,
  )
}

/** @throws `EnvironmentError` for a provider that is not supported */
export function typesOf(provider: string): ModelTypes {
  const types = modelTypes.find((candidate) => providersByName[candidate.provider] === providersByName[provider])
  if (types !== undefined) return types
  throw new EnvironmentError(
    `Could not write models for the provider '${provider}': supported are ${modelTypes.map((known) => known.provider).join(', ')}.`,
  )
}

/** The lines of each model of the schema, however they are spaced. */
function modelsIn({ texts }: SchemaPlace): ReadonlyMap<string, ReadonlySet<string>> {
  const models = new Map<string, ReadonlySet<string>>()
  for (const text of texts.map(withoutComments)) {
    for (const [, name = '', block = ''] of text.matchAll(/^[ \t]*model[ \t]+(\w+)[ \t]*\{([^}]*)\}/gm)) {
      models.set(name, linesOf(block))
    }
  }
  return models
}

/** Users may add to a model, such as `@@ignore`; what it has to have, it has to have. */
function assertWhole(
  { name, text }: RenderedModel,
  present: ReadonlySet<string> | undefined,
  place: SchemaPlace,
): void {
  if (present === undefined) return
  const [, block = ''] = /\{([^}]*)\}/.exec(withoutComments(text)) ?? []
  const missing = [...linesOf(block)].filter((line) => !present.has(line))
  if (missing.length === 0) return
  throw new EnvironmentError(
    `Could not add the models to ${shown(place.file)}: model ${name} is there and lacks ${missing.map((line) => `\`${line}\``).join(', ')}. ` +
      'Give the options that it was made with, add what it lacks, or remove it and run this again. Nothing was written.',
  )
}

function linesOf(block: string): ReadonlySet<string> {
  const lines = block.split(/\r?\n/).map((line) => line.trim().replaceAll(/\s+/g, ' '))
  return new Set(lines.filter((line) => line !== ''))
}

function withoutComments(text: string): string {
  return text.replaceAll(/^\s*\/\/.*$/gm, '')
}

async function append({ file, text }: SchemaPlace, models: readonly RenderedModel[]): Promise<void> {
  const added = `// Written by: npx eventsourcing-prisma init\n\n${models.map((model) => model.text).join('\n')}`
  const content = text === undefined ? added : `${text.trimEnd()}\n\n${added}`
  try {
    await writeFile(file, content)
  } catch (error) {
    throw new EnvironmentError(`Could not write ${shown(file)}: it cannot be written.`, { cause: error })
  }
}
