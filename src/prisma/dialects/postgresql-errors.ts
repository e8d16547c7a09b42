/** What the error codes of PostgreSQL mean. @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
import type { ErrorRule } from './error-rules.js'

/** By SQLSTATE, or by the class that its first two characters name. */
export const postgresqlErrors: readonly ErrorRule[] = [
  { codes: ['40001', '40P01'], kind: 'passing', meaning: 'serialisation failure, deadlock' },
  { codes: ['55P03', '55006'], kind: 'passing', meaning: 'a lock was not granted in time; an object is in use' },
  { codes: ['57014', '25P03', '25P04'], kind: 'passing', meaning: 'cancelled or ended by a timeout of the server' },
  {
    codes: ['08', '57P01', '57P02', '57P03', '57P05'],
    kind: 'passing',
    meaning: 'the connection was lost; the server stops or starts',
  },
  { codes: ['53300'], kind: 'passing', meaning: 'too many connections' },
  {
    codes: ['53', '55', '57', '58', '57P04'],
    kind: 'lasting',
    meaning: 'disk full, out of memory, a limit, a file of the server, the database was dropped',
  },
  {
    codes: ['28', '3D', '42501', '08P01'],
    kind: 'lasting',
    meaning: 'access denied, no such database, a protocol that is not spoken',
  },
  { codes: ['23', '44', '40002'], kind: 'integrity', meaning: 'a constraint' },
  {
    codes: ['22', '54', '21'],
    kind: 'data',
    meaning: 'a value that does not fit; more than the server can hold in one place',
  },
  {
    codes: ['42', '3F', '26', '34', '25', '2B', '2D', '3B', '09', '0L', '0P', '2F', '38', '39', 'P0'],
    kind: 'programming',
    meaning:
      'no such table, column or schema; a wrong statement; a statement that the transaction does not allow, such as a write in a read-only one',
  },
  { codes: ['0A'], kind: 'unsupported', meaning: 'a feature that the server does not have' },
  { codes: ['XX', 'F0'], kind: 'internal', meaning: 'data corruption, an inconsistency in the server' },
]
