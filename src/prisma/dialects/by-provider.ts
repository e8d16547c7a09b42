/** The one place that names the dialects: a further database is one file and one line. */
import { NotSupportedError } from '../../errors.js'
import type { Dialect } from '../dialect.js'
import { mariadb } from './mariadb.js'
import { postgresql } from './postgresql.js'
import { sqlite } from './sqlite.js'

const dialects: ReadonlyMap<string, Dialect> = new Map([
  ['postgres', postgresql],
  ['sqlite', sqlite],
  ['mysql', mariadb],
])

/** The dialect of the database that an error names; any where it names none, since its kind tells then what it is. */
export function dialectNamed(kind: string | undefined): Dialect {
  return dialects.get(kind ?? '') ?? postgresql
}

/**
 * Finds the dialect for a driver adapter's provider.
 *
 * @throws `NotSupportedError` for a database that has none
 */
export function dialectOf(provider: string): Dialect {
  const dialect = dialects.get(provider)
  if (dialect !== undefined) return dialect
  throw new NotSupportedError(
    `Could not make a datastore: there is no dialect for the provider "${provider}". Supported are ${[...dialects.keys()].join(', ')}.`,
  )
}
