/** Where a project's Prisma schema is: one file, or a folder of files that Prisma reads together. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { EnvironmentError } from '../errors.js'
import type { PrismaConfig } from './project.js'

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
