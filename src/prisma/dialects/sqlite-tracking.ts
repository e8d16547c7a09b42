/** The statements over a table of tracking positions on SQLite. */
import type { TrackingTableOptions } from '../dialect.js'
import { trackingTableStatements } from './sqlite-tables.js'
import { UpsertTrackingTable } from './tracking-table.js'

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
