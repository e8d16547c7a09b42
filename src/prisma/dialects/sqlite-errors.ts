/** What the result codes of SQLite mean. @see https://www.sqlite.org/rescode.html */
import type { DriverErrorFacts } from '../driver-error.js'
import type { ErrorRule } from './error-rules.js'

/** By the name of the primary code. */
export const sqliteErrors: readonly ErrorRule[] = [
  {
    codes: ['SQLITE_BUSY', 'SQLITE_LOCKED', 'SQLITE_PROTOCOL'],
    kind: 'passing',
    meaning: 'another connection holds the database',
  },
  {
    codes: ['SQLITE_SCHEMA', 'SQLITE_INTERRUPT', 'SQLITE_ABORT'],
    kind: 'passing',
    meaning: 'the schema changed meanwhile, interrupted',
  },
  {
    codes: ['SQLITE_ERROR', 'SQLITE_FULL', 'SQLITE_IOERR', 'SQLITE_NOMEM'],
    kind: 'lasting',
    meaning: 'no such column, a wrong statement, disk full, an error of the disk, out of memory',
  },
  {
    codes: ['SQLITE_READONLY', 'SQLITE_CANTOPEN', 'SQLITE_NOTADB', 'SQLITE_PERM', 'SQLITE_AUTH'],
    kind: 'lasting',
    meaning: 'the file cannot be opened, is no database, or must not be written',
  },
  { codes: ['SQLITE_CONSTRAINT'], kind: 'integrity', meaning: 'a constraint' },
  {
    codes: ['SQLITE_TOOBIG', 'SQLITE_MISMATCH', 'SQLITE_RANGE'],
    kind: 'data',
    meaning: 'a value that is too large or of the wrong type',
  },
  { codes: ['SQLITE_MISUSE'], kind: 'programming', meaning: 'a call out of order' },
  { codes: ['SQLITE_NOLFS'], kind: 'unsupported', meaning: 'a file that the system cannot hold' },
  {
    codes: ['SQLITE_CORRUPT', 'SQLITE_INTERNAL', 'SQLITE_EMPTY', 'SQLITE_NOTFOUND'],
    kind: 'internal',
    meaning: 'a damaged file',
  },
]

const namesByNumber: readonly string[] = [
  'OK',
  'ERROR',
  'INTERNAL',
  'PERM',
  'ABORT',
  'BUSY',
  'LOCKED',
  'NOMEM',
  'READONLY',
  'INTERRUPT',
  'IOERR',
  'CORRUPT',
  'NOTFOUND',
  'FULL',
  'CANTOPEN',
  'PROTOCOL',
  'EMPTY',
  'SCHEMA',
  'TOOBIG',
  'CONSTRAINT',
  'MISMATCH',
  'MISUSE',
  'NOLFS',
  'AUTH',
  'FORMAT',
  'RANGE',
  'NOTADB',
]

/** The name of the primary code: one driver gives the name of the extended code, the other its number. */
export function primaryCode({ code }: DriverErrorFacts): string | undefined {
  if (code === undefined) return undefined
  const [, name] = /^SQLITE_([A-Z]+)/.exec(code) ?? []
  // The lowest eight bits of an extended code are the primary one.
  const primary = name ?? namesByNumber[Number(code) & 255]
  return primary === undefined || (name === undefined && !/^\d+$/.test(code)) ? undefined : `SQLITE_${primary}`
}
