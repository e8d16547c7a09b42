/** SQLite in memory, through each driver that this run has. */
import { createRequire } from 'node:module'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { type Adapter, databasesOf } from './databases.js'

/** One driver. */
export interface InMemorySqlite {
  readonly name: string
  /** A new adapter, with a database of its own. */
  readonly adapter: () => Adapter
}

/** The drivers. */
export const inMemorySqlites: readonly InMemorySqlite[] = databasesOf('sqlite').map(({ name }) => ({
  name: `${name}, in memory`,
  adapter: name.includes('libsql') ? () => new PrismaLibSql({ url: ':memory:' }) : newBetterSqlite3,
}))

function newBetterSqlite3(): Adapter {
  const { PrismaBetterSqlite3 }: { PrismaBetterSqlite3: new (options: { url: string }) => Adapter } = createRequire(
    import.meta.url,
  )('@prisma/adapter-better-sqlite3')
  return new PrismaBetterSqlite3({ url: ':memory:' })
}
