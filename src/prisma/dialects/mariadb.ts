/**
 * MariaDB and MySQL: what their error numbers mean, how they are looked at, and all that the other files of this kind are for.
 *
 * @see https://mariadb.com/kb/en/mariadb-error-code-reference/
 */
import type { Damage } from '../../transaction/connection.js'
import { type Dialect, type FaultDialect, type Inspector, keysOf, refused } from '../dialect.js'
import { type DriverErrorFacts, type SqlQueryable, statement } from '../driver.js'
import { PooledConnections } from '../pooled-connections.js'
import { quotedName } from '../table-names.js'
import { mariadbEffect } from '../transaction-guard.js'
import { type ErrorRule, ErrorTable, isConnectionLoss } from '../translate-error.js'
import { MariadbEventsTable } from './mariadb-events.js'
import { mariadbShadow } from './mariadb-shadow.js'
import {
  MariadbTrackingTable,
  mariadbIdempotencyKeysTable,
  mariadbInboxTable,
  mariadbProjectionTables,
  mariadbReadableView,
  mariadbSubjectKeysTable,
} from './mariadb-tables.js'
import { mariadbTimersTable } from './timers-table.js'

const lostByServer = ['1053', '1080', '1152', '1158', '1159', '1160', '1161', '1184', '1927', '2006', '2013', '4031']
const lostByDriver = ['2002', '2003', '45009', '45012', '45013', '45014', '45015', '45026', '45042', '45043']

/** The server goes down or the connection is gone; the driver's own numbers begin with 45,000. */
const connectionLostCodes: readonly string[] = [...lostByServer, ...lostByDriver]

/** By number. */
export const mariadbErrors: readonly ErrorRule[] = [
  {
    codes: ['1205', '1213', '1020', '1637', '3572'],
    kind: 'passing',
    meaning: 'a lock was not granted in time, deadlock, a row changed since it was read',
  },
  {
    codes: ['1317', '1969', '3024', '1028'],
    kind: 'passing',
    meaning: 'interrupted, or ended by a timeout of the server',
  },
  { codes: connectionLostCodes, kind: 'passing', meaning: 'the connection was lost; the server stops' },
  {
    codes: ['1040', '1203', '1226', '45028'],
    kind: 'passing',
    meaning: 'too many connections, the pool gave none in time',
  },
  {
    codes: ['1021', '1037', '1038', '1041', '1114', '1135', '1206', '1297'],
    kind: 'lasting',
    meaning: 'disk or table full, out of memory, the table of locks is full',
  },
  {
    codes: ['1044', '1045', '1049', '1129', '1130', '1142', '1143', '1227', '1290', '1698', '1820', '1836'],
    kind: 'lasting',
    meaning: 'access denied, no such database, the server is read-only',
  },
  {
    codes: [
      '1022',
      '1048',
      '1062',
      '1169',
      '1216',
      '1217',
      '1263',
      '1364',
      '1451',
      '1452',
      '1557',
      '1586',
      '1761',
      '1762',
      '3819',
      '4025',
    ],
    kind: 'integrity',
    meaning: 'a constraint',
  },
  {
    codes: [
      '1118',
      '1153',
      '1162',
      '1264',
      '1265',
      '1292',
      '1301',
      '1366',
      '1367',
      '1406',
      '1411',
      '1416',
      '1425',
      '1426',
      '1427',
      '1441',
      '1690',
      '3140',
      '4038',
    ],
    kind: 'data',
    meaning: 'a value that does not fit; a packet larger than max_allowed_packet',
  },
  {
    codes: [
      '1046',
      '1051',
      '1052',
      '1054',
      '1058',
      '1064',
      '1065',
      '1136',
      '1146',
      '1149',
      '1166',
      '1210',
      '1243',
      '1305',
      '1568',
      '1792',
    ],
    kind: 'programming',
    meaning: 'no such table or column, a wrong statement, a write in a read-only transaction',
  },
  { codes: ['1178', '1196', '1235', '1289'], kind: 'unsupported', meaning: 'a feature that the server does not have' },
  {
    codes: ['1026', '1030', '1033', '1034', '1035', '1194', '1195', '1712', '1815', '1877'],
    kind: 'internal',
    meaning: 'a damaged table or index, an inconsistency in the server',
  },
]

const mariadbInspector: Inspector = {
  addedColumns: {
    metadata: 'JSON NULL',
    recorded_at: 'DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)',
  },

  async columns(query, { table }) {
    const sql =
      'SELECT column_name FROM information_schema.columns WHERE table_schema = database() AND table_name = ? ORDER BY ordinal_position'
    return (await query(sql, [table])).map(([name]) => String(name))
  },

  async uniqueKeys(query, { table }) {
    const sql =
      'SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = database() AND table_name = ? ' +
      'AND non_unique = 0 ORDER BY index_name, seq_in_index'
    return keysOf(await query(sql, [table]))
  },

  // Who writes past the counter leaves ids beyond it, which is looked for anyway; readers wait for nobody.
  async writers() {
    return []
  },
}

const deadlock = `SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock by a fault of the test'`

const mariadbFaults: FaultDialect = {
  rowsQuery: (table) => statement(`SELECT * FROM ${quotedName(table, '`')}`),
  server: {
    idQuery: statement('SELECT CONNECTION_ID()'),
    endQuery: (connectionId) => statement(`KILL CONNECTION ${Number(connectionId)}`),
  },
  async giveWay(connection) {
    // A deadlock undoes the whole transaction, and what comes after it would be stored statement by statement.
    await connection.executeRaw(statement('ROLLBACK'))
    return await refused(connection, statement(deadlock))
  },
}

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
  inboxTable: mariadbInboxTable,
  projectionTables: mariadbProjectionTables,
  readableView: mariadbReadableView,
  timersTable: mariadbTimersTable,
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
