/** The statements over a table of tracking positions on PostgreSQL. */
import type { TrackingTableOptions } from '../dialect.js'
import { qualified, trackingTableStatements } from './postgresql-tables.js'
import { UpsertTrackingTable } from './tracking-table.js'

/** A second writer of one position waits for the first, and then compares with what that one has stored. */
export function postgresqlTrackingTable({ name, schema }: TrackingTableOptions): UpsertTrackingTable {
  const createStatements = trackingTableStatements(name, { schema })
  const table = qualified(name, { schema })
  return new UpsertTrackingTable({
    createStatements,
    advance:
      `INSERT INTO ${table} AS t (application_name, notification_id) VALUES ($1::text, $2::bigint) ` +
      `ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id ` +
      `WHERE t.notification_id < excluded.notification_id`,
    select: `SELECT notification_id FROM ${table} WHERE application_name = $1::text`,
    selectAll: `SELECT application_name, notification_id FROM ${table}`,
  })
}
