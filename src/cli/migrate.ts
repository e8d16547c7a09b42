/** Applies a folder of migrations without Prisma's native engine, keeping the history as the engine does. */
import { IntegrityError } from '../errors.js'
import { adapterFromUrl } from '../prisma/adapter-from-url.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import { translateError } from '../prisma/translate-error.js'
import { type Attempt, MigrationHistory } from './migration-history.js'
import { type Migration, matchesChecksum, readMigrations } from './migrations-folder.js'

/** What to migrate. */
export interface MigrateOptions {
  /** The database, as `adapterFromUrl` takes it. */
  readonly url: string
  /** The folder of migrations. */
  readonly migrations: string
  /** Called with the name of each migration after it was applied. */
  readonly onApplied?: (name: string) => void
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
export async function migrate({ url, migrations: folder, onApplied }: MigrateOptions): Promise<string[]> {
  const factory = await adapterFromUrl(url, { forMigrations: true })
  const migrations = await readMigrations(folder, factory.provider)
  const adapter = await factory.connect().catch((error: unknown) => {
    throw translateError(dialectOf(factory.provider), error, 'connect to the database')
  })
  try {
    return await applyPending(new MigrationHistory(adapter), migrations, onApplied)
  } finally {
    await adapter.dispose()
  }
}

async function applyPending(
  history: MigrationHistory,
  migrations: readonly Migration[],
  onApplied: MigrateOptions['onApplied'],
): Promise<string[]> {
  await history.prepareSchema()
  try {
    await history.lock()
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

async function attemptsOf(history: MigrationHistory): Promise<readonly Attempt[]> {
  const { attempts, isEmpty } = await history.read()
  if (attempts !== undefined) return attempts
  if (!isEmpty) {
    throw new IntegrityError(
      'Could not apply the migrations: the database has tables and no history of migrations. Mark what it has as applied ' +
        'with prisma migrate resolve --applied, or take an empty database.',
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
        `prisma migrate resolve --rolled-back ${failed.name} (or --applied).`,
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
