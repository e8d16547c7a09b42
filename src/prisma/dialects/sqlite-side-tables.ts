/** The tables beside the events on SQLite: idempotency keys, tracking positions, subject keys and projections. */
import type { IdempotencyClaim } from '../../persistence/recorder.js'
import type { StatementRunner } from '../connections.js'
import type { ProjectionTablesOptions, TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import { ProjectionStatements } from './projection-tables.js'
import { KeysOfRequestsTable, KeysTable, UpsertTrackingTable } from './side-tables.js'
import {
  checked,
  idempotencyKeysTableStatements,
  subjectKeysTableStatements,
  timeText,
  trackingTableStatements,
} from './sqlite-tables.js'
import { type ProjectionColumnTypes, projectionTablesStatements } from './table-options.js'

/**
 * One transaction writes at a time: a claim waits for its turn, and meets what was stored before. So no key is ever in use
 * here; that is known inside of one process only.
 */
export function sqliteIdempotencyKeysTable({ name }: TrackingTableOptions): KeysOfRequestsTable {
  const table = `"${name}"`
  const claimStatement =
    `INSERT INTO ${table} AS k (scope, "key", fingerprint, status, headers, body, created_at, expires_at) ` +
    `VALUES (?, ?, ?, 0, '{}', x'', ?, ?) ` +
    `ON CONFLICT (scope, "key") DO UPDATE SET fingerprint = excluded.fingerprint, status = 0, headers = excluded.headers, ` +
    `body = excluded.body, created_at = excluded.created_at, expires_at = excluded.expires_at ` +
    `WHERE k.expires_at <= excluded.created_at RETURNING 1`
  const deleteStatement =
    `DELETE FROM ${table} WHERE rowid IN ` +
    `(SELECT rowid FROM ${table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`

  async function claim(
    runner: StatementRunner,
    { scope, key, fingerprint, ttlMs }: IdempotencyClaim,
  ): Promise<'claimed' | 'known'> {
    const now = Date.now()
    const args = [scope, key, fingerprint, timeText(now), timeText(now + ttlMs)]
    const { rows } = await runner.query(statement(claimStatement, args))
    return rows.length > 0 ? 'claimed' : 'known'
  }

  return new KeysOfRequestsTable({
    createStatements: idempotencyKeysTableStatements(name),
    table,
    key: '"key"',
    parameter: () => '?',
    hasMember: (name, parameter) => `json_extract(headers, '$."${name}"') = ${parameter}`,
    seesLatest: '',
    claim,
    deleteExpired: async (runner, limit) =>
      await runner.execute(statement(deleteStatement, [timeText(Date.now()), limit])),
  })
}

/** One transaction writes at a time, so the comparison is with the last position that anyone has stored. */
export function sqliteTrackingTable({ name }: TrackingTableOptions): UpsertTrackingTable {
  return new UpsertTrackingTable({
    createStatements: trackingTableStatements(name),
    advance:
      `INSERT INTO "${name}" AS t (application_name, notification_id) VALUES (?, ?) ` +
      `ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id ` +
      `WHERE t.notification_id < excluded.notification_id`,
    // As text, since one of the drivers refuses to read integers beyond 2^53.
    select: `SELECT CAST(notification_id AS TEXT) FROM "${name}" WHERE application_name = ?`,
    selectAll: `SELECT application_name, CAST(notification_id AS TEXT) FROM "${name}"`,
  })
}

/** One transaction writes at a time, and sees what was written before it. */
export function sqliteSubjectKeysTable({ name }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name),
    table: `"${name}"`,
    subject: 'subject',
    key: '"key"',
    parameter: () => '?',
    onConflict: 'ON CONFLICT (subject) DO NOTHING',
  })
}

const quote = (name: string): string => `"${name}"`

const types: ProjectionColumnTypes = {
  quote,
  name: 'TEXT',
  key: 'TEXT',
  word: 'TEXT',
  text: 'TEXT',
  time: 'DATETIME',
  timeNow: 'CURRENT_TIMESTAMP',
  primaryKey: (_table, columns) => `PRIMARY KEY (${columns.map(quote).join(', ')})`,
  empty: '',
  options: '',
}

/** One transaction writes at a time. The clock is that of this machine, where all have the file. */
export function sqliteProjectionTables({ names }: ProjectionTablesOptions): ProjectionStatements {
  return new ProjectionStatements({
    createStatements: projectionTablesStatements(names, types, checked),
    projections: checked(names.projections),
    states: checked(names.projectionStates),
    parked: checked(names.parkedEvents),
    quote,
    parameter: () => '?',
    now(args) {
      args.push(timeText(Date.now()))
      return '?'
    },
    later(args, ms) {
      args.push(timeText(Date.now() + ms))
      return '?'
    },
    // As text, since one of the drivers refuses to read integers beyond 2^53.
    wide: (column) => `CAST(${column} AS TEXT)`,
    ifNew: 'ON CONFLICT DO NOTHING',
    guarded: () => '',
  })
}
