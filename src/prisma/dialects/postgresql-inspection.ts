/** How a database of PostgreSQL is looked at. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Finding, type Inspector, keysOf, type Query, type TablePlace } from '../dialect.js'
import { qualified } from './postgresql-tables.js'

/** How often one looks who writes, and how long after the time before. */
const looks = 5
const betweenLooksMs = 100

/** For so long a transaction may keep the log from being final before that is worth a word. */
const patienceSeconds = 5

export const postgresqlInspector: Inspector = {
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
