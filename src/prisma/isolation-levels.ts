/** The isolation levels by the names that SQL gives them. */
import type { IsolationLevel } from '../transaction/options.js'
import type { SqlIsolationLevel } from './driver.js'

/** Those that Prisma's adapters are given; the library has no `SNAPSHOT`, which is for SQL Server. */
export const isolationLevels: Readonly<Record<SqlIsolationLevel, IsolationLevel | undefined>> = {
  'READ UNCOMMITTED': 'ReadUncommitted',
  'READ COMMITTED': 'ReadCommitted',
  'REPEATABLE READ': 'RepeatableRead',
  SERIALIZABLE: 'Serializable',
  SNAPSHOT: undefined,
}
