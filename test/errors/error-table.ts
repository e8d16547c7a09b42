/** The table of docs/errors.md that says what each code of a database becomes. */

import { mariadbErrors } from '../../src/prisma/dialects/mariadb.js'
import { postgresqlErrors } from '../../src/prisma/dialects/postgresql.js'
import { sqliteErrors } from '../../src/prisma/dialects/sqlite.js'
import type { ErrorKind, ErrorRule } from '../../src/prisma/translate-error.js'

/** The rules of each database. */
export const rulesByDatabase: Readonly<Record<string, readonly ErrorRule[]>> = {
  PostgreSQL: postgresqlErrors,
  'MariaDB, MySQL': mariadbErrors,
  SQLite: sqliteErrors,
}

const classes: Readonly<Record<ErrorKind, string>> = {
  passing: 'OperationalError',
  lasting: 'OperationalError',
  integrity: 'IntegrityError',
  data: 'DataError',
  programming: 'ProgrammingError',
  unsupported: 'NotSupportedError',
  internal: 'InternalError',
}

/** The rows, each as its cells. */
export function errorTableRows(): string[][] {
  return Object.entries(rulesByDatabase).flatMap(([database, rules]) =>
    rules.map(({ codes, kind, meaning }) => [
      database,
      codes.map((code) => `\`${code}\``).join(', '),
      meaning,
      `\`${classes[kind]}\``,
      kind === 'passing' ? 'yes' : 'no',
    ]),
  )
}
