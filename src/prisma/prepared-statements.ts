/** Names for the library's own statements, so that PostgreSQL parses and plans them once for each connection. */
import { createHash } from 'node:crypto'
import { isOwnStatement, type SqlQuery } from './driver.js'

const names = new Map<string, string>()

/**
 * An option for `@prisma/adapter-pg`: prepares the statements of this library, and leaves yours unnamed. They are few, so the
 * server keeps few. Not for a connection pooler that gives each transaction another connection and does not know prepared
 * statements (PgBouncer before 1.21).
 *
 * @returns the statement's name; empty for a statement that is not the library's, which means none
 *
 * @example
 * new PrismaPg({ connectionString }, { statementNameGenerator: preparedStatementName })
 */
export function preparedStatementName(query: Pick<SqlQuery, 'sql' | 'args'>): string {
  // Without arguments the driver sends the text in one message, for which there is nothing to prepare.
  if (query.args.length === 0 || !isOwnStatement(query)) return ''
  const known = names.get(query.sql)
  if (known !== undefined) return known
  const name = `es_${createHash('sha256').update(query.sql).digest('hex').slice(0, 24)}`
  names.set(query.sql, name)
  return name
}
