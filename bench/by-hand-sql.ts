/** The table and the statements that a programmer would write by hand. */

const table = 'events_by_hand'
const columns = 'originator_id, originator_version, topic, state'
const select = (id: string): string =>
  `SELECT ${columns} FROM ${table} WHERE originator_id = ${id} ORDER BY originator_version`

export const postgresql = {
  create:
    `CREATE TABLE ${table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, originator_id uuid NOT NULL, ` +
    'originator_version bigint NOT NULL, topic text NOT NULL, state text NOT NULL, UNIQUE (originator_id, originator_version))',
  insertOne: `INSERT INTO ${table} (${columns}) VALUES ($1::uuid, $2::bigint, $3::text, $4::text) RETURNING id`,
  insertMany: `INSERT INTO ${table} (${columns}) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) RETURNING id`,
  select: select('$1::uuid'),
  log: `SELECT id, ${columns} FROM ${table} WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint`,
} as const

const insertRows = (count: number): string =>
  `INSERT INTO ${table} (${columns}) VALUES ${Array.from({ length: count }, () => '(?, ?, ?, ?)').join(', ')}`

export const sqlite = {
  create:
    `CREATE TABLE ${table} (id INTEGER PRIMARY KEY AUTOINCREMENT, originator_id TEXT NOT NULL, ` +
    'originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state TEXT NOT NULL, UNIQUE (originator_id, originator_version))',
  insert: (count: number): string => `${insertRows(count)} RETURNING id`,
  select: select('?'),
  log: `SELECT id, ${columns} FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`,
} as const

export const mariadb = {
  create:
    `CREATE TABLE ${table} (id BIGINT AUTO_INCREMENT PRIMARY KEY, originator_id VARCHAR(64) NOT NULL, ` +
    'originator_version BIGINT NOT NULL, topic VARCHAR(191) NOT NULL, state LONGTEXT NOT NULL, UNIQUE (originator_id, originator_version))',
  insert: insertRows,
  select: select('?'),
  log: sqlite.log,
} as const
