/**
 * PostgreSQL: what its error codes mean, how it is looked at, and all that the other files of this kind are for.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Dialect,
  type FaultDialect,
  type Finding,
  type Inspector,
  keysOf,
  type Query,
  refused,
  type TablePlace,
} from '../dialect.js'
import { type DriverErrorFacts, statement } from '../driver.js'
import { PooledConnections } from '../pooled-connections.js'
import { quotedName } from '../table-names.js'
import { postgresqlEffect } from '../transaction-guard.js'
import { type ErrorRule, ErrorTable, errorsByKind, isConnectionLoss } from '../translate-error.js'
import { PostgresqlEventsTable } from './postgresql-events.js'
import { postgresqlShadow } from './postgresql-shadow.js'
import {
  postgresqlIdempotencyKeysTable,
  postgresqlInboxTable,
  postgresqlProjectionTables,
  postgresqlReadableView,
  postgresqlSubjectKeysTable,
  postgresqlTrackingTable,
  qualified,
} from './postgresql-tables.js'
import { postgresqlTimersTable } from './timers-table.js'

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

/** How often one looks who writes, and how long after the time before. */
const looks = 5
const betweenLooksMs = 100

/** For so long a transaction may keep the log from being final before that is worth a word. */
const patienceSeconds = 5

const postgresqlInspector: Inspector = {
  addedColumns: {
    metadata: 'JSONB',
    recorded_at: 'TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP',
  },

  async columns(query, place) {
    const sql =
      'SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped'
    return (await query(sql, [nameOf(place)])).map(([name]) => String(name))
  },

  async uniqueKeys(query, place) {
    const sql =
      'SELECT i.indexrelid::text, a.attname::text FROM pg_catalog.pg_index AS i ' +
      'CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, position) ' +
      'JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ' +
      'WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL ORDER BY i.indexrelid, k.position'
    return keysOf(await query(sql, [nameOf(place)]))
  },

  async writers(query, place, order) {
    const foreign = new Map<number, Finding>()
    for (let look = 0; look < looks; look += 1) {
      if (look > 0) await delay(betweenLooksMs)
      for (const finding of await foreignWriters(query, place)) foreign.set(foreign.size, finding)
      if (foreign.size > 0) break
    }
    const isGuarded = await hasGuard(query, place)
    const guard: Finding = {
      check: 'foreign writers',
      subject: place.table,
      status: 'ok',
      message: isGuarded ? 'none was met, and a trigger keeps plain INSERTs in order' : 'none was met in half a second',
    }
    const found = [...foreign.values()]
    const isExpected = order === 'table-lock' || isGuarded
    return [...(found.length === 0 || isExpected ? [guard] : found), ...(await hungWriters(query, place))]
  },
}

/** Who has written the table, or has locked it to write, without the lock that this library takes. */
async function foreignWriters(query: Query, place: TablePlace): Promise<Finding[]> {
  const sql =
    'SELECT DISTINCT l.pid, l.mode, a.application_name FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a USING (pid) ' +
    `WHERE l.relation = to_regclass($1) AND l.granted AND l.mode IN ('RowExclusiveLock', 'ExclusiveLock') AND NOT EXISTS (` +
    `SELECT FROM pg_catalog.pg_locks AS f WHERE f.pid = l.pid AND f.locktype = 'advisory' AND f.classid = to_regclass($1)::oid)`
  return (await query(sql, [nameOf(place)])).map(([pid, mode, application]) => ({
    check: 'foreign writers',
    subject: place.table,
    status: 'warning',
    message:
      mode === 'ExclusiveLock'
        ? `process ${String(pid)} (${String(application)}) holds the table lock that Python's library takes`
        : `process ${String(pid)} (${String(application)}) writes the table without the lock of this library: readers may miss its events`,
    cure:
      mode === 'ExclusiveLock'
        ? "Where a service in Python reads the table as well, give all writers here the option order: 'table-lock' (docs/python.md)."
        : 'Store events through the library only, or make the trigger of docs/operations.md.',
  }))
}

async function hasGuard(query: Query, place: TablePlace): Promise<boolean> {
  const sql =
    'SELECT count(*) FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid ' +
    `WHERE t.tgrelid = to_regclass($1) AND t.tgenabled <> 'D' AND p.prosrc LIKE '%eventsourcing.floor_%'`
  return Number((await query(sql, [nameOf(place)]))[0]?.[0]) > 0
}

async function hungWriters(query: Query, place: TablePlace): Promise<Finding[]> {
  const sql =
    'SELECT a.pid, a.state, extract(epoch FROM clock_timestamp() - a.xact_start)::int FROM pg_catalog.pg_stat_activity AS a ' +
    `WHERE a.xact_start < clock_timestamp() - interval '${patienceSeconds} seconds' AND a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l ` +
    `WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ShareLock' AND l.classid = to_regclass($1)::oid) ORDER BY 3 DESC`
  return (await query(sql, [nameOf(place)])).map(([pid, state, seconds]) => ({
    check: 'settled position',
    subject: place.table,
    status: 'warning',
    message: `all readers wait for process ${String(pid)} (${String(state)}), which has written events ${String(seconds)} seconds ago and has not ended`,
    cure: `If it hangs: SELECT pg_terminate_backend(${String(pid)})`,
  }))
}

function nameOf({ table, schema }: TablePlace): string {
  return qualified(table, { schema })
}

const serialisationFailure = `DO $$ BEGIN
  RAISE EXCEPTION 'could not serialize access due to a fault of the test' USING ERRCODE = 'serialization_failure';
END $$`

const postgresqlFaults: FaultDialect = {
  // As text, which all types have: the adapter refuses some.
  rowsQuery: (table) => statement(`SELECT t::text FROM ${quotedName(table, '"')} AS t`),
  server: {
    idQuery: statement('SELECT pg_backend_pid()'),
    endQuery: (connectionId) => statement(`SELECT pg_terminate_backend(${Number(connectionId)})`),
  },
  async giveWay(connection, atCommit) {
    if (atCommit) await connection.executeRaw(statement('ROLLBACK'))
    return await refused(connection, statement(serialisationFailure))
  },
}

const errors = new ErrorTable(postgresqlErrors)

/** The connection or the server goes down; whether a COMMIT that is answered so was carried out is not known. */
const goingDown = /^(08|57P)/

/** Held by who makes tables; a number that is nobody else's. */
const creationLock = 7_012_733_402_117

/** What PgBouncer answers to BEGIN in statement mode. */
const noTransactions = /statement pooling mode/

/** What PgBouncer says by itself, all by the code of a protocol that is not spoken: before it has sent anything to the server, and later. */
const poolerCode = '08P01'
const poolerGivesNone =
  /^(?:query_wait_timeout|client_login_timeout|no more connections allowed|client connections exceeded|server login (?:has been failing|failed)|bouncer resources exhaustion|pause mode)/
const poolerEnds =
  /^(?:server conn crashed|server closed the connection|idle transaction timeout|query[_ ]timeout|client_idle_timeout|admin forced disconnect|pooler is shutting down|database (?:configuration changed|removed)|connect string changed|obsolete connection)/

/** A statement that is prepared already, or not at all. */
const otherPreparation = /^prepared statement ".*" (?:already exists|does not exist)/

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
    if (code === poolerCode && poolerGivesNone.test(words)) {
      const why =
        'PgBouncer had no connection for it, and sent nothing: its pool is full, or the server does not answer.'
      return errorsByKind.passing(`${message}. ${why} Try again later.`, cause)
    }
    if (code === poolerCode && poolerEnds.test(words)) return errorsByKind.passing(message, cause)
    if (otherPreparation.test(words)) {
      const cure =
        'max_prepared_statements above 0 (from version 1.21 on), or leave the statementNameGenerator of the adapter out.'
      return errorsByKind.programming(
        `${message}. A connection pooler in transaction mode does that: in PgBouncer set ${cure}`,
        cause,
      )
    }
    if (!noTransactions.test(words)) return errors.translate(code, message, cause)
    return errorsByKind.unsupported(
      `${message}. PgBouncer is in statement mode, in which there are no transactions: set pool_mode to transaction or session.`,
      cause,
    )
  },
  mayHaveCommitted(error, facts) {
    // Who is refused a connection has sent nothing.
    if (facts !== undefined) {
      const hasSentNothing = facts.code === cannotConnectNow || poolerGivesNone.test(facts.message)
      return isGoingDown(facts) && !hasSentNothing
    }
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
  inboxTable: postgresqlInboxTable,
  projectionTables: postgresqlProjectionTables,
  readableView: postgresqlReadableView,
  timersTable: postgresqlTimersTable,
  overwriting: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
  shadow: postgresqlShadow,
  inspector: postgresqlInspector,
  faults: postgresqlFaults,
}

function isGoingDown({ kind, code }: DriverErrorFacts): boolean {
  return kind === 'ConnectionClosed' || kind === 'SocketTimeout' || (code !== undefined && goingDown.test(code))
}
