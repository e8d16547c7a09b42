/** The migrations of a project: which files there are, which the database knows, and how the others are applied. */

import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { EnvironmentError, IntegrityError, NotSupportedError, OperationalError } from '../errors.js'
import type { Finding } from '../prisma/dialect.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import { type HistoryTable, historyTable, historyTables } from '../prisma/dialects/history-tables.js'
import { providersByName, type SqlDriverAdapter, statement } from '../prisma/driver.js'
import { adapterFromUrl } from '../prisma/factory.js'
import { translateError } from '../prisma/translate-error.js'
import { connected } from './project.js'

/** As long as Prisma waits. */
const lockTimeoutMs = 10_000
const lockRetryMs = 50

/** One row: an attempt to apply a migration. Neither finished nor rolled back, it has failed. */
export interface Attempt {
  readonly name: string
  readonly checksum: string
  readonly finished: boolean
  readonly rolledBack: boolean
}

/** The history of one database, on a connection that has it for itself. */
export class MigrationHistory {
  readonly #adapter: SqlDriverAdapter
  readonly #table: HistoryTable

  /** @throws `NotSupportedError` for a database that it does not know */
  constructor(adapter: SqlDriverAdapter) {
    const table = historyTables[adapter.provider]
    if (table === undefined) {
      throw new NotSupportedError(
        `Could not apply migrations: nothing is known here of databases of ${adapter.provider}.`,
      )
    }
    this.#adapter = adapter
    this.#table = table
  }

  /**
   * Waits until nobody else migrates the database, and keeps others from it until `unlock` and the end of the connection.
   *
   * @throws `OperationalError` after ten seconds
   */
  async lock(): Promise<void> {
    const { prepare, take, query, finish } = this.#table.lock
    const deadline = Date.now() + lockTimeoutMs
    for (const sql of prepare) await this.#execute(sql, 'prepare the lock of migrations')
    for (;;) {
      try {
        if (take !== undefined) await this.#runScript(take)
        break
      } catch (failure) {
        const error = this.#translated(failure, 'take the lock of migrations')
        const passing = error instanceof OperationalError && error.retryable
        if (!passing || Date.now() >= deadline) throw passing ? lockTimeout(error) : error
        await delay(lockRetryMs)
      }
    }
    if (query !== undefined && Number((await this.#query(query))[0]?.[0]) !== 1) throw lockTimeout(undefined)
    for (const sql of finish) await this.#execute(sql, 'prepare the lock of migrations')
  }

  /** Lets others at the database again, as far as closing the connection does not; also where it was not locked. */
  async unlock(): Promise<void> {
    const { release } = this.#table.lock
    // Who could not lock the database cannot reach it now either, and has nothing to give back.
    if (release !== undefined) await this.#adapter.executeScript(release).catch(() => undefined)
  }

  /**
   * Reads all attempts in their order.
   *
   * @returns undefined where the database has no history; `isEmpty` tells whether it has no tables either
   */
  async read(): Promise<{ readonly attempts: readonly Attempt[] | undefined; readonly isEmpty: boolean }> {
    const tables = await this.#query(this.#table.tablesQuery)
    if (!tables.some(([name]) => name === historyTable)) return { attempts: undefined, isEmpty: tables.length === 0 }
    const rows = await this.#query(
      `SELECT migration_name, checksum, finished_at, rolled_back_at FROM ${historyTable} ORDER BY started_at`,
    )
    const attempts = rows.map(([name, sum, finishedAt, rolledBackAt]) => ({
      name: String(name),
      checksum: String(sum),
      finished: finishedAt !== null,
      rolledBack: rolledBackAt !== null,
    }))
    return { attempts, isEmpty: false }
  }

  /** Makes the schema that the URL names, where it is missing. */
  async prepareSchema(): Promise<void> {
    const schema = this.#adapter.getConnectionInfo?.().schemaName
    const sql = schema === undefined ? undefined : this.#table.createSchema?.(schema)
    if (sql !== undefined) await this.#execute(sql, `create the schema ${schema}`)
  }

  /** Makes the table. */
  async create(): Promise<void> {
    await this.#execute(this.#table.createStatement, `create the table ${historyTable}`)
  }

  /**
   * Runs the script of a migration and records how it went.
   *
   * @throws the error of the script, after it has been recorded
   */
  async apply(migration: Migration): Promise<void> {
    const { name, script } = migration
    const { now, parameter: p } = this.#table
    const id = randomUUID()
    const inserted = `(id, checksum, migration_name, started_at) VALUES (${p(1)}, ${p(2)}, ${p(3)}, ${now})`
    await this.#record(`INSERT INTO ${historyTable} ${inserted}`, [id, checksum(script), name])
    try {
      await this.#run(script)
    } catch (error) {
      const failure = this.#translated(error, `apply migration ${name}`)
      await this.#record(`UPDATE ${historyTable} SET logs = ${p(1)} WHERE id = ${p(2)}`, [failure.message, id])
      failure.message +=
        '. What its statements have changed before that may be stored. Repair the migration and the database, then say so with ' +
        `--resolve ${name}, which applies it again, or with --resolve ${name} --applied.`
      throw failure
    }
    const finished = `finished_at = ${now}, applied_steps_count = applied_steps_count + 1`
    await this.#record(`UPDATE ${historyTable} SET ${finished} WHERE id = ${p(1)}`, [id])
    // Prisma orders attempts by their start, which some databases keep in milliseconds.
    await delay(2)
  }

  /** Records that the standing attempts at a migration are undone. */
  async rollBack(name: string): Promise<void> {
    const { now, parameter: p } = this.#table
    const standing = `migration_name = ${p(1)} AND rolled_back_at IS NULL`
    await this.#record(`UPDATE ${historyTable} SET rolled_back_at = ${now} WHERE ${standing}`, [name])
  }

  /** Records a migration as applied without running it; makes the history where there is none. */
  async recordApplied({ name, script }: Migration): Promise<void> {
    if ((await this.read()).attempts === undefined) await this.create()
    const { now, parameter: p } = this.#table
    const columns = 'id, checksum, migration_name, started_at, finished_at, applied_steps_count'
    const values = `${p(1)}, ${p(2)}, ${p(3)}, ${now}, ${now}, 0`
    const args = [randomUUID(), checksum(script), name]
    await this.#record(`INSERT INTO ${historyTable} (${columns}) VALUES (${values})`, args)
    await delay(2)
  }

  async #run(script: string): Promise<void> {
    // Comments alone are what Prisma writes for a migration that is still to be filled; MySQL refuses to run them.
    if (script.replace(/--.*$/gm, '').trim() === '') return
    const { afterScript, foreignLines } = this.#table
    try {
      await this.#runScript(foreignLines === undefined ? script : script.replace(foreignLines, ''))
    } finally {
      // A connection that is lost says so at the next statement.
      if (afterScript !== undefined) await this.#adapter.executeRaw(statement(afterScript)).catch(() => undefined)
    }
  }

  async #runScript(script: string): Promise<void> {
    if (this.#table.scriptMember === 'executeRaw') {
      await this.#adapter.executeRaw(statement(script))
      return
    }
    try {
      await this.#adapter.executeScript(script)
    } catch (error) {
      // What is recorded next must not vanish with a transaction that the script left open.
      await this.#adapter.executeRaw(statement('ROLLBACK')).catch(() => undefined)
      throw error
    }
  }

  async #record(sql: string, args: unknown[]): Promise<void> {
    await this.#execute(sql, 'record a migration', args)
  }

  async #execute(sql: string, attempted: string, args: unknown[] = []): Promise<void> {
    try {
      await this.#adapter.executeRaw(statement(sql, args))
    } catch (error) {
      throw this.#translated(error, attempted)
    }
  }

  async #query(sql: string): Promise<unknown[][]> {
    try {
      return (await this.#adapter.queryRaw(statement(sql))).rows
    } catch (error) {
      throw this.#translated(error, 'read the history of migrations')
    }
  }

  #translated(error: unknown, attempted: string): Error {
    return translateError(dialectOf(this.#adapter.provider), error, attempted)
  }
}

function lockTimeout(cause: unknown): OperationalError {
  return new OperationalError(
    `Could not lock the database for migrations within ${lockTimeoutMs / 1000} seconds: another process migrates it, or, ` +
      'on SQLite, has it open. Wait for it, or stop it, and repeat the command. ' +
      'Migrate past a connection pooler, which keeps the lock.',
    { cause, retryable: true },
  )
}

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
async function readMigrations(folder: string, provider: string): Promise<Migration[]> {
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
interface ViewsMigration {
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
function checksum(script: string): string {
  return createHash('sha256').update(script).digest('hex')
}

/** Whether the script is the one that was applied; its line ends may have changed on the way through version control. */
function matchesChecksum(script: string, expected: string): boolean {
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
  const adapter = await connected(factory, url)
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
