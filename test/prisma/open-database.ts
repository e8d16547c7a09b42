/** A fresh database with a datastore and the test schema's client on it. */
import { PrismaDatastore, type PrismaDatastoreOptions } from '../../src/index.js'
import type { TestDatabase, TestDatabaseKind } from '../support/databases.js'
import type { PrismaClient } from '../support/generated/postgresql/client.js'

/** The clients of all databases are alike; the types of one stand for them. */
export type TestClient = PrismaClient

export interface OpenDatabase {
  readonly database: TestDatabase
  readonly datastore: PrismaDatastore<TestClient>
  /** The ambient client. */
  readonly db: TestClient
  /** The client below it. */
  readonly base: TestClient
  /** The dogs of all owners that another connection sees, sorted. */
  dogs(): Promise<string[]>
  /** Quotes a table's name as the database does. */
  quoted(table: string): string
  /** Empties the tables. */
  clear(): Promise<void>
  /** Empties a log, with what gives its ids, as a restored backup that is empty. */
  emptyLog(table: string): Promise<void>
  close(): Promise<void>
}

type Options = Omit<PrismaDatastoreOptions<TestClient>, 'adapter' | 'client'>

/** Makes the database. */
export async function openDatabase(kind: TestDatabaseKind, options: Options = {}): Promise<OpenDatabase> {
  const database = await kind.createDatabase()
  let base: TestClient | undefined
  const datastore = new PrismaDatastore<TestClient>({
    ...options,
    adapter: database.adapter(),
    client: (adapter) => (base = database.newClient(adapter) as TestClient),
  })
  if (base === undefined) throw new Error('the datastore has made no client')
  const quoted = (table: string): string => (kind.provider === 'mysql' ? `\`${table}\`` : `"${table}"`)
  const column = (rows: ReadonlyArray<Record<string, unknown>>): string[] =>
    rows.map((row) => String(row['dog'])).sort()
  return {
    database,
    datastore,
    db: datastore.client,
    base,
    quoted,
    dogs: async () => column(await database.query(`SELECT dog FROM ${quoted('owners')}`)),
    async clear() {
      for (const table of ['toys', 'owners', 'stored_events', 'stored_event_tags', 'stored_snapshots']) {
        await database.query(`DELETE FROM ${quoted(table)}`)
      }
    },
    async emptyLog(table) {
      if (kind.provider === 'postgresql') await database.query(`TRUNCATE ${table} RESTART IDENTITY`)
      else await database.query(`DELETE FROM ${table}`)
      if (kind.provider === 'sqlite') await database.query(`DELETE FROM sqlite_sequence WHERE name = '${table}'`)
      if (kind.provider === 'mysql') await database.query('UPDATE notification_positions SET notification_id = 0')
    },
    async close() {
      // A transaction that is never ended makes a test fail here.
      await datastore.close({ timeoutMs: Infinity })
      await database.drop()
    },
  }
}
