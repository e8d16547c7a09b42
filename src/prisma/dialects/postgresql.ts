/** PostgreSQL. */
import type { Dialect } from '../dialect.js'
import { statement } from '../driver.js'
import type { DriverErrorFacts } from '../driver-error.js'
import { PooledConnections } from '../pooled-connections.js'
import { isConnectionLoss } from '../translate-error.js'
import { ErrorTable, errorsByKind } from './error-rules.js'
import { postgresqlErrors } from './postgresql-errors.js'
import { PostgresqlEventsTable } from './postgresql-events.js'
import { postgresqlFaults } from './postgresql-faults.js'
import { postgresqlIdempotencyKeysTable } from './postgresql-idempotency-keys.js'
import { postgresqlInspector } from './postgresql-inspection.js'
import { postgresqlProjectionTables } from './postgresql-projections.js'
import { postgresqlShadow } from './postgresql-shadow.js'
import { postgresqlSubjectKeysTable } from './postgresql-subject-keys.js'
import { postgresqlTrackingTable } from './postgresql-tracking.js'
import { postgresqlEffect } from './statement-effects.js'

const errors = new ErrorTable(postgresqlErrors)

/** The connection or the server goes down; whether a COMMIT that is answered so was carried out is not known. */
const goingDown = /^(08|57P)/

/** Held by who makes tables; a number that is nobody else's. */
const creationLock = 7_012_733_402_117

/** What PgBouncer answers to BEGIN in statement mode. */
const noTransactions = /statement pooling mode/

/** The server starts or stops, and takes no connection. */
const cannotConnectNow = '57P03'

/** How often the server looks whether the client is there: a connection that was abandoned ends with its locks by then. */
const connectionCheckMs = 500

/** PostgreSQL through `@prisma/adapter-pg`, or any adapter with the provider `postgres`. */
export const postgresql: Dialect = {
  name: 'postgresql',
  singleWriter: false,
  hasSchemas: true,
  logHasHolesAt: (isolationLevel, readOnly) =>
    isolationLevel === 'RepeatableRead' ||
    isolationLevel === 'Serializable' ||
    (readOnly && isolationLevel === undefined),
  readsOldAt: (isolationLevel) => isolationLevel === 'RepeatableRead' || isolationLevel === 'Serializable',
  connections: (settings) => new PooledConnections(settings),
  // There each statement has a snapshot of its own.
  readsAloneAt: { query: 'SHOW default_transaction_isolation', level: 'read committed' },
  afterBegin({ isolationLevel, readOnly }) {
    if (!readOnly) return []
    // A read-only transaction is for one consistent view, which READ COMMITTED does not give.
    const level = isolationLevel === undefined ? 'ISOLATION LEVEL REPEATABLE READ, ' : ''
    return [statement(`SET TRANSACTION ${level}READ ONLY`)]
  },
  guards: (limitMs, reach) => [
    statement(`SET ${reach === 'session' ? 'SESSION' : 'LOCAL'} idle_in_transaction_session_timeout = ${limitMs}`),
  ],
  // From version 14 on, and not on every system: the server looks whether the client is there while a statement runs or waits.
  courtesies: () => [statement(`SET SESSION client_connection_check_interval = ${connectionCheckMs}`)],
  // After any failed statement PostgreSQL answers COMMIT with a ROLLBACK that looks like success.
  damageOf(error, facts) {
    if (facts === undefined ? isConnectionLoss(error) : isGoingDown(facts)) return 'transaction'
    return facts?.code === undefined ? 'nothing' : 'scope'
  },
  effectOf: postgresqlEffect,
  translate({ code, message: words }, message, cause) {
    if (!noTransactions.test(words)) return errors.translate(code, message, cause)
    return errorsByKind.unsupported(
      `${message}. PgBouncer is in statement mode, in which there are no transactions: set pool_mode to transaction or session.`,
      cause,
    )
  },
  mayHaveCommitted(error, facts) {
    // Who is refused a connection has sent nothing.
    if (facts !== undefined) return isGoingDown(facts) && facts.code !== cannotConnectNow
    // The driver says this one before it sends anything.
    if (error instanceof Error && /not queryable/.test(error.message)) return false
    return isConnectionLoss(error)
  },
  // IF NOT EXISTS does not keep two from making the same. One message is one transaction, at whose end the lock is released.
  creationScripts: (statements) => [[`SELECT pg_advisory_xact_lock(${creationLock})`, ...statements].join(';\n')],
  // The name of a channel is made by us, from letters, digits and underscores.
  listenStatement: (channel) => `LISTEN "${channel}"`,
  eventsTable: (options) => new PostgresqlEventsTable(options),
  trackingTable: postgresqlTrackingTable,
  subjectKeysTable: postgresqlSubjectKeysTable,
  idempotencyKeysTable: postgresqlIdempotencyKeysTable,
  projectionTables: postgresqlProjectionTables,
  overwriting: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
  shadow: postgresqlShadow,
  inspector: postgresqlInspector,
  faults: postgresqlFaults,
}

function isGoingDown({ kind, code }: DriverErrorFacts): boolean {
  return kind === 'ConnectionClosed' || kind === 'SocketTimeout' || (code !== undefined && goingDown.test(code))
}
