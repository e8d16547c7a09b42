/** Reads an SQLite file by the raw driver. */
import { createRequire } from 'node:module'

interface Driver {
  prepare(sql: string): { all(): Array<Record<string, unknown>> }
  close(): unknown
}

const Database: new (file: string) => Driver = createRequire(import.meta.url)('libsql')

/** Runs one select on a file. */
export function sqliteQuery(file: string, sql: string): Array<Record<string, unknown>> {
  const database = new Database(file)
  try {
    return database.prepare(sql).all()
  } finally {
    database.close()
  }
}
