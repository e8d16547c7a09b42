/** MariaDB and MySQL. */
import type { Damage } from '../../transaction/connection.js'
import type { Dialect } from '../dialect.js'
import { type SqlQueryable, statement } from '../driver.js'
import type { DriverErrorFacts } from '../driver-error.js'
import { PooledConnections } from '../pooled-connections.js'
import { isConnectionLoss } from '../translate-error.js'
import { ErrorTable } from './error-rules.js'
import { connectionLostCodes, mariadbErrors } from './mariadb-errors.js'
import { MariadbEventsTable } from './mariadb-events.js'
import { mariadbFaults } from './mariadb-faults.js'
import { mariadbIdempotencyKeysTable } from './mariadb-idempotency-keys.js'
import { mariadbInspector } from './mariadb-inspection.js'
import { mariadbProjectionTables } from './mariadb-projections.js'
import { mariadbShadow } from './mariadb-shadow.js'
import { mariadbSubjectKeysTable } from './mariadb-subject-keys.js'
import { MariadbTrackingTable } from './mariadb-tracking.js'
import { mariadbEffect } from './statement-effects.js'

/** A deadlock, and a row that was changed since the snapshot (`innodb_snapshot_isolation`). */
const rolledBackCodes: readonly (string | undefined)[] = ['1213', '1020']
const errors = new ErrorTable(mariadbErrors)

/** MariaDB and MySQL through `@prisma/adapter-mariadb`, or any adapter with the provider `mysql`. */
export const mariadb: Dialect = {
  name: 'mariadb',
  singleWriter: false,
  hasSchemas: false,
  // Ids are given in the order of the commits, so every snapshot ends the log somewhere and has no holes before.
  logHasHolesAt: () => false,
  // At SERIALIZABLE reads are locking ones, which see the latest.
  readsOldAt: (isolationLevel) => isolationLevel === undefined || isolationLevel === 'RepeatableRead',
  connections: (settings) => new PooledConnections(settings),
  // The adapter has sent BEGIN; this one ends that empty transaction and begins the one that is wanted.
  afterBegin: ({ readOnly }) => (readOnly ? [statement('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')] : []),
  guards(limitMs, reach) {
    const seconds = Math.ceil(limitMs / 1000)
    return reach === 'session' ? [statement(`SET SESSION innodb_lock_wait_timeout = ${seconds}`)] : []
  },
  // MariaDB knows it, MySQL does not.
  courtesies: (limitMs) => [statement(`SET SESSION idle_transaction_timeout = ${Math.ceil(limitMs / 1000)}`)],
  damageOf,
  effectOf: mariadbEffect,
  hasEndedAfter,
  translate: ({ code }, message, cause) => errors.translate(code, message, cause),
  mayHaveCommitted: (error, facts) =>
    facts === undefined
      ? isConnectionLoss(error)
      : facts.code !== undefined && connectionLostCodes.includes(facts.code),
  creationScripts: (statements) => statements,
  listenStatement: undefined,
  eventsTable: (options) => new MariadbEventsTable(options),
  trackingTable: (options) => new MariadbTrackingTable(options),
  subjectKeysTable: mariadbSubjectKeysTable,
  idempotencyKeysTable: mariadbIdempotencyKeysTable,
  projectionTables: mariadbProjectionTables,
  // ON DUPLICATE KEY UPDATE takes whatever unique key is in conflict: a row could be changed in the place of another one.
  overwriting: undefined,
  shadow: mariadbShadow,
  inspector: mariadbInspector,
  faults: mariadbFaults,
}

/** A failed statement is undone alone, except for those failures after which the server rolls everything back. */
function damageOf(error: unknown, facts: DriverErrorFacts | undefined): Damage {
  if (facts?.code === undefined) return isConnectionLoss(error) ? 'transaction' : 'nothing'
  return rolledBackCodes.includes(facts.code) || connectionLostCodes.includes(facts.code) ? 'transaction' : 'nothing'
}

/** Waiting too long for a lock: the server undoes the statement, or the transaction where it is configured so. */
const lockTimeoutCode = '1205'

async function hasEndedAfter(connection: SqlQueryable, facts: DriverErrorFacts | undefined): Promise<boolean> {
  if (facts?.code !== lockTimeoutCode) return false
  const { rows } = await connection.queryRaw(statement('SELECT @@innodb_rollback_on_timeout'))
  return Number(rows[0]?.[0]) === 1
}
