/** Applies a folder of migrations without Prisma's native engine, keeping the history as the engine does. */
import { EnvironmentError, IntegrityError } from '../errors.js'
import { adapterFromUrl } from '../prisma/adapter-from-url.js'
import type { Finding } from '../prisma/dialect.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import type { SqlDriverAdapter } from '../prisma/driver.js'
import { translateError } from '../prisma/translate-error.js'
import { type Attempt, type Migration, MigrationHistory, matchesChecksum, readMigrations } from './migration-history.js'

/** What to migrate. */
export interface MigrateOptions {
  /** The database, as `adapterFromUrl` takes it. */
  readonly url: string
  /** The folder of migrations. */
  readonly migrations: string
  /** Called with the name of each migration after it was applied. */
  readonly onApplied?: (name: string) => void
  /** What is to be said of a migration before the others are applied. */
  readonly resolve?: Resolution
}

/** What became of a migration, as only people know: one that has failed, or one whose tables were there before. */
export interface Resolution {
  readonly name: string
  /** `rolled back`: it is applied again. */
  readonly as: 'applied' | 'rolled back'
}

/**
 * Applies the migrations that the database does not have yet, in their order, like `prisma migrate deploy`.
 *
 * @returns the names of those that were applied; none when the database was up to date
 * @throws `IntegrityError` when a migration was edited after it was applied, when one has failed before, or when the
 *   database has tables and no history; `DatabaseError` when a migration fails, which is recorded; `EnvironmentError`
 *   for a folder or a URL that cannot be used
 * @see https://www.prisma.io/docs/orm/reference/prisma-cli-reference#migrate-deploy
 */
export async function migrate({ url, migrations: folder, onApplied, resolve }: MigrateOptions): Promise<string[]> {
  const factory = await adapterFromUrl(url, { forMigrations: true })
  const migrations = await readMigrations(folder, factory.provider)
  const adapter = await factory.connect().catch((error: unknown) => {
    throw translateError(dialectOf(factory.provider), error, 'connect to the database')
  })
  try {
    return await applyPending(new MigrationHistory(adapter), migrations, { onApplied, resolve })
  } finally {
    await adapter.dispose()
  }
}

/** Compares the folder of migrations, where there is one, with what the database has. */
export async function examineMigrations(adapter: SqlDriverAdapter, folder: string): Promise<Finding[]> {
  const finding = (status: Finding['status'], message: string, cure?: string): Finding[] => [
    { check: 'migrations', subject: folder, status, message, ...(cure === undefined ? {} : { cure }) },
  ]
  const apply = 'npx prisma migrate deploy, or npx eventsourcing-prisma migrate'
  try {
    const migrations = await readMigrations(folder, adapter.provider)
    const { attempts } = await new MigrationHistory(adapter).read()
    if (attempts === undefined) return finding('warning', 'the database has no history of migrations', apply)
    const pending = migrationsToApply(migrations, attempts)
    if (pending.length === 0) return finding('ok', `all ${migrations.length} are applied`)
    return finding('error', `not applied: ${pending.map(({ name }) => name).join(', ')}`, apply)
  } catch (error) {
    if (error instanceof IntegrityError) return finding('error', error.message)
    if (error instanceof EnvironmentError) return finding('warning', error.message)
    throw error
  }
}

async function applyPending(
  history: MigrationHistory,
  migrations: readonly Migration[],
  { onApplied, resolve }: { readonly [Name in 'onApplied' | 'resolve']: MigrateOptions[Name] | undefined },
): Promise<string[]> {
  await history.prepareSchema()
  try {
    await history.lock()
    if (resolve !== undefined) await resolveOne(history, migrations, resolve)
    const pending = migrationsToApply(migrations, await attemptsOf(history))
    for (const migration of pending) {
      await history.apply(migration)
      onApplied?.(migration.name)
    }
    return pending.map(({ name }) => name)
  } finally {
    await history.unlock()
  }
}

/** Says of a migration what became of it, like `prisma migrate resolve`. */
async function resolveOne(
  history: MigrationHistory,
  migrations: readonly Migration[],
  { name, as }: Resolution,
): Promise<void> {
  const { attempts = [] } = await history.read()
  const standing = attempts.filter((attempt) => attempt.name === name && !attempt.rolledBack)
  const migration = migrations.find((candidate) => candidate.name === name)
  if (standing.some(({ finished }) => finished)) {
    throw new IntegrityError(`Could not resolve migration ${name}: it is applied already. Leave --resolve out.`)
  }
  if (as === 'rolled back' && standing.length === 0) {
    throw new IntegrityError(
      `Could not resolve migration ${name}: it has not failed in this database. Leave --resolve out.`,
    )
  }
  if (migration === undefined) {
    throw new IntegrityError(`Could not resolve migration ${name}: the folder of migrations has none of that name.`)
  }
  if (standing.length > 0) await history.rollBack(name)
  if (as === 'applied') await history.recordApplied(migration)
}

async function attemptsOf(history: MigrationHistory): Promise<readonly Attempt[]> {
  const { attempts, isEmpty } = await history.read()
  if (attempts !== undefined) return attempts
  if (!isEmpty) {
    throw new IntegrityError(
      'Could not apply the migrations: the database has tables and no history of migrations. Mark what it has as applied ' +
        'with --resolve <name> --applied, one after the other, or take an empty database.',
    )
  }
  await history.create()
  return []
}

function migrationsToApply(migrations: readonly Migration[], attempts: readonly Attempt[]): Migration[] {
  const standing = attempts.filter((attempt) => !attempt.rolledBack)
  const failed = standing.find((attempt) => !attempt.finished)
  if (failed !== undefined) {
    throw new IntegrityError(
      `Could not apply the migrations: migration ${failed.name} has failed before. Repair the database, then say so with ` +
        `--resolve ${failed.name}, which applies it again, or with --resolve ${failed.name} --applied.`,
    )
  }
  const applied = new Map(standing.map((attempt) => [attempt.name, attempt]))
  for (const { name, script } of migrations) {
    const attempt = applied.get(name)
    if (attempt !== undefined && !matchesChecksum(script, attempt.checksum)) {
      throw new IntegrityError(
        `Could not apply the migrations: migration ${name} was edited after it was applied. Restore the file, and make the change in a new migration.`,
      )
    }
  }
  return migrations.filter(({ name }) => !applied.has(name))
}
