/** The statements that a programmer would write by hand for the same tables. */

const columns = 'originator_id, originator_version, topic, state'

export const postgresql = {
  insert: `INSERT INTO stored_events (${columns}) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) RETURNING id`,
  select: `SELECT ${columns} FROM stored_events WHERE originator_id = $1::uuid ORDER BY originator_version`,
  log: `SELECT id, ${columns} FROM stored_events WHERE id > $1::bigint ORDER BY id LIMIT $2`,
} as const

export const sqlite = {
  insert: (count: number) =>
    `INSERT INTO stored_events (${columns}) VALUES ${Array.from({ length: count }, () => '(?, ?, ?, ?)').join(', ')} RETURNING id`,
  select: `SELECT ${columns} FROM stored_events WHERE originator_id = ? ORDER BY originator_version`,
  log: `SELECT id, ${columns} FROM stored_events WHERE id > ? ORDER BY id LIMIT ?`,
} as const
