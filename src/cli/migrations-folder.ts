/** Reads a folder of migrations as Prisma keeps it. */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvironmentError } from '../errors.js'
import { providersByName } from '../prisma/driver.js'

/** One migration of the folder. */
export interface Migration {
  /** The name of its folder, by which migrations are ordered. */
  readonly name: string
  readonly script: string
}

/**
 * Reads all migrations in their order.
 *
 * @param provider - of the database that they are for, as its driver adapter names it
 * @throws `EnvironmentError` when the folder cannot be read, is for another database, or has a migration without a file
 */
export async function readMigrations(folder: string, provider: string): Promise<Migration[]> {
  let names: string[]
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  } catch (error) {
    throw new EnvironmentError(`Could not read the migrations in ${folder}: name their folder with --migrations.`, {
      cause: error,
    })
  }
  await assertProvider(folder, provider)
  const migrations: Migration[] = []
  for (const name of names.sort())
    migrations.push({ name, script: await readScript(join(folder, name, 'migration.sql')) })
  return migrations
}

/** A migration to be written, with views of tables. */
export interface ViewsMigration {
  readonly folder: string
  /** Those that have to be made by earlier migrations. */
  readonly tables: readonly string[]
  readonly sql: string
  readonly now: Date
}

/**
 * Adds a migration behind all others.
 *
 * @returns its file; undefined where a migration has these very statements
 * @throws `EnvironmentError` where no migration makes one of the tables
 */
export async function writeViews({ folder, tables, sql, now }: ViewsMigration): Promise<string | undefined> {
  const names = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const earlier = names.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  const scripts = await Promise.all(earlier.map(async (name) => await readScript(join(folder, name, 'migration.sql'))))
  if (scripts.includes(sql)) return undefined
  for (const table of tables) {
    if (scripts.some((script) => script.includes(table))) continue
    throw new EnvironmentError(
      `Could not write the views: no migration in ${folder} makes the table ${table}. Run npx eventsourcing-prisma init and ` +
        'npx prisma migrate dev first, or print the statements with npx eventsourcing-prisma sql --readable.',
    )
  }
  const time = now.toISOString().replace(/\D/g, '').slice(0, 14)
  const name = `${time}_eventsourcing_readable`
  const last = earlier.toSorted().at(-1)
  if (last !== undefined && last > name) {
    throw new EnvironmentError(`Could not write the views: ${last} would come after ${name}. Is the clock right?`)
  }
  await mkdir(join(folder, name), { recursive: true })
  const file = join(folder, name, 'migration.sql')
  await writeFile(file, sql)
  return file
}

/** What Prisma's history keeps of a script. */
export function checksum(script: string): string {
  return createHash('sha256').update(script).digest('hex')
}

/** Whether the script is the one that was applied; its line ends may have changed on the way through version control. */
export function matchesChecksum(script: string, expected: string): boolean {
  const unix = script.replaceAll('\r\n', '\n')
  return [script, unix, unix.replaceAll('\n', '\r\n')].some((variant) => checksum(variant) === expected)
}

async function assertProvider(folder: string, provider: string): Promise<void> {
  const file = join(folder, 'migration_lock.toml')
  const lock = await readFile(file, 'utf8').catch(() => '')
  const named = /^\s*provider\s*=\s*"([^"]*)"/m.exec(lock)?.[1]
  if (named === undefined || providersByName[named] === provider) return
  throw new EnvironmentError(
    `Could not apply the migrations in ${folder}: they are for ${named}, as ${file} says, and the database's URL is for ${provider}.`,
  )
}

async function readScript(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new EnvironmentError(`Could not read ${file}: restore it, or remove its folder.`, { cause: error })
  }
}
