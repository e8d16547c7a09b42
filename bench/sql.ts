/** The statements that a programmer would write by hand for the same tables. */

const columns = 'originator_id, originator_version, topic, state'

export const postgresql = {
  insert: `INSERT INTO stored_events (${columns}) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) RETURNING id`,
  select: `SELECT ${columns} FROM stored_events WHERE originator_id = $1::uuid ORDER BY originator_version`,
} as const
