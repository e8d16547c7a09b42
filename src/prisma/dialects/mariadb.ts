/** MariaDB and MySQL. */
import { type EventSourcingError, InternalError, OperationalError } from '../../errors.js'
import type { Damage } from '../../transaction/connection.js'
import type { Dialect } from '../dialect.js'
import { statement } from '../driver.js'
import type { DriverErrorFacts } from '../driver-error.js'
import { PooledConnections } from '../pooled-connections.js'
import { isConnectionLoss } from '../translate-error.js'
import { MariadbEventsTable } from './mariadb-events.js'
import { MariadbTrackingTable } from './mariadb-tracking.js'

/** @see https://mariadb.com/kb/en/mariadb-error-code-reference/ */
const lockWaitTimeout = '1205'
const deadlock = '1213'
const rowChangedSinceRead = '1020'
const queryInterrupted = '1317'

/** The server goes down or the connection is gone: numbers of the server, and of the driver from 45,000 on. */
const connectionLost = /^(1053|1152|1158|1159|1160|1161|1927|2006|2013|4031|45009|45012|45013|45014|45042)$/

/** The pool of the driver gave no connection in time. */
const poolTimeout = '45028'

/** MariaDB and MySQL through `@prisma/adapter-mariadb`, or any adapter with the provider `mysql`. */
export const mariadb: Dialect = {
  name: 'mariadb',
  singleWriter: false,
  hasSchemas: false,
  // Ids are given in the order of the commits, so every snapshot ends the log somewhere and has no holes before.
  logHasHolesAt: () => false,
  connections: (settings) => new PooledConnections(settings),
  // The adapter has sent BEGIN; this one ends that empty transaction and begins the one that is wanted.
  afterBegin: ({ readOnly }) => (readOnly ? [statement('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')] : []),
  guards(limitMs, reach) {
    const seconds = Math.ceil(limitMs / 1000)
    return reach === 'session' ? [statement(`SET SESSION innodb_lock_wait_timeout = ${seconds}`)] : []
  },
  damageOf,
  translate: byCode,
  mayHaveCommitted: (error, facts) =>
    facts === undefined ? isConnectionLoss(error) : facts.code !== undefined && connectionLost.test(facts.code),
  listenStatement: undefined,
  eventsTable: (options) => new MariadbEventsTable(options),
  trackingTable: (options) => new MariadbTrackingTable(options),
}

/** A failed statement is undone alone, except for a deadlock, which rolls everything back. */
function damageOf(error: unknown, facts: DriverErrorFacts | undefined): Damage {
  if (facts?.code === undefined) return isConnectionLoss(error) ? 'transaction' : 'nothing'
  return facts.code === deadlock || connectionLost.test(facts.code) ? 'transaction' : 'nothing'
}

function byCode({ code }: DriverErrorFacts, message: string, cause: unknown): EventSourcingError | undefined {
  if (code === undefined) return undefined
  const passing = [lockWaitTimeout, deadlock, rowChangedSinceRead, queryInterrupted, poolTimeout]
  if (passing.includes(code) || connectionLost.test(code))
    return new OperationalError(message, { cause, retryable: true })
  if (code === '1030' || code === '1026') return new InternalError(message, { cause })
  return undefined
}
