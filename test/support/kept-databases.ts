/** PostgreSQL databases of the run that were left clean: a test takes one of these, since making and dropping one is slow. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'

/** A database, and what defines it when it is new. */
interface Kept {
  readonly name: string
  readonly definition: string
}

/** The folder of this run of the tests, with a file for each database; undefined outside of one, where none is kept. */
const folder = process.env.TEST_RUN_FOLDER

/** Makes the folders of a run. */
export function prepareKept(run: string): void {
  for (const state of ['free', 'taken']) mkdirSync(join(run, state))
}

/** Drops what a run has kept. */
export async function dropKept(run: string, server: string): Promise<void> {
  const client = new pg.Client(server)
  await client.connect()
  for (const name of ['free', 'taken'].flatMap((state) => readdirSync(join(run, state)))) {
    await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  }
  await client.end()
}

/** @returns a clean database, which is the caller's from then on; undefined where there is none */
export function takeKept(): Kept | undefined {
  if (folder === undefined) return undefined
  for (const name of readdirSync(join(folder, 'free'))) {
    const file = join(folder, 'taken', name)
    try {
      renameSync(join(folder, 'free', name), file)
    } catch {
      // Another process was faster.
      continue
    }
    return { name, definition: readFileSync(file, 'utf8') }
  }
  return undefined
}

/** Notes a database that the caller has just made. @returns undefined where none is kept */
export async function keep(name: string, database: pg.Pool): Promise<Kept | undefined> {
  if (folder === undefined) return undefined
  const definition = await definitionOf(database)
  writeFileSync(join(folder, 'taken', name), definition)
  return { name, definition }
}

/** Cleans a database and lets others take it. @returns false where it is not like a new one: the caller drops it */
export async function giveBack({ name, definition }: Kept, database: pg.Pool): Promise<boolean> {
  if (folder === undefined) return false
  const isClean = await clean(definition, database)
  if (isClean) renameSync(join(folder, 'taken', name), join(folder, 'free', name))
  else rmSync(join(folder, 'taken', name))
  return isClean
}

const catalogs = [
  'class',
  'attribute',
  'attrdef',
  'constraint',
  'index',
  'trigger',
  'proc',
  'type',
  'namespace',
  'sequence',
]

/** Each catalog's number of rows, and the last transaction that has written one: any change of a table or so shows. */
const definitionQuery = [
  ...catalogs.map((name) => `SELECT '${name}', count(*), max(xmin::text::bigint) FROM pg_catalog.pg_${name}`),
  `SELECT 'settings', count(*), 0 FROM pg_catalog.pg_db_role_setting AS s JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase ` +
    `WHERE d.datname = current_database()`,
].join(' UNION ALL ')

async function definitionOf(database: pg.Pool): Promise<string> {
  return JSON.stringify((await database.query({ text: definitionQuery, rowMode: 'array' })).rows)
}

/** Deleting the rows of a larger table takes longer than a new database. */
const largestTableBytes = 1_000_000

async function clean(definition: string, database: pg.Pool): Promise<boolean> {
  await database.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  )
  if ((await definitionOf(database)) !== definition) return false
  const { rows: tables } = await database.query<{ name: string; bytes: string }>(
    `SELECT format('%I.%I', schemaname, relname) AS name, pg_relation_size(relid) AS bytes FROM pg_stat_user_tables ORDER BY relid DESC`,
  )
  if (tables.some(({ bytes }) => Number(bytes) > largestTableBytes)) return false
  // A table that refers to another was made after it.
  const deletes = tables.map(({ name }) => `DELETE FROM ${name}`)
  const restarts = `SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) FROM pg_sequences`
  await database.query([...deletes, restarts].join('; '))
  return true
}
